"""A compiled parameter: searched, or pinned with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.dimensions import Condition, Dimension
from search_spaces.domains.base import Domain
from search_spaces.rule import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What varies, with everything that explains it."""

    name: str
    type: str
    """The schema's type name."""
    default: Any
    """The first trial's value: the spec's, moved inside the range."""
    domain: Domain
    dimensions: tuple[Dimension, ...]
    """What a sampler draws; see `SearchSpace.dimensions`."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Values of parents that are not searched."""
    parents: tuple[str, ...] = ()
    """Searched parameters that bound this one."""
    condition: Condition | None = None
    condition_text: str = ""
    why: str = ""
    is_popular: bool = False
    description: str = ""
    bounds: Bounds = field(default_factory=Bounds)
    """What the schema and the spec allow, where the range may be a part of it."""

    @property
    def distribution(self) -> dict[str, Any]:
        """The distribution as JSON-like data, in value units."""
        return self.domain.describe()

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as `hpo space --json` shows it."""
        return {
            "name": self.name,
            "type": self.type,
            "default": self.default,
            "distribution": self.distribution,
            "why": self.why,
            "condition": self.condition_text or None,
        }


FIXED = "fixed by the user"
"""The reason of a parameter that is pinned because the user gave its value."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A parameter that was asked for and has one value in every trial."""

    name: str
    value: Any
    reason: str
