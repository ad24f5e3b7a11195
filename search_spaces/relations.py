"""Computes the values a parameter may take, given the values of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.errors import PointError
from search_spaces.rule import Bounds
from search_spaces.schema import is_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A bound of one parameter that is made of the values of others.

    `op` is a comparison, `multiple` (a multiple of the parent, at least `factor` of them), or
    `share` (between a hundredth and a tenth of the smallest parent).
    """

    op: str
    parents: tuple[str, ...]
    factor: float = 1
    shift: float = 0
    """Added to the parents' values before they are compared with."""

    def narrow(self, bounds: Bounds, values: Mapping[str, Any]) -> Bounds:
        """Return bounds that also hold this relation."""
        return _NARROW[self.op](bounds, self._numbers(values), self.factor)

    def step(self, values: Mapping[str, Any]) -> float | None:
        """Return the grid that the relation puts values on, if any."""
        return self._numbers(values)[0] if self.op == "multiple" else None

    def tightened(self, parent: Bounds, child: Bounds) -> Bounds:
        """Return bounds of a parent under which the child always has room."""
        return _TIGHTEN[self.op](parent, child, self.factor)

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
        if self.op == "share":
            return f"between 1/100 and 1/10 of the smallest of {names}"
        return f"{self.op} {names}"


def _above(bounds: Bounds, numbers: list[float], _: float) -> Bounds:
    return bounds.raised(max(numbers), is_open=True)


def _at_least(bounds: Bounds, numbers: list[float], _: float) -> Bounds:
    return bounds.raised(max(numbers))


def _below(bounds: Bounds, numbers: list[float], _: float) -> Bounds:
    return bounds.lowered(min(numbers), is_open=True)


def _at_most(bounds: Bounds, numbers: list[float], _: float) -> Bounds:
    return bounds.lowered(min(numbers))


def _many(bounds: Bounds, numbers: list[float], factor: float) -> Bounds:
    return bounds.raised(numbers[0] * factor)


def _share(bounds: Bounds, numbers: list[float], _: float) -> Bounds:
    smallest = min(numbers)
    return bounds.raised(max(smallest // 100, 1)).lowered(max(smallest // 10, 1))


def _same(bounds: Bounds, _: list[float], __: float) -> Bounds:
    return bounds


_NARROW: dict[str, Callable[[Bounds, list[float], float], Bounds]] = {
    ">": _above,
    ">=": _at_least,
    "<": _below,
    "<=": _at_most,
    "!=": _same,
    "multiple": _many,
    "share": _share,
}


def _stay_below(parent: Bounds, child: Bounds, _: float) -> Bounds:
    return parent if child.high is None else parent.lowered(child.high, is_open=True)


def _stay_at_most(parent: Bounds, child: Bounds, _: float) -> Bounds:
    return parent if child.high is None else parent.lowered(child.high)


def _stay_above(parent: Bounds, child: Bounds, _: float) -> Bounds:
    return parent if child.low is None else parent.raised(child.low, is_open=True)


def _stay_at_least(parent: Bounds, child: Bounds, _: float) -> Bounds:
    return parent if child.low is None else parent.raised(child.low)


def _stay_small(parent: Bounds, child: Bounds, factor: float) -> Bounds:
    return parent if child.high is None else parent.lowered(child.high / factor)


def _stay_within_share(parent: Bounds, child: Bounds, _: float) -> Bounds:
    if child.low is not None and child.low > 1:
        parent = parent.raised(child.low * 10)
    return parent if child.high is None else parent.lowered(child.high * 100 + 99)


def _unchanged(parent: Bounds, _: Bounds, __: float) -> Bounds:
    return parent


_TIGHTEN: dict[str, Callable[[Bounds, Bounds, float], Bounds]] = {
    ">": _stay_below,
    ">=": _stay_at_most,
    "<": _stay_above,
    "<=": _stay_at_least,
    "!=": _unchanged,
    "multiple": _stay_small,
    "share": _stay_within_share,
}
