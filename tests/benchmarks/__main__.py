"""The benchmarks: `python -m tests.benchmarks`. They only measure: the exit code is 0."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from rich.console import Console

from tests.benchmarks import report
from tests.benchmarks.both import both
from tests.benchmarks.comparing import compare
from tests.benchmarks.growing import log_growth, session_growth
from tests.benchmarks.measuring import Row
from tests.benchmarks.projected import projected
from tests.benchmarks.scale import FULL, QUICK, Scale
from tests.postgres_server import running_server


def main() -> None:
    options = _options()
    scale: Scale = QUICK if options.quick else FULL
    with TemporaryDirectory(prefix="benchmarks-", dir=options.directory) as temporary:
        directory = Path(temporary).resolve()
        with running_server(directory / "postgres") as server:
            made = report.made(server)
            rows = measure(directory, server, scale)
    report.show(rows)
    if options.write:
        report.write(rows, made, options.write)


def measure(directory: Path, server: str, scale: Scale) -> list[Row]:
    started, console = monotonic(), Console(stderr=True, highlight=False)

    def say(what: str) -> None:
        console.print(f"{monotonic() - started:5.0f} s  {what}")

    rows = compare(directory, scale.sessions, scale.rounds, say)
    say("a session that grows")
    rows.append(session_growth(directory, scale.rounds))
    rows += log_growth(directory, scale.events, scale.rounds, say)
    rows += both(directory, server, scale, say)
    rows += projected(directory, server, scale, say)
    say("done")
    return rows


def _options() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small log and few rounds")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        help="where the databases are made and deleted again (default: here)",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    main()
