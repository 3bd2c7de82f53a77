"""A cart session on `eventsourcing`, written as its documentation teaches it."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Notification
from eventsourcing.postgres import PostgresApplicationRecorder
from eventsourcing.sqlite import SQLiteApplicationRecorder
from psycopg.conninfo import conninfo_to_dict

from sessions.postgres.place import Place

SYNCHRONOUS_FULL = 2
PAGE = 1000


@dataclass
class Item:
    sku: str
    name: str
    price: Decimal
    quantity: int


class CartSession(Aggregate):
    @staticmethod
    def create_id(session_id: str) -> UUID:
        return uuid5(NAMESPACE_URL, f"/sessions/{session_id}")

    @event("Opened")
    def __init__(self, session_id: str, profile: str) -> None:
        self.session_id = session_id
        self.profile = profile
        self.items: list[Item] = []
        self.coupon = ""
        self.discounts: dict[str, Decimal] = {}
        self.state = "open"

    @event("ItemAdded")
    def add_item(self, sku: str, name: str, price: Decimal, quantity: int) -> None:
        self._check_open()
        self.items.append(Item(sku, name, price, quantity))

    @event("QuantitySet")
    def set_quantity(self, position: int, quantity: int) -> None:
        self._check_open()
        self.items[position].quantity = quantity

    @event("CouponApplied")
    def apply_coupon(self, coupon: str) -> None:
        self._check_open()
        self.coupon = coupon

    @event("DiscountSet")
    def set_discount(self, label: str, value: Decimal) -> None:
        self._check_open()
        self.discounts[label] = value

    @event("Closed")
    def close(self) -> None:
        self._check_open()
        self.state = "closed"

    def _check_open(self) -> None:
        if self.state != "open":
            message = f"session {self.session_id} is {self.state}"
            raise ValueError(message)


class EventsourcingSide(Application[UUID]):
    """One method per command, each with one save and so one durable commit."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        assert self._synchronous() in {SYNCHRONOUS_FULL, "on"}

    def open(self, session_id: str, profile: str) -> None:
        self.save(CartSession(session_id, profile))

    def add_item(self, session_id: str, sku: str, name: str, price: Decimal, quantity: int) -> None:
        session = self.read(session_id)
        session.add_item(sku, name, price, quantity)
        self.save(session)

    def set_quantity(self, session_id: str, position: int, quantity: int) -> None:
        session = self.read(session_id)
        session.set_quantity(position, quantity)
        self.save(session)

    def apply_coupon(self, session_id: str, coupon: str) -> None:
        session = self.read(session_id)
        session.apply_coupon(coupon)
        self.save(session)

    def set_discount(self, session_id: str, label: str, value: Decimal) -> None:
        session = self.read(session_id)
        session.set_discount(label, value)
        self.save(session)

    def close_session(self, session_id: str) -> None:
        session = self.read(session_id)
        session.close()
        self.save(session)

    def read(self, session_id: str, version: int | None = None) -> CartSession:
        session: CartSession = self.repository.get(
            CartSession.create_id(session_id), version=version
        )
        return session

    def replay_decoding(self) -> int:
        """Decode the whole log, and do nothing with it."""
        return sum(1 for _ in map(self.mapper.to_domain_event, self._log()))

    def _log(self) -> Iterator[Notification]:
        last: int | None = None
        while page := self.recorder.select_notifications(last, PAGE, inclusive_of_start=False):
            yield from page
            last = page[-1].id

    def _synchronous(self) -> object:
        """Asked on a connection of the pool, as the setting belongs to the connection."""
        if isinstance(self.recorder, SQLiteApplicationRecorder):
            with self.recorder.datastore.transaction(commit=False) as cursor:
                cursor.execute("PRAGMA synchronous")
                return cursor.fetchone()[0]
        assert isinstance(self.recorder, PostgresApplicationRecorder)
        with self.recorder.datastore.get_connection() as connection:
            (setting,) = connection.execute("SHOW synchronous_commit").fetchall()
            return setting["synchronous_commit"]


def on_sqlite(path: Path) -> dict[str, str]:
    return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}


def on_postgres(place: Place, **settings: str) -> dict[str, str]:
    """All defaults, except that there are as many connections as callers."""
    server = conninfo_to_dict(place.server)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(server["dbname"]),
        "POSTGRES_HOST": str(server["host"]),
        "POSTGRES_PORT": str(server.get("port", "")),
        "POSTGRES_USER": str(server["user"]),
        "POSTGRES_PASSWORD": str(server.get("password", "")),
        "POSTGRES_SCHEMA": place.schema,
        "POSTGRES_MAX_OVERFLOW": "60",
        **settings,
    }
