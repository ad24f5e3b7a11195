"""The form of a run's `state.json`, checked whenever it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.core.budget import Budget, Spent
from hpo.core.event_json import from_dict, to_plain
from hpo.core.events import Finished
from hpo.core.trial_row import TrialRow


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A rung or a stage, as `hpo status` shows it."""

    text: str


@dataclass(frozen=True, kw_only=True)
class _Forecast:
    """What the review of a start expected, and what it took."""

    expected_s: float
    took_s: float


@dataclass(frozen=True, kw_only=True)
class _State:
    status: str = "new"
    updated: float | None = None
    metric: str | None = None
    budget: Budget | None = None
    spent: Spent | None = None
    best: TrialRow | None = None
    trials: Sequence[TrialRow] = ()
    rungs: Sequence[_Line] = ()
    stages: Sequence[_Line] = ()
    forecasts: Sequence[_Forecast] = ()
    paused: str = ""
    start: Sequence[str] = ()
    finished: Finished | None = None

    def __post_init__(self) -> None:
        rows = [*self.trials, *([self.best] if self.best else [])]
        if any(row.error is not None and not {"kind", "message"} <= set(row.error) for row in rows):
            raise ValueError("error: must tell kind and message")
        times = [t for past in self.forecasts for t in (past.expected_s, past.took_s)]
        if not all(0 < seconds < math.inf for seconds in times):
            raise ValueError("forecasts: must be of positive times")
        if self.spent is not None and not math.isfinite(self.spent.seconds):
            raise ValueError("spent: must be finite")


def checked_state(data: Any) -> dict[str, Any]:
    """Return a state as it was read, with what an earlier release did not write of its trials.

    Raises:
        ValueError: for a value that its readers could not show.
    """
    state = from_dict(_State, data)
    rows = zip(state.trials, data.get("trials", ()), strict=True)
    best = {} if state.best is None else {"best": _whole(state.best, data["best"])}
    return {**data, **best, "trials": [_whole(row, given) for row, given in rows]}


def _whole(row: TrialRow, given: Mapping[str, Any]) -> dict[str, Any]:
    return {**to_plain(row), **given}
