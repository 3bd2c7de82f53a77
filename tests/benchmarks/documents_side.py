"""A view of sessions on `eventsourcing`: a projection, as its documentation teaches it.

One row per session with a JSON document, written together with the tracking position in one
transaction per event. As SQLite's recorder has no subscription, the events come from memory there.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID

from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import ApplicationRecorder, Tracking, TrackingRecorder
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteTrackingRecorder
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from sessions.postgres.place import Place
from tests.benchmarks.eventsourcing_side import CartSession, EventsourcingSide, on_postgres
from tests.benchmarks.plain_sql_side import Item
from tests.benchmarks.workload import open_to_closed

LOOK = 0.001  # seconds
TOGETHER = 1000
EVENTS: Any = CartSession  # its decorators make its event classes


class Document(TypedDict):
    session: str
    profile: str
    state: str
    items: list[Item]
    coupon: str
    discounts: dict[str, str]
    total: str


Change = Callable[[Document], None]


class Documents(TrackingRecorder):
    """The views.

    Attributes:
        newest: The position of the newest event that is committed in them.
    """

    newest = 0

    @abstractmethod
    def add(self, key: UUID, document: Document, tracking: Tracking) -> None: ...

    @abstractmethod
    def change(self, key: UUID, change: Change, tracking: Tracking) -> None: ...

    @abstractmethod
    def documents(self) -> list[Document]: ...

    @abstractmethod
    def close(self) -> None: ...


class SqliteDocuments(SQLiteTrackingRecorder, Documents):
    def construct_create_table_statements(self) -> list[str]:
        made = "CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, document TEXT NOT NULL)"
        return [*super().construct_create_table_statements(), made]

    def add(self, key: UUID, document: Document, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            row = key.hex, _text(document)
            cursor.execute("INSERT INTO documents VALUES (?, ?)", row)
            self._insert_tracking(cursor, tracking)
        self.newest = tracking.notification_id

    def change(self, key: UUID, change: Change, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("SELECT document FROM documents WHERE id = ?", (key.hex,))
            document: Document = json.loads(cursor.fetchone()[0])
            change(document)
            row = _text(document), key.hex
            cursor.execute("UPDATE documents SET document = ? WHERE id = ?", row)
            self._insert_tracking(cursor, tracking)
        self.newest = tracking.notification_id

    def documents(self) -> list[Document]:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT document FROM documents")
            return [json.loads(document) for (document,) in cursor.fetchall()]

    def close(self) -> None:
        self.datastore.close()


class PostgresDocuments(PostgresTrackingRecorder, Documents):
    def __init__(self, datastore: PostgresDatastore, **names: Any) -> None:
        super().__init__(datastore, **names)
        table = Identifier(datastore.schema, "documents")
        made = SQL("CREATE TABLE IF NOT EXISTS {} (id uuid PRIMARY KEY, document jsonb NOT NULL)")
        self.sql_create_statements.append(made.format(table))
        self._insert = SQL("INSERT INTO {} VALUES (%s, %s)").format(table)
        self._select = SQL("SELECT document FROM {} WHERE id = %s").format(table)
        self._update = SQL("UPDATE {} SET document = %s WHERE id = %s").format(table)
        self._all = SQL("SELECT document FROM {}").format(table)

    def add(self, key: UUID, document: Document, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(self._insert, (key, Jsonb(document)), prepare=True)
            self._insert_tracking(cursor, tracking)
        self.newest = tracking.notification_id

    def change(self, key: UUID, change: Change, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            row = cursor.execute(self._select, (key,), prepare=True).fetchone()
            assert row
            document: Document = row["document"]
            change(document)
            cursor.execute(self._update, (Jsonb(document), key), prepare=True)
            self._insert_tracking(cursor, tracking)
        self.newest = tracking.notification_id

    def documents(self) -> list[Document]:
        with self.datastore.transaction() as cursor:
            return [row["document"] for row in cursor.execute(self._all)]

    def close(self) -> None:
        self.datastore.close()


class SessionDocuments(Projection[Documents]):
    name = "documents"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise NotImplementedError(domain_event, tracking)

    @process_event.register(EVENTS.Opened)
    def _opened(self, event: Any, tracking: Tracking) -> None:
        document = Document(
            session=event.session_id,
            profile=event.profile,
            state="open",
            items=[],
            coupon="",
            discounts={},
            total="0",
        )
        self.view.add(event.originator_id, document, tracking)

    @process_event.register(EVENTS.ItemAdded)
    def _item_added(self, event: Any, tracking: Tracking) -> None:
        def change(document: Document) -> None:
            name, price, quantity = event.name, str(event.price), event.quantity
            document["items"].append(Item(sku=event.sku, name=name, price=price, quantity=quantity))
            _add_up(document)

        self.view.change(event.originator_id, change, tracking)

    @process_event.register(EVENTS.QuantitySet)
    def _quantity_set(self, event: Any, tracking: Tracking) -> None:
        def change(document: Document) -> None:
            document["items"][event.position]["quantity"] = event.quantity
            _add_up(document)

        self.view.change(event.originator_id, change, tracking)

    @process_event.register(EVENTS.CouponApplied)
    def _coupon_applied(self, event: Any, tracking: Tracking) -> None:
        def change(document: Document) -> None:
            document["coupon"] = event.coupon

        self.view.change(event.originator_id, change, tracking)

    @process_event.register(EVENTS.DiscountSet)
    def _discount_set(self, event: Any, tracking: Tracking) -> None:
        def change(document: Document) -> None:
            document["discounts"][event.label] = str(event.value)

        self.view.change(event.originator_id, change, tracking)

    @process_event.register(EVENTS.Closed)
    def _closed(self, event: Any, tracking: Tracking) -> None:
        def change(document: Document) -> None:
            document["state"] = "closed"

        self.view.change(event.originator_id, change, tracking)


Runner = ProjectionRunner[EventsourcingSide, Documents]


class Following:
    """Makes the views again and again, each time from scratch and from the first event."""

    def __init__(
        self,
        source: type[EventsourcingSide],
        views: type[Documents],
        events: int,
        new: Callable[[], Mapping[str, str]],
    ) -> None:
        """Follow a source.

        Args:
            source: The application that has the events.
            views: The class that keeps the views.
            events: How many events the source has.
            new: The environment of a source, and of views that do not exist yet.
        """
        self._source = source
        self._views = views
        self._events = events
        self._new = new
        self._runner: Runner | None = None

    def block(self) -> int:
        """All events, from the runner's beginning until the last one is committed."""
        self._runner = runner = ProjectionRunner(
            application_class=self._source,
            projection_class=SessionDocuments,
            view_class=self._views,
            env=dict(self._new()),
        )
        runner.__enter__()
        while runner.view.newest < self._events:
            assert not runner.is_interrupted.wait(LOOK)
        return self._events

    def documents(self) -> list[Document]:
        assert self._runner
        return self._runner.view.documents()

    def end(self) -> None:
        """Close the last views."""
        if self._runner is not None:
            self._runner.__exit__(None, None, None)
            self._runner.view.close()
            self._runner = None


