"""One trial as a row of a table, for events, `state.json` and `hpo status`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from hpo.core.trial import OVER_LIMIT, Purpose, TrialRecord, TrialStage, TrialState

IF_KNOWN = {"if_known": True}
"""Marks a field that the JSON object leaves out while it is None."""


def known_stage(trial: TrialRecord) -> TrialStage | None:
    """A trial's stage; None in a search of a single one."""
    return trial.stage if trial.stage.name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """What a table shows of a trial."""

    trial: int
    state: TrialState
    purpose: Purpose = Purpose.SEARCH
    value: float | None = None
    """Best value so far; None for failed trials."""
    best_epoch: int | None = None
    epoch: int = 0
    until_epoch: int = 0
    start_from: tuple[int, int] | None = None
    note: str = ""
    seconds: float = 0.0
    params: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
    role: str = ""
    """What the trial is beside the others, see `hpo.core.selection.roles`."""
    stage: TrialStage | None = field(default=None, metadata=IF_KNOWN)
    """None in a search of a single stage."""
    doing: str | None = field(default=None, metadata=IF_KNOWN)
    """What a running trial does before its first epoch ends, such as `head epochs 12/20`."""

    @classmethod
    def of(cls, trial: TrialRecord, direction: str, role: str = "", doing: str = "") -> Self:
        """The row of a trial as the ledger knows it now, with its role and what it does."""
        best = trial.best_measurement(direction)
        return cls(
            trial=trial.number,
            state=trial.state,
            purpose=trial.purpose,
            value=None if best is None or trial.state is TrialState.FAILED else best.value,
            best_epoch=best.epoch if best else None,
            epoch=trial.epochs,
            until_epoch=trial.until_epoch,
            start_from=trial.start_from,
            note=trial.note,
            seconds=round(trial.seconds, 2),
            params=trial.params,
            error=trial.error,
            role=role,
            stage=known_stage(trial),
            doing=doing or None,
        )

    @property
    def is_refused(self) -> bool:
        """Whether the trial was refused before it started, and so counts as none."""
        return self.error is not None and self.error["kind"] == OVER_LIMIT
