"""What all sides do: sessions of seven commands, and so of seven events."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import count, islice
from typing import Protocol

EVENTS = 7
REGULARS = 1000


class Side(Protocol):
    """A cart session: one method per command, each with one durable commit."""

    def open(self, session_id: str, profile: str) -> None: ...

    def add_item(
        self, session_id: str, sku: str, name: str, price: Decimal, quantity: int
    ) -> None: ...

    def set_quantity(self, session_id: str, position: int, quantity: int) -> None: ...

    def apply_coupon(self, session_id: str, coupon: str) -> None: ...

    def set_discount(self, session_id: str, label: str, value: Decimal) -> None: ...

    def close_session(self, session_id: str) -> None: ...


def session_id(number: int) -> str:
    """Scattered, as a shop's ids are: an odd factor maps 32 bits onto themselves."""
    return f"order-{number * 2_654_435_761 % 2**32:08x}"


def profile(number: int) -> str:
    """Half of the sessions are their customer's only one."""
    return f"cust-{number}" if number % 2 else f"regular-{number % REGULARS}"


def commands(side: Side, number: int) -> Iterator[None]:
    """Execute a session's commands, one per step."""
    session = session_id(number)
    side.open(session, profile(number))
    yield
    side.add_item(session, "9696", "Tea pot, white", Decimal("59.90"), 2)
    yield
    side.add_item(session, "22423", "Cake stand, three tiers", Decimal("12.75"), 1)
    yield
    side.set_quantity(session, 0, 3)
    yield
    side.apply_coupon(session, "SPRING-24")
    yield
    side.set_discount(session, "spring", Decimal("5.50"))
    yield
    side.close_session(session)
    yield


def open_to_closed(side: Side, number: int) -> None:
    for _ in commands(side, number):
        pass


def new_sessions(side: Side, sessions: int, first: int = 0) -> Callable[[], int]:
    """A block of work with new sessions each time; it answers how many commands it took."""
    numbers = count(first)

    def block() -> int:
        for number in islice(numbers, sessions):
            open_to_closed(side, number)
        return sessions * EVENTS

    return block


def each(work: Callable[[str], object], ids: Iterable[str], times: int) -> Callable[[], int]:
    """A block of so many calls, each with the next of the ids."""
    left = iter(ids)

    def block() -> int:
        for session in islice(left, times):
            work(session)
        return times

    return block
