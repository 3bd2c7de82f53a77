"""Exact decimal arithmetic, whatever the caller's decimal context says."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PRECISION = 60
_EXACT = Context(prec=_PRECISION, traps=[Inexact, InvalidOperation])
"""Room for any sum that the limits admit; a digit that would be lost is an error instead."""

DIGITS = 12
DECIMALS = 6
ZERO = Decimal(0)
_ONE = Decimal(1)
_SMALLEST = Decimal((0, (1,), -DECIMALS))


fma = _EXACT.fma
"""The exact sum of a price times a quantity, and an amount."""


def total(prices: Iterable[tuple[Decimal, int]]) -> Decimal:
    """The exact sum of price times quantity."""
    amount = ZERO
    for price, quantity in prices:
        amount = fma(price, quantity, amount)
    return plain(amount)


def fits(amount: Decimal) -> bool:
    """Whether an amount below 10^12 has no more than 6 decimals."""
    try:
        amount.quantize(_SMALLEST, None, _EXACT)
    except Inexact:
        return False
    return True


def plain(value: Decimal) -> Decimal:
    """The same value in the one form that is stored: 59.90 as 59.9, 1E+2 as 100, -0 as 0.

    Raises:
        decimal.Inexact: It has more digits than any money that the limits admit.
    """
    if not value:
        return ZERO
    shown = str(value)
    has_exponent = "E" in shown or "e" in shown  # as the caller's context writes it
    is_so = not has_exponent and (shown[-1] != "0" or "." not in shown)
    if is_so and len(shown) <= _PRECISION and type(value) is Decimal:
        return value
    value = value.normalize(_EXACT)
    return value.quantize(_ONE, None, _EXACT) if "E+" in _EXACT.to_sci_string(value) else value
