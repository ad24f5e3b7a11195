"""Computes a number's legal range from its declared bounds and condition."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cache

from trainer.config.fields import KeyInfo

_TERM = re.compile(r"\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """An interval whose ends may be open; an infinite end is no bound."""

    low: float = -math.inf
    is_low_open: bool = False
    high: float = math.inf
    is_high_open: bool = False

    def holds(self, value: float) -> bool:
        """Whether the value lies inside."""
        above = value > self.low if self.is_low_open else value >= self.low
        below = value < self.high if self.is_high_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        terms = []
        if math.isfinite(self.low):
            terms.append(f"{'>' if self.is_low_open else '>='} {self.low:g}")
        if math.isfinite(self.high):
            terms.append(f"{'<' if self.is_high_open else '<='} {self.high:g}")
        return " and ".join(terms)


def condition_terms(condition: str) -> list[tuple[str, float]]:
    """Split a condition such as `> 0.0 <= 1.0` into its comparisons.

    Raises:
        ValueError: when anything but comparisons with numbers stands in it.
    """
    if _TERM.sub("", condition).strip():
        raise ValueError(f"cannot read the condition {condition!r}")
    return [(sign, float(number)) for sign, number in _TERM.findall(condition)]


@cache
def searched_bounds(info: KeyInfo) -> Bounds:
    """Return the range that a search may propose from."""
    low = (-math.inf if info.minimum is None else float(info.minimum), False)
    high = (math.inf if info.maximum is None else float(info.maximum), False)
    for sign, number in condition_terms(info.math_cond):
        is_open = sign in {">", "<"}
        if sign.startswith(">"):
            low = max(low, (number, is_open))
        else:
            high = min(high, (number, is_open), key=lambda end: (end[0], not end[1]))
    return Bounds(low=low[0], is_low_open=low[1], high=high[0], is_high_open=high[1])


@cache
def valid_bounds(info: KeyInfo) -> Bounds:
    """Return the range that a spec may hold: the searched one unless declared otherwise."""
    bounds = searched_bounds(info)
    if info.valid_min is not None:
        bounds = replace(bounds, low=info.valid_min, is_low_open=False)
    if info.valid_max is not None:
        bounds = replace(bounds, high=info.valid_max, is_high_open=False)
    return bounds
