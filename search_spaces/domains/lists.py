"""Domains of list values: fixed-length lists, subsets, values derived from a parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.dimensions import Choice, Dimension
from search_spaces.domains.base import Values
from search_spaces.domains.number import Number
from search_spaces.domains.options import same

PREVIOUS = "[previous]"
"""The name under which an element of a list finds the one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberList:
    """Several numbers, each with its own range; an element may be bounded by the one before it."""

    elements: tuple[Number, ...]
    type_name: str

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return one dimension per element, `name[0]`, `name[1]`, ..."""
        return tuple(
            dimension
            for index, element in enumerate(self.elements)
            for dimension in element.dimensions(f"{name}[{index}]")
        )

    def decode(self, latents: Sequence[Any], values: Values) -> list[Any]:
        """Decode the elements in order."""
        decoded: list[Any] = []
        for element, latent in zip(self.elements, latents, strict=True):
            decoded.append(element.decode((latent,), _beside(values, decoded)))
        return decoded

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:
        """Encode the elements in order."""
        value = self.clamp(value, values)
        return tuple(
            element.encode(value[index], _beside(values, value[:index]))[0]
            for index, element in enumerate(self.elements)
        )

    def problem(self, value: Any, values: Values) -> str:
        """Check length and every element."""
        if not isinstance(value, list) or len(value) != len(self.elements):
            return f"must be a list of {len(self.elements)} numbers, got {value!r}"
        for index, element in enumerate(self.elements):
            problem = element.problem(value[index], _beside(values, value[:index]))
            if problem:
                return f"element {index} {problem}"
        return ""

    def clamp(self, value: Any, values: Values) -> list[Any]:
        """Clamp the elements in order."""
        given = list(value) if isinstance(value, list | tuple) else []
        clamped: list[Any] = []
        for index, element in enumerate(self.elements):
            item = given[index] if index < len(given) else None
            clamped.append(element.clamp(item, _beside(values, clamped)))
        return clamped

    def describe(self) -> dict[str, Any]:
        """Return the elements' distributions."""
        return {"type": self.type_name, "elements": [item.describe() for item in self.elements]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """A list that holds one number several times, such as the sides of a square kernel."""

    number: Number
    times: int

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return the number's dimension."""
        return self.number.dimensions(name)

    def decode(self, latents: Sequence[Any], values: Values) -> list[Any]:
        """Decode the number and repeat it."""
        return [self.number.decode(latents, values)] * self.times

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:
        """Encode the first element."""
        return self.number.encode(self.clamp(value, values)[0], values)

    def problem(self, value: Any, values: Values) -> str:
        """Check that all elements are the same legal number."""
        if not isinstance(value, list) or len(value) != self.times or len({*value}) != 1:
            return f"must be a list of {self.times} equal numbers, got {value!r}"
        return self.number.problem(value[0], values)

    def clamp(self, value: Any, values: Values) -> list[Any]:
        """Clamp the first element and repeat it."""
        first = value[0] if isinstance(value, list | tuple) and value else None
        return [self.number.clamp(first, values)] * self.times

    def describe(self) -> dict[str, Any]:
        """Return the number's distribution and how often it stands there."""
        return {"type": "equal_list", "times": self.times, "element": self.number.describe()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive whole numbers, drawn as the first and the last of them."""

    ends: NumberList

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return the dimensions of the first and the last number."""
        return self.ends.dimensions(name)

    def decode(self, latents: Sequence[Any], values: Values) -> list[int]:
        """Fill the run between its ends."""
        first, last = self.ends.decode(latents, values)
        return list(range(first, last + 1))

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:
        """Encode the ends."""
        value = self.clamp(value, values)
        return self.ends.encode([value[0], value[-1]], values)

    def problem(self, value: Any, values: Values) -> str:
        """Check that the numbers are consecutive and inside the bounds."""
        numbers = isinstance(value, list) and value and all(type(item) is int for item in value)
        if not numbers or value != list(range(value[0], value[-1] + 1)):
            return f"must be a list of consecutive whole numbers, got {value!r}"
        return self.ends.problem([value[0], value[-1]], values)

    def clamp(self, value: Any, values: Values) -> list[int]:
        """Clamp both ends and fill the run between them."""
        ends = [value[0], value[-1]] if isinstance(value, list | tuple) and value else [None, None]
        first, last = self.ends.clamp(ends, values)
        return list(range(first, last + 1))

    def describe(self) -> dict[str, Any]:
        """Return the distributions of the ends."""
        return {"type": "run", "ends": self.ends.describe()["elements"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """Any subset of the options, in their order: one bit each."""

    options: tuple[Any, ...]

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return one bit per option."""
        return tuple(Choice(f"{name}[{k}]", (False, True)) for k in range(len(self.options)))

    def decode(self, latents: Sequence[Any], values: Values) -> list[Any]:  # noqa: ARG002 - Domain
        """Keep the options whose bit is set."""
        return [option for option, bit in zip(self.options, latents, strict=True) if bit]

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:
        """Set the bits of the options that are present."""
        chosen = self.clamp(value, values)
        return tuple(any(same(option, item) for item in chosen) for option in self.options)

    def problem(self, value: Any, values: Values) -> str:
        """Check that the value is a subset in the options' order."""
        if isinstance(value, list) and value == self.clamp(value, values):
            return ""
        return f"must be a list drawn from {list(self.options)} in this order, got {value!r}"

    def clamp(self, value: Any, values: Values) -> list[Any]:  # noqa: ARG002 - Domain
        """Drop what is no option."""
        given = value if isinstance(value, list | tuple) else []
        return [option for option in self.options if any(same(option, item) for item in given)]

    def describe(self) -> dict[str, Any]:
        """Return the options."""
        return {"type": "subset", "options": list(self.options)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOrNone:
    """Null, or the whole list of options."""

    options: tuple[Any, ...]

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return one choice."""
        return (Choice(name, ("none", "all")),)

    def decode(self, latents: Sequence[Any], values: Values) -> list[Any] | None:  # noqa: ARG002 - Domain
        """Turn the choice into null or the options."""
        return list(self.options) if latents[0] == "all" else None

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:  # noqa: ARG002 - Domain
        """Turn null or the options into the choice."""
        return ("all" if value else "none",)

    def problem(self, value: Any, values: Values) -> str:  # noqa: ARG002 - Domain
        """Check that the value is null or the whole list."""
        if value is None or value == list(self.options):
            return ""
        return f"must be null or {list(self.options)}, got {value!r}"

    def clamp(self, value: Any, values: Values) -> list[Any] | None:  # noqa: ARG002 - Domain
        """Turn anything that is not empty into the whole list."""
        return list(self.options) if value else None

    def describe(self) -> dict[str, Any]:
        """Return the options."""
        return {"type": "all_or_none", "options": list(self.options)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A whole-number share of a parent: nothing to draw, the value follows."""

    parent: str
    divisor: float

    def dimensions(self, name: str) -> tuple[Dimension, ...]:  # noqa: ARG002 - Domain
        """Return none."""
        return ()

    def decode(self, latents: Sequence[Any], values: Values) -> int:  # noqa: ARG002 - Domain
        """Divide the parent."""
        return int(values[self.parent] // self.divisor)

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:  # noqa: ARG002 - Domain
        """Return no latents."""
        return ()

    def problem(self, value: Any, values: Values) -> str:
        """Check that the value is the parent's share."""
        expected = self.decode((), values)
        return "" if value == expected else f"must be {expected} ({self}), got {value!r}"

    def clamp(self, value: Any, values: Values) -> int:  # noqa: ARG002 - Domain
        """Return the parent's share."""
        return self.decode((), values)

    def describe(self) -> dict[str, Any]:
        """Return the formula."""
        return {"type": "derived", "formula": str(self)}

    def __str__(self) -> str:
        """Write the formula."""
        return f"{self.parent} // {self.divisor:g}"


def _beside(values: Values, decoded: Sequence[Any]) -> Values:
    return {**values, PREVIOUS: decoded[-1]} if decoded else values
