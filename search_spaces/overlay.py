"""The overlay: what a user wants searched, ranged, restricted or fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.clauses import Clause

End = float | tuple[float, ...] | None
"""One end of a range: a number, one per element of a list, or None where the schema's counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Changes to what is searched, from a study file, the command line or the AutoML route."""

    hyperparameters: tuple[str, ...] | None = None
    """Search exactly these; None searches the schema's default list."""
    extra: tuple[str, ...] = ()
    """Search these too."""
    ranges: Mapping[str, tuple[Any, Any, bool | None]] = field(default_factory=dict)
    """Name -> (low, high, log); log None leaves the scale to the rule. The name is searched too."""
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Name -> the values to choose from. The name is searched too."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Name -> the one value it has in every trial."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Name -> the value that the user's spec gives it; a search starts from it."""
    custom_param_ranges: Mapping[str, Any] | Sequence[Mapping[str, Any]] = field(
        default_factory=dict
    )
    """The published form: name -> {valid_min, valid_max, valid_options, option_weights, ...}, or a
    list of such mappings with the name under `parameter`. Adds no name to the search."""
    override_automl_disabled_params: bool = False
    """Also search what the schema disables."""


@dataclass(slots=True, kw_only=True)
class ParameterChange:
    """Everything an overlay says of one parameter, in one form."""

    low: End = None
    high: End = None
    log: bool | None = None
    options: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    stays_number: bool = False
    """`disable_list`: a number that might also be a list stays one number."""
    clauses: tuple[Clause, ...] | None = None
    """Conditions in place of the schema's; None keeps those."""
    parents: tuple[str, ...] | None = None

    @property
    def has_range(self) -> bool:
        """Whether an end is given."""
        return self.low is not None or self.high is not None
