"""Exact decimal arithmetic, whatever the caller's decimal context says."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation

_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
"""Room for any sum that the limits admit; a digit that would be lost is an error instead."""

DIGITS = 12
DECIMALS = 6
ZERO = Decimal(0)


def add(one: Decimal, other: Decimal) -> Decimal:
    """The exact sum, without trailing zeros or an exponent."""
    return plain(_EXACT.add(one, other))


def times(price: Decimal, quantity: int) -> Decimal:
    """The exact product, without trailing zeros or an exponent."""
    return plain(_EXACT.multiply(price, Decimal(quantity)))


def plain(value: Decimal) -> Decimal:
    """The same value in the one form that is stored: 59.90 as 59.9, 1E+2 as 100, -0 as 0.

    Raises:
        decimal.Inexact: It has more digits than any money that the limits admit.
    """
    if not value:
        return ZERO
    value = value.normalize(_EXACT)
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent > 0:
        return value.quantize(Decimal(1), context=_EXACT)
    return value
