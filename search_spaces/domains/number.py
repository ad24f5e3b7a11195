"""Domains of real and whole numbers: three scales, grids, bounds by other parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from search_spaces import grids
from search_spaces.dimensions import Dimension, Integer, Real
from search_spaces.domains.base import Values
from search_spaces.errors import PointError
from search_spaces.relations import Relation
from search_spaces.rule import INSET, Bounds, Scale
from search_spaces.schema import is_finite


class Room(NamedTuple):
    """What the parents' values leave of a number's range."""

    low: float
    high: float
    step: float
    """Distance of legal values; 0 for any real number."""
    excluded: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number in [low, high].

    Without relations the latent is the number itself (the distance to the pivot on a reflected
    scale, the multiple on a logarithmic grid). With relations it is the fraction of the room that
    the parents leave.
    """

    low: float
    high: float
    is_int: bool
    scale: Scale = Scale.LINEAR
    pivot: float = 0.0
    step: float = 0.0
    """Grid; 0 for none. Whole numbers always have one."""
    offset: float = 0.0
    """Where the grid is anchored: values are `offset + k * step`."""
    excluded: tuple[float, ...] = ()
    relations: tuple[Relation, ...] = ()
    anchor: float | None = None
    """The default: returned bit for bit by its own latent on scales that would round it."""
    positive_from: float = 0.0
    """Least value above 0: of those in between, each becomes the nearer of the two."""
    early: tuple[float, float] | None = None
    """The narrower range for the first trials of a short search."""

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return the one latent dimension."""
        return (self._dimension(name, self.low, self.high),)

    def early_dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return the dimension for the first trials of a short search."""
        if self.early is None or self.relations:
            return self.dimensions(name)
        low, high = self.early
        if self.step:
            low, high = self._up(low, self.step), self._down(high, self.step)
        return (self._dimension(name, low, high),)

    def decode(self, latents: Sequence[Any], values: Values) -> Any:
        """Turn the latent into the number."""
        if self.relations:
            return self._from_fraction(float(latents[0]), values)
        if self.anchor is not None and latents[0] == self._latent(self.anchor):
            return self._typed(self.anchor)
        room = self.room(values)
        latent = float(latents[0])
        if self.scale is Scale.REFLECTED:
            latent = self.pivot - latent
        elif self.step and self._counts_steps:
            latent = self.offset + grids.at(latent, self.step)
        return self._legal(latent, room)

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:
        """Turn a number into its latent."""
        value = self.clamp(value, values)
        return (self._to_fraction(value, values),) if self.relations else (self._latent(value),)

    def problem(self, value: Any, values: Values) -> str:
        """Check type, range, grid and relations."""
        if isinstance(value, bool) or not isinstance(value, int if self.is_int else int | float):
            return f"must be {'a whole number' if self.is_int else 'a number'}, got {value!r}"
        room = self.room(values)
        if not is_finite(value) or not room.low <= value <= room.high:
            return f"must lie in [{room.low:g}, {room.high:g}]{self._because()}, got {value!r}"
        if room.step and not grids.is_multiple(value - self.offset, room.step):
            return f"must be a multiple of {room.step:g}{self._because()}, got {value!r}"
        if 0 < value < self.positive_from:
            return f"must be 0 or {self.positive_from:g} and more, got {value!r}"
        return f"must not be {value!r}" if value in room.excluded else ""

    def clamp(self, value: Any, values: Values) -> Any:
        """Return the nearest legal number; what is not a number becomes the middle of the scale."""
        room = self.room(values)
        if not is_finite(value):
            start, stop = self._edges(room)
            value = self.scale.inverse((start + stop) / 2, self.pivot)
        return self._legal(float(value), room)

    def describe(self) -> dict[str, Any]:
        """Return type, ends and scale."""
        found: dict[str, Any] = {
            "type": "int" if self.is_int else "float",
            "low": self._typed(self.low),
            "high": self._typed(self.high),
            "scale": str(self.scale),
        }
        if self.scale is Scale.REFLECTED:
            found["pivot"] = self.pivot
        if self.step not in (0, 1) or self.offset:
            found["step"] = self._typed(self.step)
        if self.offset:
            found["offset"] = self._typed(self.offset)
        if self.positive_from:
            found["positive_from"] = self.positive_from
        if self.excluded:
            found["excluded"] = list(self.excluded)
        if self.relations:
            found["relations"] = [str(relation) for relation in self.relations]
        return found

    def room(self, values: Values) -> Room:
        """Return what the parents leave.

        Raises:
            PointError: when they leave nothing.
        """
        if not self.relations:
            return Room(self.low, self.high, self.step, self.excluded)
        bounds = Bounds(low=self.low, high=self.high)
        step, excluded = self.step, list(self.excluded)
        for relation in self.relations:
            bounds = relation.narrow(bounds, values)
            step = relation.step(values) or step
            if relation.op == "!=":
                excluded += [values[parent] for parent in relation.parents]
        low, high = self._closed(bounds, step)
        if low > high:
            raise PointError([f"no room in {bounds}{self._because()} with {self._parents(values)}"])
        return Room(low, high, step, tuple(excluded))

    def _parents(self, values: Values) -> str:
        names = dict.fromkeys(name for relation in self.relations for name in relation.parents)
        return ", ".join(f"{name}={values.get(name)!r}" for name in names)

    def _because(self) -> str:
        return f" ({'; '.join(map(str, self.relations))})" if self.relations else ""

    def _closed(self, bounds: Bounds, step: float) -> tuple[float, float]:
        """Return legal closed ends of bounds that may be open."""
        low = self.low if bounds.low is None else bounds.low
        high = self.high if bounds.high is None else bounds.high
        if step:
            start, stop = self._up(low, step), self._down(high, step)
            if bounds.low_open and start == low:
                start = self._nearest(start + step, step)
            if bounds.high_open and stop == high:
                stop = self._nearest(stop - step, step)
            return start, stop
        if low >= high:
            is_spent = bounds.low_open or bounds.high_open
            return (math.inf, -math.inf) if is_spent else (low, high)
        start, stop = self.scale.forward(low, self.pivot), self.scale.forward(high, self.pivot)
        inset = (stop - start) * INSET
        return (
            self.scale.inverse(start + inset, self.pivot) if bounds.low_open else low,
            self.scale.inverse(stop - inset, self.pivot) if bounds.high_open else high,
        )

    @property
    def _counts_steps(self) -> bool:
        return self.scale is Scale.LOG or not self.is_int

    def _dimension(self, name: str, low: float, high: float) -> Dimension:
        if self.relations:
            return Real(name, 0.0, 1.0)
        is_log = self.scale is not Scale.LINEAR
        if not self.step:
            ends = sorted((self._latent(low), self._latent(high)))
            return Real(name, ends[0], ends[1], is_log)
        step = 1 if self._counts_steps else round(self.step)
        return Integer(name, round(self._latent(low)), round(self._latent(high)), is_log, step)

    def _latent(self, value: float) -> Any:
        if self.scale is Scale.REFLECTED:
            return self.pivot - value
        if self.step:
            return round((value - self.offset) / self.step) if self._counts_steps else round(value)
        return float(value)

    def _from_fraction(self, fraction: float, values: Values) -> Any:
        room = self.room(values)
        start, stop = self._edges(room)
        return self._legal(self.scale.inverse(start + fraction * (stop - start), self.pivot), room)

    def _to_fraction(self, value: float, values: Values) -> float:
        room = self.room(values)
        start, stop = self._edges(room)
        if stop == start or room.low == room.high:
            return 0.5
        return min(max((self.scale.forward(value, self.pivot) - start) / (stop - start), 0.0), 1.0)

    def _edges(self, room: Room) -> tuple[float, float]:
        """Return the room's ends in the scale; a value of a grid owns half a step to both sides."""
        half, forward = room.step / 2, self.scale.forward
        return forward(room.low - half, self.pivot), forward(room.high + half, self.pivot)

    def _legal(self, value: float, room: Room) -> Any:
        if room.step:
            value = self._nearest(value, room.step)
        value = min(max(value, room.low), room.high)
        least = self.positive_from
        if least and room.step:
            least = self._up(least, room.step)
        if 0 < value < least:
            is_off = (value < least / 2 or least > room.high) and room.low <= 0
            value = 0.0 if is_off else least
        nudge = room.step or (room.high - room.low) * INSET
        for start in (value, least) if least else (value,):
            for count in range(len(room.excluded) + 1):
                for moved in (start + count * nudge, start - count * nudge):
                    found = self._nearest(moved, room.step) if room.step else moved
                    if self._is_legal(found, room):
                        return self._typed(found)
        raise PointError([f"no value in [{room.low:g}, {room.high:g}] is allowed"])

    def _is_legal(self, value: float, room: Room) -> bool:
        is_inside = room.low <= value <= room.high and not 0 < value < self.positive_from
        return is_inside and value not in room.excluded

    def _nearest(self, value: float, step: float) -> float:
        return self.offset + grids.nearest(value - self.offset, step)

    def _up(self, value: float, step: float) -> float:
        return self.offset + grids.up(value - self.offset, step)

    def _down(self, value: float, step: float) -> float:
        return self.offset + grids.down(value - self.offset, step)

    def _typed(self, value: float) -> Any:
        return round(value) if self.is_int else float(value)
