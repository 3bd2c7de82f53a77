"""What a projection is: a pure fold of events into a view for each key, and what becomes of it.

This is the write side's half: writers keep views too, and know no others than what is described
here. The projections themselves stand on the read side, each in a file named after its question.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from sessions import documents
from sessions.cached import cached_property
from sessions.errors import InvalidValue
from sessions.events import EVENTS, SESSION, Event
from sessions.keys import UNTOLD, Key, is_reserved, misfit
from sessions.kinds import fits
from sessions.mutability import can_change
from sessions.sql.tables import Column, Table
from sessions.views.again import again, check_memory
from sessions.views.definitions import (
    check_columns,
    check_function,
    check_kind_of_key,
    check_mode,
    check_several,
    check_types,
    check_version,
)
from sessions.views.names import check_relation, check_table
from sessions.views.storage import Rows, Storage, as_json
from sessions.views.view_rows import MadeRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.recorded import Recorded
    from sessions.sql.head import Mode

V = TypeVar("V")

_KEY = Column("key", "id")


def of_session(recorded: Recorded) -> Sequence[Key]:
    """The key of a view of each session: its id."""
    return (recorded.stream_id,) if recorded.category == SESSION else ()


def is_first(recorded: Recorded) -> bool:
    """Whether an event is its session's first."""
    return recorded.version == 1


