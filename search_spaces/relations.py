"""Computes the values a parameter may take, given the values of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces import grids
from search_spaces.errors import PointError
from search_spaces.rule import Bounds
from search_spaces.schema import is_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A bound of one parameter that is made of the values of others.

    `op` is a comparison, `multiple` (a multiple of the parent, at least `factor` of them), `//`
    (the parent over `factor`), or `share` (a hundredth to a tenth of the smallest parent).
    """

    op: str
    parents: tuple[str, ...]
    factor: float = 1
    shift: float = 0
    """Added to the parents' values before they are compared with."""

    def narrow(self, bounds: Bounds, values: Mapping[str, Any]) -> Bounds:
        """Return bounds that also hold this relation."""
        numbers = self._numbers(values)
        least, most = min(numbers), max(numbers)
        match self.op:
            case "!=":
                return bounds
            case "//":
                return bounds.within(numbers[0] // self.factor, numbers[0] // self.factor)
            case "multiple":
                return bounds.raised(grids.at(self.factor, numbers[0]))
            case "share":
                return bounds.within(max(least // 100, 1), max(least // 10, 1))
            case _:
                return bounds.compared(self.op, most if self.op in (">", ">=") else least)

    def step(self, values: Mapping[str, Any]) -> float | None:
        """Return the grid that the relation puts values on, if any."""
        return self._numbers(values)[0] if self.op == "multiple" else None

    def tightened(self, parent: Bounds, child: Bounds) -> Bounds:
        """Return bounds of a parent under which the child always has room."""
        low, high = child.low, child.high
        match self.op:
            case ">" | ">=" if high is not None:
                return parent.lowered(high, is_open=self.op == ">" or child.high_open)
            case "<" | "<=" if low is not None:
                return parent.raised(low, is_open=self.op == "<" or child.low_open)
            case "multiple" if high is not None:
                return parent.lowered(high / self.factor)
            case "//":
                least = None if low is None else low * self.factor
                bounds = parent.within(least, None)
                return bounds if high is None else bounds.compared("<", (high + 1) * self.factor)
            case "share":
                least = low * 10 if low is not None and low > 1 else None
                return parent.within(least, None if high is None else high * 100 + 99)
            case _:
                return parent

    def _numbers(self, values: Mapping[str, Any]) -> list[float]:
        numbers: list[float] = []
        for parent in self.parents:
            number = values.get(parent)
            if not is_number(number):
                text = f"must be a number, because others are measured by it, got {number!r}"
                raise PointError([f"{parent}: {text}"])
            numbers.append(number + self.shift)
        return numbers

    def __str__(self) -> str:
        """Write the relation as mathematics."""
        names = ", ".join(self.parents)
        if self.op == "multiple":
            least = f", at least {self.factor:g} of them" if self.factor > 1 else ""
            return f"a multiple of {names}{least}"
        if self.op == "//":
            return f"{names} // {self.factor:g}"
        if self.op == "share":
            return f"between 1/100 and 1/10 of the smallest of {names}"
        return f"{self.op} {names}"
