"""One application's log, and everything that its callers asked and were answered."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from projections import verify
from tests.torture import holding, journal, projecting, watching
from tests.torture.caller import Caller
from tests.torture.checking import Checker
from tests.torture.failing import fail
from tests.torture.journal import Lines
from tests.torture.processes import WATCHDOG
from tests.torture.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from sessions import SessionStore
    from tests.torture.watching import Watched


class Application:
    """What the parent keeps of an application.

    Attributes:
        store: Its store: a writer that lives as long as the rounds on its log.
        figures: Counts of what came of the requests.
    """

    def __init__(self, store: SessionStore, url: str, seed: int) -> None:
        self.store = store
        self.figures: Counter[str] = Counter()
        self._id = store.application_id
        self._url = url
        self._seed = seed
        self._checker = Checker()
        self._taken: list[tuple[Path, int]] = []

    @contextmanager
    def watched(self, number: int, directory: Path, after: int) -> Iterator[None]:
        """Make the directory of its journals in that of a round, and follow its log to the end."""
        of_it = directory / str(self._id)
        of_it.mkdir(parents=True)
        path = of_it / f"{number}.parent.watched"
        watcher = Watcher(self.store, path, after)
        try:
            yield
            watcher.wait(self.store.position, WATCHDOG)
        finally:
            watcher.stop()

    def retry(self, number: int, directory: Path) -> None:
        """Repeat the requests that had a key and no answer: each must then be done exactly once."""
        lines = _lines(directory / str(self._id))
        asked = {each.key: each for each in lines.without_answer() if each.key is not None}
        caller = Caller(self.store, f"{number}.parent", directory / str(self._id), self._seed)
        caller.retry(list(asked.values()))
        self.figures["asked again by the parent"] += len(asked)

    def check(self, directory: Path, random: Random) -> None:
        """Check all that a round did, and what the store holds now.

        Raises:
            TortureError: Something is wrong.
        """
        held = holding.wrong(self.store, self._url, random)
        of_it, until = directory / str(self._id), self.store.position
        self._taken.append((of_it, until))
        self._check(self._checker, of_it, until, held)
        self._count(of_it)

    def check_all(self) -> None:
        """Check all rounds once more, against the log as it is at the end."""
        checker = Checker()
        for directory, position in self._taken:
            self._check(checker, directory, position, [])

    def _check(self, checker: Checker, directory: Path, until: int, failures: list[str]) -> None:
        log = self.store.log(checker.history.position, until=until)
        checker.take(_lines(directory), log)
        failures = [*failures, *checker.failures]
        watched = _watched(directory)
        failures += [wrong for each in watched if (wrong := each.wrong(checker.history.log))]
        if until == self.store.position:
            failures += self._wrong_limits(checker)
            failures += projecting.wrong_views(self.store, checker.history.log)
            failures += [f"verify: {difference}" for difference in verify(self.store)]
        if failures:
            fail([f"application {self._id}: {failure}" for failure in failures])

    def _wrong_limits(self, checker: Checker) -> list[str]:
        of_it = f"WHERE application_id = {self._id}"
        claims = set(self.store.query(f"SELECT limit_name, holder FROM claims {of_it}"))
        limits = dict(self.store.query(f"SELECT limit_name, used FROM limits {of_it}"))
        history = checker.history
        wrong = [f"claims: {claims ^ history.holders}"] if claims != history.holders else []
        if limits != history.limits():
            wrong.append(f"limits: {limits}, not {history.limits()}")
        return wrong

    def _count(self, directory: Path) -> None:
        lines, figures = _lines(directory), self.figures
        decided = [ended for ended in lines.ended.values() if ended.decided]
        figures["asked"] += len(lines.asked)
        figures["answered"] += len(lines.answered)
        figures["refused"] += len(decided)
        figures["no answer"] += len(lines.without_answer())
        figures.update(ended.error for ended in lines.ended.values() if not ended.decided)
        figures["seen by followers"] += sum(len(each.seen) for each in _watched(directory))
        figures["events"] = self.store.position


def _lines(directory: Path) -> Lines:
    return Lines.of(journal.read(sorted(directory.glob("*.journal"))))


def _watched(directory: Path) -> list[Watched]:
    found = [watching.read(path) for path in sorted(directory.glob("*.watched"))]
    return [each for each in found if each]
