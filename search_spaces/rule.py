"""The general rule: which part of a bounded number to search, and on which scale.

It looks at type, bounds and default only, never at a name. The numbering R1 to R5 and R9 is that of
docs/search_spaces.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from search_spaces import grids

INSET = 0.001
"""An open end is moved inwards by this share of the width, in the scale that is searched."""
DECADES = 100.0
"""How far around the default a logarithmic range reaches."""
_DECADES_EARLY = 10.0
"""The same for the first half of a short search (R9)."""
_EDGE = 0.1
"""A default within this share of an end calls for a scale that puts it away from the edge."""


class Scale(StrEnum):
    """How a number is spread over its range."""

    LINEAR = "linear"
    LOG = "log"
    REFLECTED = "reflected_log"
    """Evenly in the logarithm of the distance to a pivot above the range."""

    def forward(self, value: float, pivot: float = 0.0) -> float:
        """Return the place of a number in the scale."""
        if self is Scale.LOG:
            return math.log(value)
        return -math.log(pivot - value) if self is Scale.REFLECTED else value

    def inverse(self, place: float, pivot: float = 0.0) -> float:
        """Return the number at a place in the scale."""
        if self is Scale.LOG:
            return math.exp(place)
        return pivot - math.exp(-place) if self is Scale.REFLECTED else place


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Cleaned bounds of one number; None is absent, an open end is not itself a legal value."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no number lies within."""
        if self.low is None or self.high is None:
            return False
        is_open = self.low_open or self.high_open
        return self.low > self.high or (self.low == self.high and is_open)

    def raised(self, low: float, *, is_open: bool = False) -> Bounds:
        """Return bounds that also start at `low`."""
        if self.low is not None and (self.low > low or (self.low == low and self.low_open)):
            return self
        return Bounds(low=low, low_open=is_open, high=self.high, high_open=self.high_open)

    def lowered(self, high: float, *, is_open: bool = False) -> Bounds:
        """Return bounds that also end at `high`."""
        if self.high is not None and (self.high < high or (self.high == high and self.high_open)):
            return self
        return Bounds(low=self.low, low_open=self.low_open, high=high, high_open=is_open)

    def within(self, low: float | None, high: float | None) -> Bounds:
        """Return bounds that also start and end at these; None leaves an end as it is."""
        bounds = self if low is None else self.raised(low)
        return bounds if high is None else bounds.lowered(high)

    def compared(self, op: str, number: float) -> Bounds:
        """Return bounds that also hold a comparison, such as `>=` with 3."""
        if op in (">", ">="):
            return self.raised(number, is_open=op == ">")
        return self.lowered(number, is_open=op == "<")

    def closed_integers(self) -> Bounds:
        """Return the same set of whole numbers with closed ends."""
        low = None if self.low is None else math.ceil(self.low)
        high = None if self.high is None else math.floor(self.high)
        if low is not None and low == self.low and self.low_open:
            low += 1
        if high is not None and high == self.high and self.high_open:
            high -= 1
        return Bounds(low=low, high=high)

    def closed_multiples(self, step: float) -> Bounds:
        """Return the same set of multiples with closed ends."""
        low = None if self.low is None else grids.up(self.low, step)
        high = None if self.high is None else grids.down(self.high, step)
        if low is not None and low == self.low and self.low_open:
            low = grids.nearest(low + step, step)
        if high is not None and high == self.high and self.high_open:
            high = grids.nearest(high - step, step)
        return Bounds(low=low, high=high)

    def __str__(self) -> str:
        """Write the bounds as an interval."""
        left = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low:g}"
        right = "inf)" if self.high is None else f"{self.high:g}{')' if self.high_open else ']'}"
        return f"{left}, {right}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What is searched of a number: closed ends in value units, and the scale."""

    low: float
    high: float
    scale: Scale = Scale.LINEAR
    pivot: float = 0.0
    """The point that a reflected scale measures from."""
    early: tuple[float, float] | None = None
    """The narrower range for the first half of a short search."""
    why: str = ""
    is_guess: bool = False
    """The schema bounds nothing, so the range is taken from the default."""


def choose_interval(bounds: Bounds, default: float | None, *, is_int: bool) -> Interval:
    """Apply R2 to R5 to the schema's bounds.

    Args:
        bounds: cleaned, `low` < `high` where both are given; closed for whole numbers.
        default: inside the bounds, or None.
        is_int: whether values are whole numbers.
    """
    if bounds.low is None or bounds.high is None:
        return _half_open(bounds, default, is_int=is_int)
    low, high = bounds.low, bounds.high
    if default is None:
        wide = low > 0 and high / low >= 1000
        scale = Scale.LOG if wide else Scale.LINEAR
        return _inset(bounds, low, high, scale, why=f"no default: {scale} over {bounds}")
    position = (default - low) / (high - low)
    if low >= 0 and default > 0 and position <= _EDGE:
        start, stop = _around(default, DECADES, low, high, is_int=is_int)
        why = f"{_place(default, bounds)}: log, two decades around it"
        early = _around(default, _DECADES_EARLY, low, high, is_int=is_int)
        return _inset(bounds, start, stop, Scale.LOG, why=why, early=early)
    if position >= 1 - _EDGE and default < high and not is_int:
        return _reflected(bounds, default, high)
    return _inset(bounds, low, high, Scale.LINEAR, why=f"{_place(default, bounds)}: linear")


