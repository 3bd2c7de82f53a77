"""A cart session on `sessions` and `projections`, through their public API."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from projections import CustomerHistories, CustomerSession, CustomerSessions, Projection
from sessions import (
    AddItem,
    ApplyCoupon,
    CartItem,
    CloseSession,
    OpenSession,
    ReopenSession,
    SessionStore,
    SetDiscount,
    SetQuantity,
)


class OursSide:
    """One method per command, each with one durable commit; inside `bulk` they share commits."""

    def __init__(self, url: str, projections: Sequence[Projection[Any]] | None = None) -> None:
        self.url = url
        self._projections = projections
        self._open()

    def _open(self) -> None:
        self.store = SessionStore.open(self.url, projections=self._projections)
        self._views = CustomerSessions(self.store)
        self._histories = CustomerHistories(self.store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.store.close()

    def forget(self) -> None:
        """Open the store again, with nothing in memory."""
        self.store.close()
        self._open()

    def open(self, session_id: str, profile: str) -> None:
        self.store.execute(session_id, OpenSession(profile_id=profile))

    def open_with_cart(self, session_id: str, lines: int) -> None:
        items = [CartItem(sku=f"sku-{line}", price=Decimal("9.95")) for line in range(lines)]
        self.store.execute(session_id, OpenSession(cart_items=items))

    def add_item(self, session_id: str, sku: str, name: str, price: Decimal, quantity: int) -> None:
        command = AddItem(sku=sku, name=name, price=price, quantity=quantity)
        self.store.execute(session_id, command)

    def set_quantity(self, session_id: str, position: int, quantity: int) -> None:
        self.store.execute(session_id, SetQuantity(position=position, quantity=quantity))

    def apply_coupon(self, session_id: str, coupon: str) -> None:
        self.store.execute(session_id, ApplyCoupon(coupon=coupon))

    def set_discount(self, session_id: str, label: str, value: Decimal) -> None:
        self.store.execute(session_id, SetDiscount(label=label, value=value))

    def close_session(self, session_id: str) -> None:
        self.store.execute(session_id, CloseSession())

    def reopen(self, session_id: str) -> None:
        self.store.execute(session_id, ReopenSession())

    def read(self, session_id: str) -> CustomerSession:
        return self._views.get(session_id)

    def customer(self, profile: str) -> None:
        """Ask for the one session of a customer, and for the history."""
        (view,) = self._views.of_profile(profile)
        assert self._histories.get(profile).latest_session_id == view.integration_id

    def read_version(self, session_id: str, version: int) -> CustomerSession:
        return self._views.get(session_id, version=version)

    def read_as_of(self, session_id: str, moment: datetime) -> CustomerSession:
        return self._views.get(session_id, as_of=moment)

    @contextmanager
    def bulk(self) -> Iterator[None]:
        with self.store.batch():
            yield

    def replay(self) -> dict[str, CustomerSession]:
        """Fold the whole log into views, and keep them all."""
        return {view.integration_id: view for view in self._views.all()}

    def replay_passing(self) -> int:
        """Fold the whole log into views, and keep none; the answer is how many there are."""
        return sum(1 for _ in self._views.all())