def _never(_: Recorded) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Projection(Generic[V]):
    """A fold of the log into a view for each key.

    Attributes:
        name: What it is called, as its relation is: small letters, digits and `_`, at most 30,
            and no word of SQL's own.
        version: Raise it when the fold, the view or what is kept of it changes.
        view: The views' type: what msgspec can write as JSON, and read again.
        fold: The view after an event; pure. The view is None before the first. It is called once
            for each of the event's keys, and is not told which.
        keys: The keys of the views that an event changes, in a list or tuple: texts, "" too (at
            most 1000 characters in an `id`), or integers, as the key's column says. An event for
            which it raises waits under `UNTOLD`, and one with another key under what that is
            (`misfit`).
        key: The key's column.
        types: The events that it wants; all, if none are named.
        columns: Fields of the view that become columns, for people to query.
        indexes: The columns of further indexes; each begins with `application_id`.
        rows: Relations of rows that views become.
        mode: How it is run where nobody set it otherwise.
        begins: Whether an event is the first of its keys, so that there is no view to read.
        kept: How views are kept (`sessions.views.storage.Storage`), if not as JSON beside those
            columns.

    Raises:
        InvalidValue: A name, version, mode, kind, key or index is not what it may be, two relations
            have one name, a column is no field of the view, or a type is not an event's.
    """

    name: str
    version: int
    view: type[V]
    fold: Callable[[V | None, Recorded], V]
    keys: Callable[[Recorded], Sequence[Key]] = of_session
    key: Column = _KEY
    types: tuple[type[Event], ...] = ()
    columns: tuple[Column, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    rows: tuple[Rows[V], ...] = ()
    mode: Mode = "followed"
    begins: Callable[[Recorded], bool] | None = None
    kept: Storage[V] | None = None

    def __post_init__(self) -> None:
        check_several("columns", self.columns, Column)
        check_several("rows", self.rows, Rows)
        check_several("indexes", self.indexes, tuple)
        check_several("types", self.types)
        check_function("fold", self.fold)
        check_function("keys", self.keys)
        check_relation(self.name)
        check_kind_of_key(self.key)
        for table in self.tables:
            check_table(table)
        check_distinct([self])
        check_version(self.version)
        check_mode(self.mode)
        if self.kept is None:
            check_columns(self.view, self.columns)
        check_types(self.types)

    @property
    def label(self) -> str:
        """What people call it, such as "attachments 1"."""
        return f"{self.name} {self.version}"

    @cached_property
    def storage(self) -> Storage[V]:
        """How its views are kept."""
        if self.kept:
            return self.kept.checked()
        return as_json(self.name, self.key, self.view, self.columns, self.indexes)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """Its relations, that of the views first."""
        return (self.storage.table, *[rows.table(self.key) for rows in self.rows])

    @cached_property
    def made_rows(self) -> tuple[MadeRows[V], ...]:
        """What makes the rows of a view, for each further relation."""
        tables = self.tables[1:]
        return tuple([MadeRows(rows, of) for rows, of in zip(self.rows, tables, strict=True)])

    @cached_property
    def always_fits(self) -> bool:
        """Whether any view can be kept."""
        return self.storage.always_fits and not self.rows

    @cached_property
    def _written(self) -> Callable[[Any], str]:
        """A view as JSON: two that are alike there are the same, whatever Python says of them."""
        return documents.writes(self.view)

    @cached_property
    def _can_change(self) -> bool:
        """Whether views can be changed in place."""
        return can_change(self.view)

    @cached_property
    def wanted(self) -> frozenset[type]:
        """The types of the events that it wants."""
        return frozenset(self.types or get_args(Event))

    @cached_property
    def wanted_names(self) -> frozenset[str]:
        """Their names."""
        return frozenset([kind.__name__ for kind in self.wanted])

    @cached_property
    def unwanted(self) -> frozenset[str]:
        """The names of those that it does not want; a type that is not known may be wanted."""
        return frozenset(EVENTS) - self.wanted_names

    @cached_property
    def is_begun_by(self) -> Callable[[Recorded], bool]:
        """Whether an event is the first of its keys."""
        return self.begins or (is_first if self.is_of_session else _never)

    @cached_property
    def is_of_session(self) -> bool:
        """Whether there is a view of each session, so that its stream has all that is folded."""
        return self.keys is of_session

    def touched(self, recorded: Recorded) -> Sequence[Key]:
        """The keys of the views that an event changes, each once.

        It is `UNTOLD` where `keys` raises, and a `misfit` in place of each that is not of its kind.
        """
        if type(recorded.event) not in self.wanted:
            return ()
        return of_session(recorded) if self.is_of_session else self._keys_of(recorded)

    def _keys_of(self, recorded: Recorded) -> Sequence[Key]:
        """`touched`, of an event that is wanted."""
        try:
            return tuple(dict.fromkeys(self._told(recorded)))
        except Exception as error:  # noqa: BLE001  this event's, if it comes again
            try:
                return tuple(dict.fromkeys(again(partial(self._told, recorded), error)))
            except Exception as second:  # noqa: BLE001  it does
                check_memory(second)
                return (UNTOLD,)

    def by_key(self, events: Sequence[Recorded]) -> dict[Key, list[Recorded]]:
        """Events by the keys that `touched` tells of each: a log has a million of them."""
        found: dict[Key, list[Recorded]] = defaultdict(list)
        wanted = self.wanted
        if self.is_of_session:
            for each in events:
                if type(each.event) in wanted and each.category == SESSION:
                    found[each.stream_id].append(each)
            return found
        for each in [event for event in events if type(event.event) in wanted]:
            for key in self._keys_of(each):
                found[key].append(each)
        return found

    def _told(self, recorded: Recorded) -> list[Key]:
        """What `keys` tells of an event.

        Raises:
            Exception: What `keys` raised.
            TypeError: It answered with one text, whose characters are no keys.
        """
        keys = self.keys(recorded)
        if isinstance(keys, str | bytes):
            message = f"the keys of {self.name} are {keys!r}, which is no list of keys"
            raise TypeError(message)
        return [self.key_of(key) for key in keys]

    def key_of(self, key: Key) -> Key:
        """A key as a plain text or number, or what stands for it where it cannot be one.

        Raises:
            TypeError: It cannot be a key of a dict either.
        """
        if not fits(self.key.kind, key) or is_reserved(key):
            return misfit(key)
        return str.__str__(key) if isinstance(key, str) else key

    def check_key(self, key: Key, recorded: Recorded) -> None:
        """Refuse a key of an event that cannot be one, or that could not be told.

        Raises:
            Exception: What `keys` raised, or its answer was no list.
            ValueError: It is not of the kind of the key's column.
        """
        if key == UNTOLD:
            self._told(recorded)
        if is_reserved(key):
            message = f"{self.name}.{self.key.name}: {self.key.kind}, not {key}"
            raise ValueError(message)

    @cached_property
    def after(self) -> Callable[[V | None, Recorded], V]:
        """Makes the view after an event, as it is when it is kept and read again.

        So the next fold is given the same, whether it was kept meanwhile or not: whoever makes a
        view by hand may give a field any value. Of those that are kept otherwise, whose folds are
        this library's, it is the fold alone: a log has a million events.

        It raises what `fold` raises, or that a view cannot be written as JSON and read again.
        """
        is_plain = self.kept is not None and self.kept.settled is None
        return self.fold if is_plain else self._after

    def _after(self, view: V | None, recorded: Recorded) -> V:
        given = self._apart(view)
        folded = self.folded(given, recorded)
        if view is None or folded is not given:
            return self.settled(folded)
        if given is view:
            return folded
        after = self.settled(folded)
        return view if self._written(view) == self._written(after) else after

    def _apart(self, view: V | None) -> V | None:
        """A view for the fold, which may change it in place, though it should not: one of its own.

        The view before is still held; a transaction may end without a trace.
        """
        return view if view is None or not self._can_change else self.settled(view)

    def folded(self, view: V | None, recorded: Recorded) -> V:
        """The view that the fold makes.

        It is given an event of its own: others are folding it too, and it is still to be written.

        Raises:
            Exception: What `fold` raised.
            TypeError: It answered with None, which is no view.
        """
        folded = self.fold(view, recorded.apart())
        if folded is None:
            message = f"the fold of {self.name} answers with None, which is no view"
            raise TypeError(message)
        return folded

    def settled(self, view: V) -> V:
        """A view as it is when it is kept and read again.

        Raises:
            Exception: It cannot be written as JSON and read again.
        """
        settled = self.storage.settled
        return view if settled is None else settled(view)

    def check_kept(self, key: Key, view: V) -> None:
        """Refuse a view that cannot be kept: its key waits.

        Raises:
            Exception: It cannot be written as JSON, or what makes its rows raised.
            ValueError: A row of it is not what the columns take, or two have one key.
        """
        self.storage.to_row(key, view)
        for rows in self.made_rows:
            rows.of(key, view)


def check_distinct(projections: Sequence[Projection[Any]]) -> None:
    """Refuse projections that would share a name or a relation, with another or in one.

    Raises:
        InvalidValue: They do.
    """
    for each in projections:
        if not isinstance(each, Projection):
            raise InvalidValue(field="projections", rule="projections", value=repr(each))
    names = [table.name for each in projections for table in each.tables]
    names += [each.name for each in projections if each.name != each.tables[0].name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        rule = "each has names of its own"
        raise InvalidValue(field="projections", rule=rule, value=", ".join(twice))
