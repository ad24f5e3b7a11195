"""The contract of choosers: rules that pick the next trial from the trials seen so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from hpo.core.protocols import Emit, Narrowable
from hpo.core.trial import TrialRecord, TrialState

RUNS_IN_FULL = "runs_in_full"
"""Key of a memo: the trial is never pruned."""
IS_GIVEN = "is_given"
"""Key of a memo: the trial was proposed for the algorithm, so it takes no place among the points
that this begins with."""
Limits = Mapping[str, tuple[float, float]]
"""Dimension -> (low, high) in its latent scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A trial as the chooser of the next one sees it."""

    number: int
    params: dict[str, Any]
    latents: dict[str, Any]
    state: TrialState
    value: float | None = None
    """Best so far in the metric's own sign; None while there is none, and for failed trials."""
    epochs: int = 0
    error: str = ""
    is_infeasible: bool = False
    """Whether it failed because of its parameters, so that similar points should be avoided."""
    is_refused: bool = False
    """Whether it was refused before it started, which counts as no trial."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        """Nothing in it changes, and a long search has many."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A chooser's decision on the next trial."""

    latents: dict[str, Any] | None = None
    """None: the sampler draws them."""
    note: str = ""
    memo: dict[str, Any] | None = None
    limits: Limits = field(default_factory=dict)
    """Dimension -> (low, high) that the sampler draws from, in place of what was chosen outside."""


class Chooser(Protocol):
    """Chooses trials from those seen.

    One that waits for a background request also has `settle`, one that can keep to limits `narrow`.
    """

    def choose(self, number: int, seen: list[Observation]) -> Chosen | None:
        """Choose trial `number`, given all trials before it; None while a request is pending."""

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded choice, in place of `choose`."""

    def update(self, trial: TrialRecord) -> None:
        """Take a trial's end."""

    def attach(self, emit: Emit) -> None:
        """Send events through `emit` from now on."""


class StatelessChooser:
    """A base for choosers whose choice depends on what is seen alone."""

    def restore(self, trial: TrialRecord) -> None:
        """Keep nothing."""

    def update(self, trial: TrialRecord) -> None:
        """Keep nothing."""

    def attach(self, emit: Emit) -> None:
        """Say nothing."""


class InTurns(StatelessChooser):
    """Leaves every other two trials to the sampler, until there are so many.

    By twos, so that small steps in place of every second trial replace as many of either kind.

    Args:
        inner: chooses the others.
        until: trials, of whatever state, after which it chooses all.
    """

    def __init__(self, inner: Chooser, until: int) -> None:
        self._inner, self._until = inner, until

    def narrow(self, limits: Limits) -> None:
        """Pass limits on."""
        if isinstance(self._inner, Narrowable):
            self._inner.narrow(limits)

    def choose(self, number: int, seen: list[Observation]) -> Chosen | None:
        """Choose trial `number`, or leave it to the sampler."""
        if len(seen) < self._until and number % 4 < 2:
            return Chosen()
        return self._inner.choose(number, seen)
