"""Money in whole nano-USD, rounded up. No floats: a sum of reservations must be exact."""

from decimal import Decimal

NANO = 1_000_000_000
"""Nano-USD in one USD."""

PRICE_TOKENS = 1_000_000
"""A price is for this many tokens."""


def nano_usd(usd: Decimal) -> int:
    """Return `usd` in nano-USD. Raises ValueError if it has more than 9 decimal places."""
    nano = usd * NANO
    if nano != nano.to_integral_value():
        raise ValueError(f"{usd} has more than 9 decimal places")
    return int(nano)


def cost(tokens_in: int, price_in: int, tokens_out: int, price_out: int) -> int:
    """Return the cost in nano-USD, rounded up; prices are in nano-USD for a million tokens."""
    return -(-(tokens_in * price_in + tokens_out * price_out) // PRICE_TOKENS)


def as_usd(nano: int) -> str:
    """Return nano-USD as USD with all 9 decimal places."""
    sign = "-" if nano < 0 else ""
    return f"{sign}{abs(nano) // NANO}.{abs(nano) % NANO:09d}"