class InMemory(EventsourcingSide):
    """The events of the loaded sessions, in memory."""

    name = "shop"
    shop_log = POPOApplicationRecorder()

    def construct_recorder(self) -> ApplicationRecorder:
        return self.shop_log

    def _synchronous(self) -> object:
        return "on"  # the views are what has to be durable


class InPostgres(EventsourcingSide):
    name = "shop"


def loaded(sessions: int) -> int:
    """Put this many sessions into memory; the answer is how many events they have."""
    InMemory.shop_log = POPOApplicationRecorder()
    side = InMemory({})
    for number in range(sessions):
        open_to_closed(side, number)
    return InMemory.shop_log.max_notification_id() or 0


def on_sqlite(directory: Path, events: int) -> Following:
    """Views in files, of the events in memory."""
    numbers = iter(range(1_000_000))

    def new() -> dict[str, str]:
        path = directory / f"documents-{next(numbers)}.db"
        return {
            "DOCUMENTS_PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "DOCUMENTS_SQLITE_DBNAME": str(path),
        }

    return Following(InMemory, SqliteDocuments, events, new)


def in_postgres(source: Place, views: Callable[[], Place], events: int) -> Following:
    """Views in new schemas, of the events in memory, copied into another schema."""
    with InPostgres(on_postgres(source)) as side:
        for start in range(1, events + 1, TOGETHER):
            side.recorder.insert_events(InMemory.shop_log.select_notifications(start, TOGETHER))

    def new() -> dict[str, str]:
        there = on_postgres(views())
        return on_postgres(source) | {f"DOCUMENTS_{name}": there[name] for name in there}

    return Following(InPostgres, PostgresDocuments, events, new)


def _add_up(document: Document) -> None:
    lines = [Decimal(item["price"]) * item["quantity"] for item in document["items"]]
    document["total"] = str(sum(lines, Decimal(0)))


def _text(document: Document) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
