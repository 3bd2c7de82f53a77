"""Measures a rebuild of all views, compared with a projection that makes one of them."""

from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

from projections import CustomerSession, rebuild
from tests.benchmarks import documents_side
from tests.benchmarks.databases import made_schema, sqlite_url
from tests.benchmarks.documents_side import Document, Following, in_postgres, on_sqlite
from tests.benchmarks.measuring import Row, faster, in_turn
from tests.benchmarks.ours_side import OursSide
from tests.benchmarks.workload import EVENTS, open_to_closed
from tests.postgres_server import new_schema

ROUNDS = 3
LEAST = 40

View = tuple[Any, ...]


def rebuilds(directory: Path, server: str, sessions: int) -> Iterator[Row]:
    """A row for each database."""
    events = documents_side.loaded(sessions)
    with OursSide(sqlite_url(directory / "rebuilt.db")) as side:
        yield _row("SQLite", side, sessions, on_sqlite(directory, events))
    with ExitStack() as schemas:
        url = schemas.enter_context(new_schema(server))
        source = schemas.enter_context(made_schema(server))
        stock = in_postgres(source, lambda: schemas.enter_context(made_schema(server)), events)
        with OursSide(url) as side:
            yield _row("PostgreSQL", side, sessions, stock)


def _row(name: str, side: OursSide, sessions: int, following: Following) -> Row:
    with side.bulk():
        for number in range(sessions):
            open_to_closed(side, number)

    def block() -> int:
        rebuilt = rebuild(side.store)
        assert rebuilt.switched
        return rebuilt.events

    try:
        ours, stock = in_turn(ROUNDS, block, following.block, before=following.end)
        made = sorted(map(_of_ours, _views(side)))
        assert len(made) == sessions
        assert made == sorted(map(_of_document, following.documents()))
    finally:
        following.end()
    what = f"rebuild of all projections, an event of {sessions * EVENTS:,}, {name}"
    return faster(what, "eventsourcing, one projection", LEAST, ours, stock)


def _views(side: OursSide) -> list[CustomerSession]:
    documents = side.store.query("SELECT document FROM customer_sessions")
    return [CustomerSession.from_json(document) for (document,) in documents]


def _of_ours(view: CustomerSession) -> View:
    items = [(item.sku, item.name, item.price, item.quantity) for item in view.cart_items]
    discounts = sorted(view.discounts.items())
    asked = view.integration_id, view.profile_id, view.state, view.coupon, view.total
    return (*asked, items, discounts)


def _of_document(document: Document) -> View:
    items = [
        (item["sku"], item["name"], Decimal(item["price"]), item["quantity"])
        for item in document["items"]
    ]
    discounts = [(label, Decimal(value)) for label, value in sorted(document["discounts"].items())]
    asked = document["session"], document["profile"], document["state"], document["coupon"]
    return (*asked, Decimal(document["total"]), items, discounts)
