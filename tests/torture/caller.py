"""A caller: it writes down a request, makes it, and writes down what came of it."""

from __future__ import annotations

import asyncio
import time
import traceback
from contextlib import nullcontext
from itertools import count
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from sessions import BatchFailed, OutcomeUnknown, Refused
from sessions.errors import SessionsError
from tests.torture import asking
from tests.torture.asking import Place, Wanted
from tests.torture.interrupting import Alarmed, Interrupted
from tests.torture.journal import BATCH, DRY, Answered, Asked, Ended, Journal, answers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sessions import Executed, SessionStore

MOST_TURNS = 250
_TIMES = 3
_INTERRUPTS = (Interrupted, Alarmed)
_QUIET: AbstractContextManager[object] = nullcontext()


class Caller:
    """The caller of one thread.

    Args:
        store: The store that it asks.
        name: Its round, its process, and what tells it apart from the process's other callers.
        directory: Where it writes its journal.
        seed: What it draws from, together with its name.
        within: The context in which it makes each request: signals may come.
    """

    def __init__(
        self,
        store: SessionStore,
        name: str,
        directory: Path,
        seed: int,
        within: AbstractContextManager[object] | None = None,
    ) -> None:
        self._store = store
        self._within = within or _QUIET
        self._within_each = _QUIET
        self._name = name
        self._round = int(name.split(".", maxsplit=1)[0])
        self._seed = seed
        self._random = Random(f"{seed}/{name}")
        self._journal = Journal(directory / f"{name}.journal")
        self._numbers = count()
        self._turns = 0
        self._versions: dict[str, int] = {}
        self._shared = asking.keyed(seed, self._round)

    def work(self, until: float) -> None:
        """Make one request after the other."""
        while monotonic() < until and self._turns < MOST_TURNS:
            self._turns += 1
            self._turn()
        self._journal.close()

    def retry(self, asked: Sequence[Asked]) -> None:
        """Repeat requests that had a key."""
        self.see()
        for each in asked:
            self._ask(Wanted(each.how, each.requests, each.key))
        self._journal.close()

    def see(self) -> None:
        """Note where the log ends."""
        since = monotonic()
        try:
            self._journal.see(self._store.position, since)
        except SessionsError as error:
            if not error.retry:
                raise

    def _turn(self) -> None:
        way = self._random.random()
        if way < 0.06:
            self._batch([self._wanted() for _ in range(self._random.randrange(1, 7))])
        elif way < 0.12:
            asyncio.run(self._together([self._wanted() for _ in range(3)]))
        elif way < 0.18:
            self.see()
        else:
            self._ask_patiently(self._wanted())

    def _ask_patiently(self, wanted: Wanted) -> None:
        for _ in range(_TIMES):
            if self._ask(wanted):
                return

    def _wanted(self) -> Wanted:
        random, way = self._random, self._random.random()
        if way < 0.3:
            return self._shared[(self._turns + random.randrange(8)) % len(self._shared)]
        if way < 0.34:
            return random.choice(asking.keyed(self._seed, random.randrange(self._round + 1)))
        wanted = asking.wanted(random, Place(self._round, self._turns))
        if way < 0.36 and wanted.how != DRY:  # another caller may use it too
            return Wanted(wanted.how, wanted.requests, random.choice(self._shared).key)
        if way < 0.44 and wanted.how != "all":
            session_id = wanted.requests[0][0]
            expected = self._versions.get(session_id, random.randrange(4))
            return Wanted(wanted.how, wanted.requests, expected=expected)
        return wanted

    def _ask(self, wanted: Wanted) -> bool:
        """Make a request; false if a retry may help: with a key, even after an interrupt."""
        asked = self._asked(wanted)
        try:
            with self._within:
                executed = self._execute(asked)
        except (Exception, Interrupted) as error:  # noqa: BLE001  the journal tells what it was
            ended = self._ended(asked, error)
            return not (ended.retry or (isinstance(error, _INTERRUPTS) and asked.key))
        self._answered(asked, executed)
        return True

    def _batch(self, all_wanted: Sequence[Wanted], *, pauses: bool = True) -> None:
        """What a batch answered counts once the batch is committed."""
        all_asked: list[Asked] = []
        outcomes: list[list[Executed] | Exception] = []
        whole, each = self._random.choice([(self._within, _QUIET), (_QUIET, self._within_each)])
        try:
            with whole, self._store.batch():
                for wanted in all_wanted:
                    asked = self._asked(wanted, BATCH if wanted.how != DRY else DRY)
                    all_asked.append(asked)
                    outcome = self._outcome(asked, each)
                    outcomes.append(outcome)
                    if pauses and self._random.random() < 0.2:
                        time.sleep(self._random.random() / 50)
        except (Exception, Interrupted) as error:  # noqa: BLE001  the journal tells what it was
            for asked in all_asked:
                self._ended(asked, error, in_batch=True)
            return
        for asked, outcome in zip(all_asked, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._ended(asked, outcome)
            else:
                self._answered(asked, outcome)

    def _outcome(
        self, asked: Asked, within: AbstractContextManager[object]
    ) -> list[Executed] | Exception:
        """What came of a command in a batch that goes on."""
        try:
            with within:
                return self._execute(asked)
        except (Refused, Alarmed) as error:
            return error

    async def _together(self, all_wanted: Sequence[Wanted]) -> None:
        async with asyncio.TaskGroup() as group:
            for wanted in all_wanted:
                limit = self._random.random() / 10 if self._random.random() < 0.3 else None
                group.create_task(self._awaited(wanted, limit))

    async def _awaited(self, wanted: Wanted, limit: float | None) -> None:
        session_id, command = wanted.requests[0]
        how = DRY if wanted.how == DRY else "async"
        key = wanted.key if len(wanted.requests) == 1 else None
        asked = self._asked(Wanted(how, [(session_id, command)], key, wanted.expected))
        try:
            async with asyncio.timeout(limit):
                executed = await self._store.execute_async(
                    session_id,
                    command,
                    idempotency_key=key,
                    expected_version=wanted.expected,
                    metadata={"ask": asked.ask},
                    dry_run=how == DRY,
                )
            self._answered(asked, [executed])
        except TimeoutError:  # the log tells whether it was done in time
            return
        except Exception as error:  # noqa: BLE001  the journal tells what it was
            self._ended(asked, error)

    def _asked(self, wanted: Wanted, how: str = "") -> Asked:
        name = f"{self._name}.{next(self._numbers)}"
        asked = Asked(
            name, monotonic(), how or wanted.how, wanted.requests, wanted.key, wanted.expected
        )
        self._journal.note(asked)
        return asked

    def _execute(self, asked: Asked) -> list[Executed]:
        store, key, meta = self._store, asked.key, {"ask": asked.ask}
        session_id, command = asked.requests[0]
        if len({session for session, _ in asked.requests}) > 1:
            return store.execute_all(asked.requests, idempotency_key=key, metadata=meta)
        options = {"idempotency_key": key, "expected_version": asked.expected, "metadata": meta}
        if len(asked.requests) > 1:
            commands = [command for _, command in asked.requests]
            return store.execute_many(session_id, commands, **options)  # type: ignore[arg-type]  # options of different types
        dry_run = asked.how == DRY
        return [store.execute(session_id, command, dry_run=dry_run, **options)]  # type: ignore[arg-type]  # options of different types

    def _answered(self, asked: Asked, executed: Sequence[Executed]) -> None:
        self._journal.note(Answered(asked.ask, monotonic(), answers(executed)))
        if asked.how != DRY:
            self._versions |= {done.session_id: done.version for done in executed}

    def _ended(self, asked: Asked, error: BaseException, *, in_batch: bool = False) -> Ended:
        decided, retry = isinstance(error, Refused), getattr(error, "retry", False)
        expected = decided or self._leaves_it_open(error)
        text = str(error) if expected else "".join(traceback.format_exception(error))
        name = "dropped with its batch" if in_batch and expected else type(error).__name__
        moment = monotonic()
        ended = Ended(asked.ask, moment, name, text, decided, retry and not in_batch, expected)
        self._journal.note(ended)
        return ended

    def _leaves_it_open(self, error: BaseException) -> bool:
        """Whether a retry may help, or it is unknown what was done.

        A batch that went on after that may be lost.

        An interrupt strikes only the thread that it comes to, and no caller that waits beside it.
        """
        cause = error.__cause__ if isinstance(error, BatchFailed) else error
        is_disturbed = self._within is not _QUIET
        interrupts = _INTERRUPTS if is_disturbed else ()
        return getattr(cause, "retry", False) or isinstance(cause, (OutcomeUnknown, *interrupts))
