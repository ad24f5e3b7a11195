"""Counts trials and names their states for people, the same way wherever they are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo.core.trial import ONLY_STAGE, Purpose, TrialRecord, TrialState

if TYPE_CHECKING:
    from hpo.core.events import TrialFinished
    from hpo.core.trial_row import TrialRow

REFUSED = "refused"
"""The state of a trial that was beyond a limit of the study, and so never started."""


def state_word(trial: TrialRecord | TrialRow | TrialFinished) -> str:
    """A trial's state in a word."""
    return REFUSED if trial.is_refused else str(trial.state)


ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)
"""The states in which a trial has ended."""


def trial_counts(trials: Sequence[TrialRecord] | Sequence[TrialRow]) -> dict[str, int]:
    """Complete, pruned, failed and refused trials of the last stage, then all of each earlier one.

    Confirmations and suspended trials are not counted, and `refused` is left out while there are
    none.
    """
    able = [t for t in trials if t.purpose == Purpose.SEARCH and not t.is_refused]
    stages = [t.stage or ONLY_STAGE for t in able]
    states = [t.state for t, stage in zip(able, stages, strict=True) if not stage.left]
    counts = {str(state): states.count(state) for state in ENDS}
    if refused := sum(t.is_refused for t in trials):
        counts[REFUSED] = refused
    earlier = [
        stage.name for t, stage in zip(able, stages, strict=True) if stage.left and t.state in ENDS
    ]
    return counts | Counter(earlier)
