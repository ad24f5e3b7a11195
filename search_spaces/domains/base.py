"""The base class of domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from search_spaces.dimensions import Dimension

Values = Mapping[str, Any]
"""Spec values decoded so far, and those of parents that are not searched."""


class Domain(Protocol):
    """The legal values of one parameter.

    `decode(encode(value, values), values) == value` for every legal value; `values` holds the
    parents.
    """

    def dimensions(self, name: str) -> tuple[Dimension, ...]:
        """Return what a sampler draws; empty when the value follows from its parents."""

    def decode(self, latents: Sequence[Any], values: Values) -> Any:
        """Turn latents, one per dimension, into the spec value."""

    def encode(self, value: Any, values: Values) -> tuple[Any, ...]:
        """Turn a legal value into latents; an illegal number is moved to the nearest legal one."""

    def problem(self, value: Any, values: Values) -> str:
        """Say what is wrong with a value, or return an empty string."""

    def clamp(self, value: Any, values: Values) -> Any:
        """Return the legal value nearest to anything; what has no nearest becomes the middle."""

    def describe(self) -> dict[str, Any]:
        """Return the distribution as JSON-like data, in value units."""
