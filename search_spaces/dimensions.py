"""Latent dimensions that a sampler draws; each also maps to the unit interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Scalar = str | int | float | bool
Condition = Callable[[Mapping[str, Any]], bool]
"""Given the values decoded so far, tells whether a dimension is active."""


@dataclass(frozen=True, slots=True)
class Real:
    """A real number in [low, high], spread evenly or evenly in the logarithm."""

    name: str
    low: float
    high: float
    log: bool = False
    condition: Condition | None = field(default=None, compare=False, repr=False)

    def from_unit(self, unit: float) -> float:
        """Return the number at a position in [0, 1]."""
        if self.log:
            ratio = math.log(self.high) - math.log(self.low)
            value = math.exp(math.log(self.low) + unit * ratio)
        else:
            value = self.low + unit * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def to_unit(self, value: Any) -> float:
        """Return the position of a number, clamped to [0, 1]."""
        value = min(max(float(value), self.low), self.high)
        if self.high == self.low:
            return 0.5
        if self.log:
            span = math.log(self.high) - math.log(self.low)
            return min(max((math.log(value) - math.log(self.low)) / span, 0.0), 1.0)
        return float((value - self.low) / (self.high - self.low))


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number low, low + step, ... high; each owns a cell of half a step to both sides."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    condition: Condition | None = field(default=None, compare=False, repr=False)

    def from_unit(self, unit: float) -> int:
        """Return the number whose cell holds a position in [0, 1]."""
        start, stop = self._edges()
        position = start + unit * (stop - start)
        value = math.exp(position) if self.log else position
        steps = math.floor((value - self.low) / self.step + 0.5)
        return min(max(self.low + steps * self.step, self.low), self.high)

    def to_unit(self, value: Any) -> float:
        """Return the position of a number, clamped to [0, 1]."""
        value = min(max(float(value), self.low), self.high)
        start, stop = self._edges()
        position = math.log(value) if self.log else value
        return min(max((position - start) / (stop - start), 0.0), 1.0)

    def _edges(self) -> tuple[float, float]:
        start, stop = self.low - self.step / 2, self.high + self.step / 2
        return (math.log(start), math.log(stop)) if self.log else (start, stop)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several unordered values, all equally likely a priori."""

    name: str
    choices: tuple[Scalar, ...]
    condition: Condition | None = field(default=None, compare=False, repr=False)

    def from_unit(self, unit: float) -> Scalar:
        """Return the choice whose share of [0, 1] holds a position."""
        return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]

    def to_unit(self, value: Any) -> float:
        """Return the middle of a choice's share."""
        return (self.choices.index(value) + 0.5) / len(self.choices)


Dimension = Real | Integer | Choice
