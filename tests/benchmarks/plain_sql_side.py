"""A cart session in plain SQL: one JSON row per session, changed in place, without a history.

Money is a string in the JSON, because a JSON number would come back as a float.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from threading import local
from types import TracebackType
from typing import Generic, Protocol, Self, TypedDict, TypeVar


class Item(TypedDict):
    sku: str
    name: str
    price: str
    quantity: int


class Document(TypedDict):
    profile: str
    items: list[Item]
    coupon: str
    discounts: dict[str, str]
    state: str


class Connection(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Connection)


class PlainSqlSide(ABC, Generic[C]):
    """One method per command, each with one durable transaction; a connection for each caller."""

    def __init__(self) -> None:
        self._callers = local()
        self._connections: list[C] = []

    @abstractmethod
    def _connect(self) -> C: ...

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[object]:
        """A transaction whose reads nobody can change before its writes."""

    @abstractmethod
    def _insert(self, session_id: str, document: Document) -> None: ...

    @abstractmethod
    def _update(self, session_id: str, document: Document) -> None: ...

    @abstractmethod
    def _locked(self, session_id: str) -> Document: ...

    @abstractmethod
    def read(self, session_id: str) -> Document: ...

    @property
    def _db(self) -> C:
        """The caller's own connection."""
        connection: C | None = getattr(self._callers, "connection", None)
        if connection is None:
            connection = self._callers.connection = self._connect()
            self._connections.append(connection)
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.close()

    def open(self, session_id: str, profile: str) -> None:
        document = Document(profile=profile, items=[], coupon="", discounts={}, state="open")
        with self._transaction():
            self._insert(session_id, document)

    def add_item(self, session_id: str, sku: str, name: str, price: Decimal, quantity: int) -> None:
        with self._changing(session_id) as document:
            document["items"].append(Item(sku=sku, name=name, price=str(price), quantity=quantity))

    def set_quantity(self, session_id: str, position: int, quantity: int) -> None:
        with self._changing(session_id) as document:
            document["items"][position]["quantity"] = quantity

    def apply_coupon(self, session_id: str, coupon: str) -> None:
        with self._changing(session_id) as document:
            document["coupon"] = coupon

    def set_discount(self, session_id: str, label: str, value: Decimal) -> None:
        with self._changing(session_id) as document:
            document["discounts"][label] = str(value)

    def close_session(self, session_id: str) -> None:
        with self._changing(session_id) as document:
            document["state"] = "closed"

    @contextmanager
    def _changing(self, session_id: str) -> Iterator[Document]:
        with self._transaction():
            document = self._locked(session_id)
            if document["state"] != "open":
                message = f"session {session_id} is {document['state']}"
                raise ValueError(message)
            yield document
            self._update(session_id, document)


def now() -> datetime:
    return datetime.now(UTC)
