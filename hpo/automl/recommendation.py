"""`Recommendation`: the API caller's view of one trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hpo.core.trial import TrialRecord, TrialState

PENDING, STARTED, RUNNING = "pending", "started", "running"
SUCCESS, FAILURE, CANCELED = "success", "failure", "canceled"

_WORDS = {
    TrialState.COMPLETE: SUCCESS,
    TrialState.PRUNED: SUCCESS,
    TrialState.FAILED: FAILURE,
}


@dataclass(slots=True, kw_only=True)
class Recommendation:
    """One configuration to train; `specs` are its searched values by dotted name."""

    id: int
    specs: dict[str, Any]
    status: str = PENDING
    job_id: str = ""
    resume_from_epoch: int | None = None
    resume_from_step: int | None = None
    metric: float | None = None
    results_dir: str = ""
    """The trial's own folder, absolute."""
    full_spec: dict[str, Any] = field(default_factory=dict, repr=False)
    """The whole spec, nested."""


def status_word(trial: TrialRecord, *, is_live: bool = True) -> str:
    """A trial's state in the route's words; one that was stopped early was trained successfully.

    Args:
        trial: the record.
        is_live: whether a driver has it in hand at this moment.
    """
    if trial.state in _WORDS:
        return _WORDS[trial.state]
    if not is_live:
        return PENDING
    return RUNNING if trial.measurements else STARTED


def metric_of(trial: TrialRecord, direction: str) -> float | None:
    """A trial's best value in the caller's own scale; None for one that failed or has none yet."""
    if trial.state is TrialState.FAILED:
        return None
    best = trial.best_measurement(direction)
    return best.value if best else None
