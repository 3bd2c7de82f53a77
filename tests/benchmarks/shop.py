"""The application with which the faults of the stock classes are shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import get_topic

CART = UUID("7c1a4f2e-0f5e-4d0b-9b1f-2f6f5f0c1001")


@dataclass(frozen=True)
class ItemAdded(DomainEvent):
    sku: str


class Shop(Application[UUID]):
    pass


class Warehouse(Application[UUID]):
    pass


@dataclass(frozen=True)
class Cart:
    id: UUID
    version: int


def project(cart: Cart | None, events: Iterable[ItemAdded]) -> Cart | None:
    for event in events:
        cart = Cart(event.originator_id, event.originator_version)
    return cart


def added(version: int) -> ItemAdded:
    return ItemAdded(CART, version, ItemAdded.create_timestamp(), sku="TEA-001")


def stored() -> StoredEvent:
    return StoredEvent(uuid4(), 1, get_topic(ItemAdded), b"{}")
