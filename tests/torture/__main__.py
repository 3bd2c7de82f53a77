"""Torture a store: processes work on it, are killed and cut off, and all they did is checked.

In each round, processes with threads execute mixed commands on the same sessions, profiles and
idempotency keys: alone, together, in batches and awaited, while followers watch the log. In each
process one thread loads whole batches through the store that the others write through, two write
the logs of other applications on the same connections, and signals interrupt the main thread in
what it asks, reads and closes. Two processes run projections, and some rebuild them. Some pause
inside their transactions. At random moments a process is killed, or a server that was started for
this is stopped and started again, or cuts connections. After each round the logs must be explained
exactly by what was asked and answered; all views must equal them, and so must all that a process
holds in memory.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import shutil
import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom
from time import monotonic
from typing import TYPE_CHECKING

from tests.torture.failing import TortureError
from tests.torture.faults import OwnServer
from tests.torture.processes import WATCHDOG
from tests.torture.rounds import Rounds, Torture

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXAMPLES = """
examples:
  python -m tests.torture                             30 rounds on SQLite, and on PostgreSQL
  python -m tests.torture --on postgres --rounds 200  a night
  python -m tests.torture --url postgresql://me@host/test?schema=torture
                                                      a server that runs; it is not stopped
  python -m tests.torture --on sqlite --seed 7 --first 12 --rounds 1
                                                      the 12th round of seed 7, on a new store

A round draws all it does from the seed and its number. What threads do at the same moment is not
drawn: run a round that failed several times, or longer (--seconds).
"""


def main() -> int:
    """Run rounds; the exit code is 1 if one failed, 2 if there is nothing to run them on."""
    options = _options()
    if options.url:
        return _torture(options, options.url.partition(":")[0], options.url)
    places = ("sqlite", "postgres") if options.on == "both" else (options.on,)
    return max([_torture(options, place) for place in places])


def _torture(options: argparse.Namespace, place: str, url: str = "") -> int:
    if options.directory:
        options.directory.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"torture-{place}-", dir=options.directory))
    server = None
    if url == "" and place == "postgres":
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        server = OwnServer(directory / "server")
        url = f"{server.url}&schema=torture"
    url = url or f"sqlite:///{directory}/store.db"
    with ExitStack() as finally_:
        if server:
            finally_.callback(server.close)
        torture = Torture(
            url,
            directory,
            options.seed,
            options.processes,
            options.threads,
            options.seconds,
            server,
        )
        failed = _rounds(torture, options, place)
    if failed == 1 or options.keep:
        _say(f"what was asked and answered stands in {directory}")
    else:
        shutil.rmtree(directory)
    return failed


def _rounds(torture: Torture, options: argparse.Namespace, place: str) -> int:
    try:
        rounds = Rounds(torture)
    except TortureError as error:
        _say(f"{place}: {error}")
        return 2
    number = options.first
    try:
        for number in range(options.first, options.first + options.rounds):
            faulthandler.dump_traceback_later(3 * WATCHDOG, exit=True)
            begun = monotonic()
            rounds.run(number)
            _say(f"{place}: round {number} took {monotonic() - begun:.1f} s: {_shown(rounds)}")
        faulthandler.cancel_dump_traceback_later()
        rounds.check_all()
    except Exception as error:  # noqa: BLE001  whatever it is, the seed is what counts
        what = str(error) if isinstance(error, TortureError) else traceback.format_exc()
        where = f"--url '{options.url}'" if options.url else f"--on {place}"
        again = f"{where} --seed {torture.seed} --processes {torture.processes}"
        again += f" --threads {torture.threads} --seconds {torture.seconds:g}"
        _say(f"{place}: round {number} of seed {torture.seed} failed: {what}")
        _say(f"again: python -m tests.torture {again} --first {number} --rounds 1")
        _say(f"all of it: python -m tests.torture {again} --rounds {number}")
        return 1
    finally:
        rounds.close()
    _say(f"{place}: {options.rounds} rounds of seed {torture.seed} are right")
    return 0


def _shown(rounds: Rounds) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(rounds.figures.items()))


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    seed = SystemRandom().randrange(10**6)
    add = parser.add_argument
    add("--seed", type=int, default=seed, help="what everything is drawn from (default: any)")
    add("--rounds", type=int, default=30, help="how many (default: 30)")
    add("--first", type=int, default=1, metavar="N", help="the number of the first (default: 1)")
    add("--seconds", type=float, default=3.0, help="that they work in a round (default: 3)")
    add("--processes", type=int, default=4, help="at the same time (default: 4)")
    add("--threads", type=int, default=4, help="in each process (default: 4)")
    add("--on", choices=["sqlite", "postgres", "both"], default="both", help="a store of its own")
    add("--url", default="", help="a new store there instead; its server is not stopped")
    add("--directory", type=Path, help="where the journals are written (default: a temporary one)")
    add("--keep", action="store_true", help="keep them also if all is right")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