def _place(default: float, bounds: Bounds) -> str:
    """Say where in bounds with both ends a default lies."""
    low, high = _both(bounds)
    position = (default - low) / (high - low)
    if position in (0, 1):
        place = "is the upper bound of" if position else "is the lower bound of"
    elif _EDGE < position < 1 - _EDGE:
        place = "is well inside"
    else:
        place = "is in the top tenth of" if position > _EDGE else "is in the bottom tenth of"
    return f"default {default:g} {place} {bounds}"


def keep_interval(
    wanted: Bounds, schema: Bounds, default: float | None, *, is_int: bool, log: bool | None
) -> Interval:
    """Apply R1: a range given by the user is searched whole; only the scale is chosen.

    Args:
        wanted: the user's range with both ends, inside the schema's.
        schema: the schema's bounds: a reflected scale is measured from their upper end.
        default: clamped into the user's range, or None.
        is_int: whether values are whole numbers.
        log: the scale if the user names one.
    """
    low, high = _both(wanted)
    start = low
    if log is None:
        position = None if default is None else (default - low) / (high - low)
        wide = low > 0 and high / low >= DECADES * (1 - 1e-9)
        log = wide or (low > 0 and position is not None and position <= _EDGE)
        pivot = schema.high
        near_end = position is not None and 1 - _EDGE <= position < 1 and pivot is not None
        if not log and near_end and not is_int and pivot is not None and pivot > high:
            why = f"given range, default near its upper end: log of the distance to {pivot:g}"
            return replace(_inset(wanted, low, high, Scale.REFLECTED, why=why), pivot=pivot)
    scale = Scale.LOG if log else Scale.LINEAR
    return _inset(wanted, start, high, scale, why=f"given range, searched whole: {scale}")


def tidy(value: float) -> float:
    """Return a computed end without the noise of its last digits."""
    return float(f"{value:.12g}")


def _both(bounds: Bounds) -> tuple[float, float]:
    if bounds.low is None or bounds.high is None:
        raise AssertionError("a range to keep has two ends")
    return bounds.low, bounds.high


def _around(
    default: float, factor: float, low: float, high: float, *, is_int: bool
) -> tuple[float, float]:
    start, stop = max(low, tidy(default / factor)), min(high, tidy(default * factor))
    if is_int:
        return max(1, math.ceil(start)), math.floor(stop)
    return start, stop


def _half_open(bounds: Bounds, default: float | None, *, is_int: bool) -> Interval:
    factor, width = (4, 100) if is_int else (10, 1)
    if default is not None and default > 0 and (bounds.low is None or bounds.low >= 0):
        low = default / factor if bounds.low is None else max(bounds.low, default / factor)
        high = default * factor if bounds.high is None else min(bounds.high, default * factor)
        if is_int:
            low, high = max(1, math.ceil(low)), math.floor(high)
        why = f"no end to {bounds}: log, a factor {factor} around the default {default:g}"
        return _inset(bounds, low, high, Scale.LOG, why=why, is_guess=True)
    if bounds.low is None and bounds.high is not None:
        low, high = bounds.high - width, bounds.high
        if default is not None:
            low = min(low, default - (high - default))
    else:
        low = bounds.low if bounds.low is not None else min(default or 0, 0)
        high = max(low + width, default + width if default is not None else low)
    why = f"no end to {bounds}, no scale in the default: linear over a width of {high - low:g}"
    return _inset(bounds, low, high, Scale.LINEAR, why=why, is_guess=True)


def _reflected(bounds: Bounds, default: float, pivot: float) -> Interval:
    low = bounds.low if bounds.low is not None else pivot - 1
    gap = pivot - default
    width = pivot - low
    far = min(width, DECADES * gap)
    if far == width and bounds.low_open:
        far = max(gap, width * (1 - INSET))
    early_far = min(far, _DECADES_EARLY * gap)
    return Interval(
        low=max(low, tidy(pivot - far)),
        high=tidy(pivot - gap / DECADES),
        scale=Scale.REFLECTED,
        pivot=pivot,
        early=(tidy(pivot - early_far), tidy(pivot - gap / _DECADES_EARLY)),
        why=f"{_place(default, bounds)}: log of the distance to {pivot:g}",
    )


def _inset(
    bounds: Bounds,
    low: float,
    high: float,
    scale: Scale,
    *,
    why: str,
    early: tuple[float, float] | None = None,
    is_guess: bool = False,
) -> Interval:
    """Move ends that coincide with an open bound inwards, in the scale that is searched."""
    start, stop = low, high
    if scale is Scale.LOG and low > 0:
        step = (high / low) ** INSET
        inner_low, inner_high = low * step, high / step
    else:
        step = (high - low) * INSET
        inner_low, inner_high = low + step, high - step
    if bounds.low_open and low == bounds.low:
        start = inner_low
    if bounds.high_open and high == bounds.high:
        stop = inner_high
    if early is not None:
        early = (max(early[0], start), min(early[1], stop))
    return Interval(low=start, high=stop, scale=scale, early=early, why=why, is_guess=is_guess)
