"""The claims of an application as rows: who holds one on which limit, and how many hold each."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from sessions.claims import Claim, Usage
from sessions.errors import ClaimRefused
from sessions.sql import schema
from sessions.sql.inserting import Insert

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sessions.sql.connection import Connection, Query, Statement
    from sessions.sql.dialect import Dialect
    from sessions.sql.tables import Table

Pair = tuple[str, str]
"""A limit, and the stream that asks for it."""

_PAIR = ("limit_name", "holder")


class ClaimRows:
    """Reads and writes claims.

    Args:
        application_id: The application.
        dialect: The database's.
        suffix: What is added to the names of its relations.
        copies: Whether many rows that are new may be copied (see `Insert`).
    """

    def __init__(
        self, application_id: int, dialect: Dialect, suffix: str = "", *, copies: bool = False
    ) -> None:
        claims = schema.CLAIMS.beside(suffix)
        limits = schema.LIMITS.beside(suffix)
        of_limit = f"application_id = ? AND {dialect.is_id('limit_name')}"
        self._application_id = application_id
        self._dialect = dialect
        self._copies = copies
        self._limits, self._claims = limits, claims
        self._usage = (
            f"SELECT (SELECT used FROM {limits.name} WHERE {of_limit}), EXISTS "
            f"(SELECT 1 FROM {claims.name} WHERE {of_limit} AND {dialect.is_id('holder')})"
        )
        self._take = Insert(claims, dialect, "ON CONFLICT DO NOTHING", copies=copies)
        self._count = Insert(limits, dialect, limits.upsert(dialect), copies=copies)
        self._release = f"DELETE FROM {claims.name} WHERE {of_limit} AND {dialect.is_id('holder')}"
        self._clean = f"DELETE FROM {limits.name} WHERE {of_limit}"

    def asks(self, pairs: Sequence[Pair], begun: Collection[str] = ()) -> list[Statement]:
        """The SELECTs for `usages`: how much of limits is used, and which streams hold claims.

        Streams in `begun` have just begun, and hold none.
        """
        if len(pairs) == 1:
            ((limit, holder),) = pairs
            of_limit = (self._application_id, limit)
            return [(self._usage, (*of_limit, *of_limit, holder))]
        limits = list(dict.fromkeys([limit for limit, _ in pairs]))
        used = self._each(self._limits, ("limit_name",), len(limits), "limit_name, used")
        asked: list[Statement] = [(used, (*limits, self._application_id))]
        held = [pair for pair in pairs if pair[1] not in begun]
        if held:
            sql = self._each(self._claims, _PAIR, len(held), ", ".join(_PAIR))
            asked.append((sql, (*chain.from_iterable(held), self._application_id)))
        return asked

    def _each(self, table: Table, names: Sequence[str], count: int, columns: str) -> str:
        return table.select_each(names, count, self._dialect, "application_id = ?", columns=columns)

    @staticmethod
    def usages(pairs: Sequence[Pair], answers: Sequence[Sequence[Any]]) -> dict[Pair, Usage]:
        """The usage of each limit, from the answers to the statements of `asks`."""
        if len(pairs) == 1:
            ((count, holds),) = answers[0]
            return {pairs[0]: Usage(count or 0, bool(holds))}
        used, held = dict(answers[0]), {tuple(row) for rows in answers[1:] for row in rows}
        return {pair: Usage(used.get(pair[0], 0), pair in held) for pair in pairs}

    def usage(self, query: Query, limit: str, holder: str) -> Usage:
        """How much of a limit is used, and whether a stream holds a claim on it."""
        pair = (limit, holder)
        answers = [query(*statement) for statement in self.asks([pair])]
        return self.usages([pair], answers)[pair]

    def write(self, connection: Connection, ledger: Ledger) -> None:
        """Write what a ledger has changed."""
        application = self._application_id
        taken = [(application, *claim) for claim, held in ledger.held.items() if held]
        counted = [(application, limit, used) for limit, used in ledger.used.items() if used]
        if self._copies and (there := ledger.there()):
            self._take(connection, [row for row in taken if row[1:] in there])
            self._count(connection, [row for row in counted if row[1] in there])
            taken = [row for row in taken if row[1:] not in there]
            counted = [row for row in counted if row[1] not in there]
        self._take(connection, new=taken)
        self._count(connection, new=counted)
        if not all(ledger.held.values()):  # else no limit is used less
            released = [(application, *claim) for claim, held in ledger.held.items() if not held]
            empty = [(application, limit) for limit, used in ledger.used.items() if not used]
            connection.executemany(self._release, released)
            if empty:  # an empty write would cost a round trip too
                connection.executemany(self._clean, empty)


class Ledger:
    """Claims as they will be: what is changed, on top of what is read under the lock.

    Attributes:
        held: Whether a holder has a claim on a limit, for those that are changed.
        used: How many holders a limit has, for those that are changed.
    """

    def __init__(self, read: Callable[[str, str], Usage]) -> None:
        self._read = read
        self._known: dict[tuple[str, str], Usage] = {}
        self.held: dict[tuple[str, str], bool] = {}
        self.used: dict[str, int] = {}

    def usage(self, limit: str, holder: str) -> Usage:
        """How much of a limit is used, and whether a stream holds a claim on it."""
        known = self._known.get((limit, holder))
        if known is None:
            known = self._known[limit, holder] = self._read(limit, holder)
        held = self.held.get((limit, holder), known.held)
        return Usage(self.used.get(limit, known.count), held)

    def know(self, usages: Mapping[Pair, Usage]) -> None:
        """Take note of what was read."""
        self._known |= usages

    def there(self) -> set[Pair | str]:
        """Of what was read, the claims that were held and the limits that were used."""
        known = self._known.items()
        return {pair for pair, usage in known if usage.held} | {
            limit for (limit, _), usage in known if usage.count
        }

    def knows(self, pair: Pair) -> bool:
        """Whether the usage is known, so that it need not be read."""
        return pair in self._known

    def take(self, claim: Claim, holder: str) -> None:
        """Let a stream take a claim; it counts once, however often it is taken.

        Raises:
            ClaimRefused: The limit is used up by others.
        """
        usage = self.usage(claim.limit, holder)
        if not usage.admits(claim):
            raise ClaimRefused(limit=claim.limit)
        if not usage.held:
            self.held[claim.limit, holder] = True
            self.used[claim.limit] = usage.count + 1

    def release(self, claim: Claim, holder: str) -> None:
        """Release a stream's claim."""
        usage = self.usage(claim.limit, holder)
        if usage.held:
            self.held[claim.limit, holder] = False
            self.used[claim.limit] = usage.count - 1

    def absorb(self, later: Ledger) -> None:
        """Take over what a ledger on top of this one has changed."""
        self.held |= later.held
        self.used |= later.used

    def forget(self) -> None:
        """Forget all, so that everything is read again."""
        self._known, self.held, self.used = {}, {}, {}
