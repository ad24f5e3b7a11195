"""What an engine is given of a study, and what it keeps of a running trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hpo.core.budget import Budget
from hpo.core.trial import TrialRecord
from hpo.run.trial_specs import TrialSpecs


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the engine needs to know of a study."""

    specs: TrialSpecs
    """Makes the full specs of trials; its run is where they are written, None in simulations."""
    budget: Budget
    confirm: int = 0
    """Finalists that are trained again; 0 leaves the whole budget to the search."""
    kept: Mapping[str, float] | None = None
    """What of the budget is kept for repeats; None goes by what trials have cost."""
    gpus_per_trial: float = 0.0
    at_a_time: int = 1
    """Trials that run at a time."""
    spent_before_s: float = 0.0
    """Seconds of a budget of time that were used before there was a ledger."""
    study_seed: int = 0
    until_converged: float | None = None
    """Minutes of training that must pay for the search to go on; 0 chooses them, None goes on to
    the end of the budget."""
    num_epochs: int | None = None
    """Length of a full trial, which the trainer ends by itself; None: that of every suggestion."""
    refuse: Callable[[Mapping[str, Any]], str] = lambda _params: ""
    """Why parameters are not to be tried at all; empty when they may be."""

    def is_full(self, record: TrialRecord, epoch: int) -> bool:
        """Whether the trainer ends a trial by itself at an epoch; trials of rungs it does not."""
        return bool(record.stage.left) or self.num_epochs is None or epoch >= self.num_epochs


@dataclass(slots=True, kw_only=True)
class Live:
    """A trial that runs at this moment."""

    verdict: str = ""
    """Why it was told to stop: `pruned`, `suspended`, `failed` or `reached` (its last epoch)."""
    reason: str = ""
    failure: dict[str, str] | None = None
    last_report: float
    sharing: int = 1
    """Trials of its batch, which have the GPUs of one together; 1 where it is trained alone."""
