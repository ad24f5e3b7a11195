"""Counts of trials, from the ledger's records and from the rows of a state file alike."""

import pytest

from hpo.core.events import TrialFinished
from hpo.core.trial import OVER_LIMIT, Purpose, TrialRecord, TrialStage, TrialState
from hpo.core.trial_counts import state_word, trial_counts
from hpo.core.trial_row import TrialRow

REFUSED = {"kind": OVER_LIMIT, "message": "2 ms are allowed"}
DIVERGED = {"kind": "diverged", "message": "not a number"}
HEADS = TrialStage(name="heads", left=1)


def record(number, state, **facts):
    return TrialRecord(
        number=number, state=state, params={}, latents={}, until_epoch=9, **facts
    )  # fmt: skip


TRIALS = [
    record(0, TrialState.COMPLETE),
    record(1, TrialState.FAILED, error=REFUSED),
    record(2, TrialState.PRUNED),
    record(3, TrialState.FAILED, error=DIVERGED),
    record(4, TrialState.FAILED, error=REFUSED),
    record(5, TrialState.RUNNING),
    record(6, TrialState.COMPLETE, purpose=Purpose.CONFIRM),
    record(7, TrialState.FAILED, error=DIVERGED, purpose=Purpose.CONFIRM),
    record(8, TrialState.COMPLETE, stage=HEADS),
    record(9, TrialState.FAILED, error=DIVERGED, stage=HEADS),
    record(10, TrialState.FAILED, error=REFUSED, stage=HEADS),
    record(11, TrialState.RUNNING, stage=HEADS),
]


@pytest.mark.parametrize("form", [lambda t: t, lambda t: TrialRow.of(t, "maximize")])
def test_refused_trials_have_a_count_of_their_own(form):
    counts = {"complete": 1, "pruned": 1, "failed": 1, "refused": 3, "heads": 2}
    assert trial_counts([form(t) for t in TRIALS]) == counts
    some = [form(t) for t in TRIALS[2:4]]
    assert trial_counts(some) == {"complete": 0, "pruned": 1, "failed": 1}
    assert trial_counts([]) == {"complete": 0, "pruned": 0, "failed": 0}


def test_a_state_is_the_same_word_everywhere():
    words = ["complete", "refused", "pruned", "failed", "refused", "running"]
    assert [state_word(t) for t in TRIALS[:6]] == words
    assert [state_word(TrialRow.of(t, "maximize")) for t in TRIALS[:6]] == words
    assert [state_word(TrialFinished.of(t, "")) for t in TRIALS[:5]] == words[:5]
