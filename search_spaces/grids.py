"""Multiples of a step, counted the way a schema writes numbers: three times 0.1 are 0.3."""

from __future__ import annotations

import math
from decimal import Decimal

_NOISE = 1e-9


def at(count: float, step: float) -> float:
    """Return `count` steps."""
    if count % 1 == 0 == step % 1:
        return count * step
    return float(_written(count) * _written(step))


def nearest(value: float, step: float) -> float:
    """Return the multiple next to a number."""
    return at(math.floor(value / step + 0.5), step)


def up(value: float, step: float) -> float:
    """Return the least multiple that is not below a number."""
    return at(math.ceil(_written(value) / _written(step)), step)


def down(value: float, step: float) -> float:
    """Return the greatest multiple that is not above a number."""
    return at(math.floor(_written(value) / _written(step)), step)


def is_multiple(value: float, step: float) -> bool:
    """Tell whether a number is a multiple, but for the last digits of what was computed."""
    return abs(nearest(value, step) - value) <= min(_NOISE * abs(value), _NOISE * 1000 * step)


def is_power(value: float, base: float) -> bool:
    """Tell whether a number is 1, `base`, its square and so on."""
    return value >= 1 and base ** round(math.log(value, base)) == value


def common(one: float, other: float) -> float:
    """Return the least step whose multiples are multiples of both; 0 stands for any number."""
    if not (one and other):
        return one or other
    (a, b), (c, d) = (_written(step).as_integer_ratio() for step in (one, other))
    return math.lcm(a, c) / math.gcd(b, d)


def _written(value: float) -> Decimal:
    return Decimal(str(value))
