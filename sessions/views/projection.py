"""What a projection is: a pure fold of events into a view for each key, and how that is kept.

This half is on the write side, because writers keep views too, and know only those that are
described like this. The projections themselves are on the read side, each in a file named after its
question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from sessions.cached import cached_property
from sessions.errors import InvalidValue
from sessions.events import EVENTS, SESSION, Event
from sessions.rules import shown
from sessions.sql.tables import Column, Table
from sessions.views.begins import always, is_first, is_known_to_begin, never
from sessions.views.definitions import (
    check_columns,
    check_function,
    check_key,
    check_mode,
    check_rows,
    check_several,
    check_storage,
    check_types,
    check_version,
    check_view,
)
from sessions.views.guarded_fold import GuardedFold
from sessions.views.names import check_relation, check_table
from sessions.views.storage import Rows, Storage, as_json
from sessions.views.told_keys import ToldKeys
from sessions.views.view_rows import MadeRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.keys import Key
    from sessions.recorded import Recorded
    from sessions.sql.head import Mode

V = TypeVar("V")

_KEY = Column("key", "id")


def of_session(recorded: Recorded) -> Sequence[Key]:
    """The key of a projection with one view per session: the session's id."""
    return (recorded.stream_id,) if recorded.category == SESSION else ()


@dataclass(frozen=True, kw_only=True)
class Projection(Generic[V]):
    """A pure fold of the log into a view for each key.

    Attributes:
        name: Its name, and that of its relation: lower-case letters, digits and `_`, a letter
            first, at most 30 characters, and no reserved word of SQL.
        version: Raise it when the fold, the view or what is stored of it changes.
        view: The type of the views, which msgspec must be able to write as JSON and read again.
        fold: The view after an event, from the view before it (None before the first) and the
            event; pure. It is called once for each of the event's keys, and is not told which.
        keys: The keys of the views that an event changes, in a list or tuple; pure. A key is a
            text, "" too (at most 1000 characters in an `id`), or an integer, as the key's column
            says. An event for which it raises waits under the key `(untold)`; one with a key of
            another kind waits under a description of that key, such as `(str) '7'`.
        key: The key's column.
        types: The classes of the events that it folds; all, if none are named.
        columns: Fields of the view that become columns, for people to query.
        indexes: The columns of further indexes. None is added to them: let each begin with
            `application_id`, as every query of one application names it.
        rows: Further relations, with any number of rows for each view.
        mode: How it is kept (`inline`, `followed` or `live`), unless a rebuild has set another
            mode.
        begins: Whether an event is the first of its keys, so that there is no view to read; pure.
            If it raises, the view is read.
        kept: How views are stored (`sessions.views.storage.Storage`), if not as JSON beside
            `columns`.

    Raises:
        InvalidValue: A name, version, mode, kind, key or index is not allowed, two relations share
            a name, a column is not a field of the view, a type is not an event's class, or a value
            is not what its field takes.
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
        if self.begins is not None:
            check_function("begins", self.begins)
        check_relation(self.name)
        check_key(self.key, is_of_session=self.is_of_session)
        for rows in self.rows:
            check_rows(rows)
        if self.kept is None:
            check_view(self.view)
        else:
            check_storage(self.kept)
        for table in self.tables:
            check_table(table)
        distinct([self])
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
        """How its views are stored."""
        if self.kept:
            return self.kept.checked()
        return as_json(self.name, self.key, self.view, self.columns, self.indexes)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """Its relations, that of the views first."""
        return (self.storage.table, *[rows.table(self.key) for rows in self.rows])

    @cached_property
    def made_rows(self) -> tuple[MadeRows[V], ...]:
        """Makes the rows of a view, for each further relation."""
        tables = self.tables[1:]
        return tuple([MadeRows(rows, of) for rows, of in zip(self.rows, tables, strict=True)])

    @cached_property
    def always_fits(self) -> bool:
        """Whether every view can be stored, so that none is checked."""
        return self.storage.always_fits and not self.rows

    @cached_property
    def told(self) -> ToldKeys:
        """Calls `keys`, and makes keys of whatever it returns or raises."""
        return ToldKeys(self.name, self.key, self.keys)

    @cached_property
    def guarded(self) -> GuardedFold[V]:
        """Calls the fold as other people's code, which might change what it is given."""
        return GuardedFold(self.name, self.view, self.fold, self.storage.settled)

    @cached_property
    def wanted(self) -> frozenset[type]:
        """The types of the events that it folds."""
        return frozenset(self.types or get_args(Event))

    @cached_property
    def wanted_names(self) -> frozenset[str]:
        """Their names."""
        return frozenset([kind.__name__ for kind in self.wanted])

    @cached_property
    def unwanted(self) -> frozenset[str]:
        """The names of those that it does not fold; an unknown type is not among them."""
        return frozenset(EVENTS) - self.wanted_names

    @cached_property
    def is_begun_by(self) -> Callable[[Recorded], bool]:
        """Whether an event is known to be the first of its keys.

        This library's own functions are bare, for speed: a log has a million events.
        """
        if self.begins is None:
            return is_first if self.is_of_session else never
        return always if self.begins is always else partial(is_known_to_begin, self.begins)

    @cached_property
    def is_of_session(self) -> bool:
        """Whether it has one view per session, so that the session's stream has all its events."""
        return self.keys is of_session

    def touched(self, recorded: Recorded) -> Sequence[Key]:
        """The keys of the views that an event changes, each once.

        `UNTOLD` is the only one if `keys` raises or does not return a list; a `misfit` stands for
        each key of another kind.
        """
        if type(recorded.event) not in self.wanted:
            return ()
        return of_session(recorded) if self.is_of_session else self.told.of(recorded)

    def by_key(self, events: Sequence[Recorded]) -> dict[Key, list[Recorded]]:
        """Events by their keys, as `touched` tells them, but faster: a log has a million."""
        found: dict[Key, list[Recorded]] = defaultdict(list)
        wanted = self.wanted
        if self.is_of_session:
            for each in events:
                if type(each.event) in wanted and each.category == SESSION:
                    found[each.stream_id].append(each)
            return found
        keys_of = self.told.of
        for each in [event for event in events if type(event.event) in wanted]:
            for key in keys_of(each):
                found[key].append(each)
        return found

    @cached_property
    def after(self) -> Callable[[V | None, Recorded], V]:
        """Makes the view after an event, as it will be when it is stored and read again.

        For views that are not stored as JSON, whose folds are this library's own, it is the bare
        fold, for speed: a log has a million events.

        It raises what `fold` raises, or that a view cannot be written as JSON and read again.
        """
        is_plain = self.kept is not None and self.kept.settled is None
        return self.fold if is_plain else self.guarded.after

    def check_kept(self, key: Key, view: V) -> None:
        """Raise if a view cannot be stored: its key is then parked.

        Raises:
            Exception: It cannot be written as JSON, or making its rows raised.
            ValueError: A row does not fit its columns, or two rows have the same key.
        """
        self.storage.to_row(key, view)
        for rows in self.made_rows:
            rows.of(key, view)


def distinct(given: Iterable[Projection[Any]]) -> tuple[Projection[Any], ...]:
    """Projections that somebody gives together.

    Raises:
        InvalidValue: Two share a name or a relation, one has a relation twice, or they are none.
    """
    if not isinstance(given, Iterable):
        rule = "an iterable of Projection objects"
        raise InvalidValue(field="projections", rule=rule, value=shown(given))
    projections = tuple(given)
    for each in projections:
        if not isinstance(each, Projection):
            raise InvalidValue(field="projections", rule="Projection objects", value=shown(each))
    names = [table.name for each in projections for table in each.tables]
    names += [each.name for each in projections if each.name != each.tables[0].name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        rule = "a different name for each projection and relation"
        raise InvalidValue(field="projections", rule=rule, value=", ".join(twice))
    return projections
