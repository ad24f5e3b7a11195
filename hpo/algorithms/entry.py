"""The registry entry of an algorithm: name, options and factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo.algorithms.brackets import Length
from hpo.algorithms.options import Option
from hpo.core.errors import SpecError
from hpo.core.protocols import Algorithm

if TYPE_CHECKING:
    from search_spaces import SearchSpace

Style = str
"""`running`: a trial runs on and is only ever stopped. `rungs`: every rung is a trial of its own
that starts from the checkpoint of the one before, for trainers that report at their end alone."""

STYLES = ("running", "rungs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The search around an algorithm.

    Example: `Context(route=True, style="rungs")` for a caller that submits jobs and reports one
    value of each.
    """

    validated_every: int = 1
    """Epochs between two validations; of searches that earlier releases have begun, 1."""
    planned_trials: int | None = None
    """The budget of trials that the study began with."""
    slots: int = 1
    """Trials that can run at the same time."""
    style: Style = "running"
    route: bool = False
    """Whether options that are not given have the AutoML route's defaults."""
    restart_keys: tuple[str, ...] = ("model",)
    """Keys, or sections, of the spec that no checkpoint can go on under once they have changed."""
    has_parents: bool = False
    """Whether trials begin with those of an earlier stage, each with one of its own."""
    first: tuple[dict[str, Any], ...] = ()
    """Latents of configurations to begin with, after the default one."""
    stops_by: tuple[str, float] | None = None
    """The metric that trials are stopped by where they are ranked by the score of several, and its
    sign (1.0 for what is to grow); None: by their value."""
    notes: Callable[[], Mapping[int, Any]] = dict
    """What the caller says of trials, by number; a language model reads it."""
    is_rehearsal: bool = False
    """Whether trials are invented, so that no language model may be asked about them."""

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise SpecError(f"style: must be one of {', '.join(STYLES)}; got {self.style!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The study that an algorithm is made for."""

    space: SearchSpace
    direction: str
    """`maximize` or `minimize`."""
    num_epochs: int
    """Length of a full trial."""
    seed: int
    pruner: str = "none"
    """Name of a registered pruner, resolved."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The algorithm's own, complete."""
    context: Context = field(default_factory=Context)

    @property
    def is_rungs(self) -> bool:
        """Whether every rung is a trial of its own."""
        return self.context.style == "rungs"

    @property
    def length(self) -> Length:
        """Of a full trial."""
        return Length(self.num_epochs, self.context.validated_every)

    def can_change(self, name: str) -> bool:
        """Whether a parameter may change when a trial goes on from a checkpoint."""
        return not any(f"{name}.".startswith(f"{key}.") for key in self.context.restart_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmEntry:
    """One registered algorithm.

    Importing the module of an entry costs neither Optuna nor numpy: `build` imports them.
    """

    name: str
    summary: str
    """One line for people."""
    build: Callable[[Setting], Algorithm]
    options: tuple[Option, ...] = ()
    aliases: tuple[str, ...] = ()
    brings_pruning: bool = False
    """Whether it stops trials by itself, so that no pruner can be chosen beside it."""
    paper: str = ""
    when: str = ""
    """When to choose it, one line."""
    fit: Callable[[Mapping[str, Any], Length, int | None], dict[str, Any]] | None = None
    """Those of its options that depend on the length of a full trial and the budget of trials: as
    they were given, else fitted to these."""
    num_trials: Callable[[Mapping[str, Any], Length, Style], int | None] | None = None
    """How many trials it takes to its end, from its complete options, the length of a full trial
    and the style; it returns None where only the search can tell, and is None where the budget
    decides."""
