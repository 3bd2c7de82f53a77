"""Reads the views of a projection: now, at any moment, or once they have reached a position."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from projections.known import come, parked_keys, unreadable
from projections.moments import check_one, known_until
from projections.running import coming, going_on
from projections.view_events import events_of
from sessions import rules
from sessions.errors import StorageFailed, ViewParked
from sessions.views import kept
from sessions.views.again import comes_again
from sessions.views.parked import ParkedKeys
from sessions.views.projection import Projection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from projections.running.going_on import How
    from sessions.keys import Key
    from sessions.recorded import Recorded
    from sessions.sql.dialect import Dialect
    from sessions.sql.head import Build
    from sessions.store import SessionStore
    from sessions.views.parked import Parked

V = TypeVar("V")


class StoredProjection(Generic[V]):
    """Reads the views of a projection, in a store's application, and lets parked keys go on.

    Args:
        store: The store.
        projection: The projection. The store may keep it in any mode.

    Raises:
        InvalidValue: `projection` is no projection; its name is none.
    """

    def __init__(self, store: SessionStore, projection: Projection[V]) -> None:
        rules.instance("projection", projection, Projection)
        self.projection = projection
        self._store = store
        self._database = store.recorder.database
        self._get = _get(projection, self._database.dialect)
        self._is_live = projection.mode == "live"

    # --- reading

    def get(
        self, key: Key, *, as_of: datetime | None = None, position: int | None = None
    ) -> V | None:
        """The view of a key as it is now, or as it was; None if no event has touched the key.

        Args:
            key: The view's key.
            as_of: The view at this time (with a timezone): after all events with `at` up to it.
            position: The view after all events up to this log position.

        Raises:
            ViewParked: The key is parked: an event could not be folded into its view.
            ViewUnreadable: Somebody changed its row by hand.
            ProjectionNotKept: The store keeps another version, or none.
            PositionNotFound: The position is beyond the log's end.
            InvalidValue, LimitExceeded: The key is not of its column's kind, both moments are
                given, or one is not a valid moment.
            UnknownEvent: The view is folded now (it is live, or past), and a newer library wrote
                an event.
            UndecodableEvent: The view is folded now, and the data of an event does not fit its
                shape.
        """
        key = self._checked(key)
        past = check_one(as_of=as_of, position=position)
        as_of = rules.as_of(as_of)
        if position is not None:
            known_until(self._store, position)
        if past:
            return self._folded(self._build(), key, as_of, position)
        return self._now(key)

    def _now(self, key: Key) -> V | None:
        """The view of a key as it is kept, by one query; or folded, if the projection is live."""
        build = self._build() if self._is_live else None
        while build is None or build.mode != "live":
            row, failed = None, None
            try:
                row = self._kept(key)
            except StorageFailed as error:  # its relation does not exist, or was removed meanwhile
                failed = error
            if row is not None:
                return self._read(key, row)
            before, build = build, self._build()
            if failed is not None and build == before:
                if build is not None:
                    kept.check_columns(self._database, [(build, self.projection)])
                raise failed
        return self._folded(build, key, None, None)

    def _kept(self, key: Key) -> Sequence[Any] | None:
        """The row that this version keeps for a key; None if its build has to be looked up."""
        application = self._store.application_id
        parameters = (application, str(key), application, key, self.projection.name)
        for version, is_waiting, *row in self._store.rows(self._get, parameters):
            if is_waiting:
                self.check_not_parked(key)  # unless it goes on by now
            elif version == self.projection.version:
                return row
        return None

    def _read(self, key: Key, row: Sequence[Any]) -> V | None:
        application, *values = row
        if application is None:
            return None
        read = partial(self.projection.storage.from_row, values)
        try:
            return read()
        except Exception as error:
            if not comes_again(read, error):
                raise
            raise unreadable(self._store, self.projection, key, error) from error

    def _checked(self, key: Key) -> Key:
        name, kind = self.projection.key.name, self.projection.key.kind
        if kind == "integer":
            return rules.count(name, key, least=-rules.MAX_COUNT - 1)
        text = rules.text(name, key, least=0, most=rules.MAX_ID if kind == "id" else None)
        return text if self.projection.is_of_session else self.projection.told.key_of(text)

    def check_not_parked(self, key: Key) -> None:
        """Refuse a key that is parked.

        Args:
            key: The view's key, or the text that `parked` shows for it.

        Raises:
            ViewParked: The key is parked.
            InvalidValue: It is a text that no database takes.
            ProjectionNotKept: The store keeps another version, or none.
        """
        _check_shown(key)
        for parked in parked_keys(self._store, self._build()).shown(self._store.rows, key):
            raise ViewParked(
                projection=parked.projection,
                key=key,
                position=parked.position,
                type=parked.type,
                reason=parked.error,
            )

    def _folded(
        self, build: Build, key: Key, as_of: datetime | None, position: int | None
    ) -> V | None:
        """The view of a key at a moment, folded; it is refused if it would be parked by then."""
        skipped = parked_keys(self._store, build).skipped(self._store.rows)
        view = None
        for recorded in events_of(self.projection, self._store, key, as_of, position):
            if (str(key), recorded.position) in skipped:
                continue
            after = partial(self._after, key, view, recorded)
            try:
                view = after()
            except Exception as error:
                if not comes_again(after, error):
                    raise
                where = {"position": recorded.position, "type": recorded.type}
                name = self.projection.name
                raise ViewParked(projection=name, key=key, reason=repr(error), **where) from error
        return view

    def _after(self, key: Key, view: V | None, recorded: Recorded) -> V:
        """The view after an event, if it can be kept."""
        if not self.projection.is_of_session:
            self.projection.told.check(key, recorded)
        after = self.projection.after(view, recorded)
        if after is not view and not self.projection.always_fits:
            self.projection.check_kept(key, after)
        return after

    # --- its position

    @property
    def position(self) -> int:
        """The log position that the views have reached.

        Raises:
            ProjectionNotKept: The store keeps another version, or none.
        """
        return come(self._store, self._build(), self._store.rows)

    def wait(self, position: int, *, timeout: float = 10.0) -> None:
        """Wait until the views have reached a position, so that you read your own write.

        Args:
            position: The log position, such as that of the answer of `execute`.
            timeout: How many seconds to wait; with 0 it only looks.

        Raises:
            ViewBehind: They have not reached it in time, or no runner is at work.
            ProjectionNotKept: The store keeps another version, or none and no runner begins one.
            InvalidValue: `position` is not a whole number from 0, or `timeout` is not 0 to
                2,147,483 seconds.
        """
        rules.count("position", position, least=0)
        rules.seconds("timeout", timeout)
        coming.wait(self._store, self.projection, position, timeout)

    # --- parked keys

    def parked(self) -> list[Parked]:
        """The parked keys, each with the event that could not be folded into its view.

        Raises:
            ProjectionNotKept: The store keeps another version, or none.
        """
        return parked_keys(self._store, self._build()).shown(self._store.rows)

    def retry(self, key: Key) -> bool:
        """Fold again the event that a parked key waits for, and all that wait behind it.

        Args:
            key: The view's key, or the text that `parked` shows for it.

        Returns:
            Whether the key goes on. False: it is parked again.

        Raises:
            KeyNotParked: The key is not parked.
            KeyNotTouched: The event that it waits for does not touch the key any more: the
                projection's `keys` were changed.
            ProjectionNotKept: The store keeps another version, or none.
            BatchOpen: This thread has a batch open.
            StoreNotFound: The store does not exist yet.
            InvalidValue: It is a text that no database takes.
            RebuildRunning: A rebuild has just switched to another build: try again.
        """
        return self._go_on(key, ParkedKeys.release)

    def skip(self, key: Key) -> bool:
        """Leave out the event that a parked key waits for, and fold those that wait behind it.

        The event is left out for good in this version of the projection, also in rebuilds.

        Args:
            key: The view's key, or the text that `parked` shows for it.

        Returns:
            Whether the key goes on. False: it is parked again.

        Raises:
            KeyNotParked: The key is not parked.
            KeyNotTouched: The event that it waits for does not touch the key any more: the
                projection's `keys` were changed.
            ProjectionNotKept: The store keeps another version, or none.
            BatchOpen: This thread has a batch open.
            StoreNotFound: The store does not exist yet.
            InvalidValue: It is a text that no database takes.
            RebuildRunning: This version is being rebuilt, and that build would not know of the
                skip; or a rebuild has just switched to another build.
        """
        return self._go_on(key, ParkedKeys.skip)

    def _go_on(self, key: Key, how: How) -> bool:
        _check_shown(key)
        self._store.check_no_batch("retry or skip")
        self._store.check_made()
        build = self._build()
        return going_on.go_on(self._store, self.projection, build, key, how)

    def _build(self) -> Build:
        """The build that the store keeps.

        Raises:
            ProjectionNotKept: It is of another version, or there is none.
            CopyUnfinished: There is none, because the store is being copied to.
        """
        build = coming.build_of(self._store, self.projection)
        self._is_live = build.mode == "live"  # then there is no relation to query
        return build


def _get(projection: Projection[Any], dialect: Dialect) -> str:
    """A SELECT of the kept version, whether the key is parked, and the row, all of one moment."""
    table = projection.storage.table
    return (
        "SELECT kept.version, EXISTS (SELECT 1 FROM parked WHERE parked.application_id = ? "
        f"AND parked.projection = kept.name AND {dialect.is_id('parked.key')} "
        "AND parked.build = kept.build AND NOT parked.skipped), found.* FROM projections AS kept "
        f"LEFT JOIN ({table.select(table.where_key(dialect))}) AS found ON TRUE "
        "WHERE kept.name = ? AND kept.status = 'current'"
    )


def _check_shown(key: Key) -> None:
    """Refuse a text that can be neither a key nor the text that `parked` shows for one."""
    if isinstance(key, str):
        rules.text("key", key, least=0, most=None)
