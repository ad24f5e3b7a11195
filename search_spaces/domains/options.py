"""Domains of options, unordered (one-hot) or ordered (an index), with optional weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces import grids
from search_spaces.dimensions import Choice, Dimension, Integer, Real, Scalar
from search_spaces.domains.base import Values
from search_spaces.errors import PointError
from search_spaces.relations import Relation
from search_spaces.rule import Bounds

_MAX_SLOTS = 100
"""How finely weights are resolved."""


def count_slots(weights: Sequence[float]) -> tuple[int, ...]:
    """Turn weights into whole numbers of equally likely slots, at least one each.

    The smallest number of slots that shows the weights exactly is taken, or else the best one up to
    `_MAX_SLOTS`. Repeated slots let a sampler start from the weights and still learn.
    """
    total = sum(weights)
    best: tuple[float, tuple[int, ...]] = (float("inf"), ())
    for size in range(len(weights), _MAX_SLOTS + 1):
        counts = tuple(max(1, round(weight / total * size)) for weight in weights)
        filled = sum(counts)
        error = max(abs(c / filled - w / total) for c, w in zip(counts, weights, strict=True))
        if error < best[0] - 1e-12:
            best = (error, counts)
        if error < 1e-9:
            break
    return best[1]


def same(one: object, other: object) -> bool:
    """Compare values without taking 1, 1.0 and True for each other, apart from 1 and 1.0."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One of several unordered values."""

    options: tuple[Any, ...]
    slots: tuple[int, ...] = ()
    """How many slots each option holds; empty for one each."""

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return one choice among options, or among slots `option#k` when they are weighted."""
        return (Choice(name, self._labels()),)

    def decode(self, latents: Sequence[Any], values: Values) -> Any:  # noqa: ARG002 - Domain
        """Turn a label into its option."""
        owners = self._owners()
        for label, owner in zip(self._labels(), owners, strict=True):
            if same(label, latents[0]):
                return self.options[owner]
        raise PointError([f"must be one of {list(self._labels())}, got {latents[0]!r}"])

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:  # noqa: ARG002 - Domain
        """Turn an option into its first label."""
        return (self._labels()[self._owners().index(self._index(value))],)

    def problem(self, value: Any, values: Values) -> str:  # noqa: ARG002 - Domain
        """Check that the value is an option."""
        if any(same(value, option) for option in self.options):
            return ""
        return f"must be one of {list(self.options)}, got {value!r}"

    def clamp(self, value: Any, values: Values) -> Any:
        """Return the value if it is an option, else the first option."""
        return self.options[0] if self.problem(value, values) else value

    def describe(self) -> dict[str, Any]:
        """Return options and shares."""
        found: dict[str, Any] = {"type": "categorical", "options": list(self.options)}
        if self.slots:
            found["weights"] = list(self.shares)
        return found

    @property
    def shares(self) -> tuple[float, ...]:
        """The prior share of each option."""
        counts = self.slots or (1,) * len(self.options)
        return tuple(count / sum(counts) for count in counts)

    @property
    def labels_by_option(self) -> list[list[Scalar]]:
        """The labels that stand for each option."""
        found: list[list[Scalar]] = [[] for _ in self.options]
        for label, owner in zip(self._labels(), self._owners(), strict=True):
            found[owner].append(label)
        return found

    def _index(self, value: Any) -> int:
        for index, option in enumerate(self.options):
            if same(option, value):
                return index
        raise PointError([self.problem(value, {})])

    def _owners(self) -> tuple[int, ...]:
        counts = self.slots or (1,) * len(self.options)
        return tuple(index for index, count in enumerate(counts) for _ in range(count))

    def _labels(self) -> tuple[Scalar, ...]:
        texts = [
            option if isinstance(option, str) else json.dumps(option) for option in self.options
        ]
        if len({*texts}) < len(texts):
            texts = [json.dumps(option) for option in self.options]
        if self.slots:
            counted = zip(texts, self.slots, strict=True)
            return tuple(f"{text}#{k}" for text, count in counted for k in range(count))
        plain = all(isinstance(option, Scalar) for option in self.options)
        if plain and len({*map(_hashed, self.options)}) == len(self.options):
            return self.options
        return tuple(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordinal:
    """One of several values in an order: the sampler sees the position, not the value."""

    options: tuple[Any, ...]
    slots: tuple[int, ...] = ()
    relations: tuple[Relation, ...] = ()
    type_name: str = "ordinal"

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return the index of a slot, or the fraction of the slots that the parents leave."""
        if self.relations:
            return (Real(name, 0.0, 1.0),)
        return (Integer(name, 0, len(self._owners(self.options)) - 1),)

    def decode(self, latents: Sequence[Any], values: Values) -> Any:
        """Turn an index or fraction into its value."""
        allowed = self._allowed(values)
        owners = self._owners(allowed)
        if self.relations:
            return allowed[owners[min(int(float(latents[0]) * len(owners)), len(owners) - 1)]]
        return allowed[owners[int(latents[0])]]

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:
        """Turn a value into the middle of its slots; one that the parents rule out is moved."""
        if not any(same(value, option) for option in self.options):
            raise PointError([self.problem(value, values)])
        allowed, value = self._allowed(values), self.clamp(value, values)
        owners = self._owners(allowed)
        mine = [place for place, owner in enumerate(owners) if same(allowed[owner], value)]
        middle = mine[len(mine) // 2]
        return ((middle + 0.5) / len(owners),) if self.relations else (middle,)

    def problem(self, value: Any, values: Values) -> str:
        """Check that the value is allowed beside its parents."""
        allowed = self._allowed(values)
        if any(same(value, option) for option in allowed):
            return ""
        return f"must be one of {list(allowed)}, got {value!r}"

    def clamp(self, value: Any, values: Values) -> Any:
        """Return the allowed value nearest in value (numbers), else the middle one."""
        allowed = self._allowed(values)
        if not self.problem(value, values):
            return value
        if isinstance(value, int | float) and all(isinstance(o, int | float) for o in allowed):
            return min(allowed, key=lambda option: abs(option - value))
        return allowed[len(allowed) // 2]

    def describe(self) -> dict[str, Any]:
        """Return the values in order, and shares."""
        found: dict[str, Any] = {"type": self.type_name, "options": list(self.options)}
        if self.slots:
            found["weights"] = [count / sum(self.slots) for count in self.slots]
        if self.relations:
            found["relations"] = [str(relation) for relation in self.relations]
        return found

    def _owners(self, allowed: tuple[Any, ...]) -> tuple[int, ...]:
        if not self.slots:
            return tuple(range(len(allowed)))
        counts = [self.slots[self.options.index(option)] for option in allowed]
        return tuple(index for index, count in enumerate(counts) for _ in range(count))

    def _allowed(self, values: Values) -> tuple[Any, ...]:
        allowed = self.options
        for relation in self.relations:
            bounds = relation.narrow(Bounds(), values)
            step = relation.step(values)
            excluded = [values[name] for name in relation.parents] if relation.op == "!=" else []
            allowed = tuple(o for o in allowed if is_inside(o, bounds, step) and o not in excluded)
        if not allowed:
            raise PointError([f"no option of {list(self.options)} holds {self.relations[0]}"])
        return allowed


def is_inside(value: float, bounds: Bounds, step: float | None = None) -> bool:
    """Tell whether a number holds bounds with open or closed ends, and a grid."""
    if bounds.low is not None and (value < bounds.low or (bounds.low_open and value == bounds.low)):
        return False
    if bounds.high is not None and (
        value > bounds.high or (bounds.high_open and value == bounds.high)
    ):
        return False
    return not step or grids.is_multiple(value, step)


def _hashed(option: Any) -> Any:
    return float(option) if isinstance(option, bool | int) else option
