"""The benchmarks: `python -m tests.benchmarks`. They show, and do not test: the exit code is 0."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from rich.console import Console

from tests.benchmarks import report
from tests.benchmarks.comparing import compare
from tests.benchmarks.growing import log_growth, session_growth
from tests.benchmarks.measuring import Row


@dataclass(frozen=True)
class Scale:
    sessions: int
    rounds: int
    events: int


FULL = Scale(sessions=1000, rounds=31, events=1_000_000)
QUICK = Scale(sessions=200, rounds=7, events=50_000)


def main() -> None:
    options = _options()
    scale: Scale = QUICK if options.quick else FULL
    with TemporaryDirectory(prefix="benchmarks-", dir=options.directory) as directory:
        rows = measure(Path(directory).resolve(), scale)
    report.show(rows)
    if options.write:
        report.write(rows, options.write)


def measure(directory: Path, scale: Scale) -> list[Row]:
    started, console = monotonic(), Console(stderr=True, highlight=False)

    def say(what: str) -> None:
        console.print(f"{monotonic() - started:5.0f} s  {what}")

    rows = compare(directory, scale.sessions, scale.rounds, say)
    say("a session that grows")
    rows.append(session_growth(directory, scale.rounds))
    rows += log_growth(directory, scale.events, scale.rounds, say)
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
