"""Rank correlation between stages, against scipy; and that stages are never mixed in a choice."""

import json

import pytest
from scipy.stats import spearmanr

from hpo.core.repeats import propose_repeat
from hpo.core.selection import (
    best_trial,
    default_trial,
    finalists,
    of_last_stage,
    open_repeats,
    repeats_of,
)
from hpo.core.stages import LEAST_PAIRS, measure_stages
from hpo.core.trial import Measurement, Purpose, TrialRecord, TrialStage, TrialState
from hpo.run.checkpoint_retention import needed_trials

HEADS = [0.71, 0.62, 0.68, 0.55, 0.64, 0.5]
WHOLE = [0.84, 0.79, 0.85, 0.81, 0.7, 0.77]


def trial(number, value, *, state=TrialState.COMPLETE, epochs=2, params=None, **facts):
    purpose = facts.pop("purpose", Purpose.SEARCH)
    record = TrialRecord(
        number=number, state=state, params=params or {}, latents={}, until_epoch=epochs,
        purpose=purpose, stage=TrialStage(**facts), value=value,
    )  # fmt: skip
    record.measurements = [Measurement(epoch=epochs, value=value)]
    return record


def staged(heads=HEADS, whole=WHOLE):
    """Trial 0 whole, then heads, then a child of each."""
    found = [trial(0, 0.8, name="full", params={"lr": 1})]
    found += [trial(1 + i, v, epochs=20, name="heads", left=1) for i, v in enumerate(heads)]
    first = len(found)
    found += [
        trial(first + i, v, name="full", parent=1 + i, params={"lr": 1, "margin": i})
        for i, v in enumerate(whole)
    ]
    return found


def test_the_correlation_is_that_of_heads_with_their_children():
    (order,) = measure_stages(staged(), "maximize")
    assert (order.name, order.trials, order.pairs) == ("heads", 6, 6)
    assert order.correlation == pytest.approx(spearmanr(HEADS, WHOLE).statistic)
    assert not order.is_misleading
    assert "n = 6" in str(order)


def test_a_parent_has_the_best_of_its_full_children_and_others_are_no_pairs():
    trials = staged()
    trials.append(trial(13, 0.99, name="full", parent=6))
    trials.append(trial(14, 0.1, name="full", parent=1))
    trials.append(trial(15, 0.2, name="full", parent=2, state=TrialState.PRUNED))
    trials.append(trial(16, 1.0, name="full", parent=4, purpose=Purpose.CONFIRM))
    best = [*WHOLE[:5], 0.99]
    (order,) = measure_stages(trials, "maximize")
    assert order.correlation == pytest.approx(spearmanr(HEADS, best).statistic)


def test_the_direction_turns_nothing_around():
    falling = staged([-v for v in HEADS], [-v for v in WHOLE])
    (order,) = measure_stages(falling, "minimize")
    assert order.correlation == pytest.approx(spearmanr(HEADS, WHOLE).statistic)


def test_an_order_misleads_by_enough_pairs_alone():
    backwards = sorted(HEADS[:LEAST_PAIRS], reverse=True)
    (order,) = measure_stages(staged(backwards, sorted(backwards)), "maximize")
    assert order.correlation == pytest.approx(-1.0)
    assert order.is_misleading
    assert "skipped" in str(order)
    (few,) = measure_stages(staged(backwards[:-1], sorted(backwards[:-1])), "maximize")
    assert not few.is_misleading
    (one,) = measure_stages(staged([0.5], [0.7]), "maximize")
    assert one.correlation is None
    assert json.loads(json.dumps(one.to_dict()))["pairs"] == 1


def test_a_head_of_more_epochs_and_a_better_value_is_never_the_best():
    trials = [trial(0, 0.6, name="full"), trial(1, 0.9, epochs=20, name="heads", left=1)]
    assert best_trial(trials, "maximize").number == 0
    assert [t.number for t in finalists(trials, "maximize", 3)] == [0]
    assert [t.number for t in of_last_stage(trials)] == [0]


def test_a_default_that_is_a_head_is_no_finalist_of_the_whole_networks():
    trials = [trial(n, 0.6 + n / 100, epochs=40, name="heads", left=1) for n in range(3)]
    for trained in trials:
        trained.params = {"lr": trained.number}
    trials += [trial(n, 0.8 + n / 100, epochs=3, name="full", parent=n - 3) for n in (3, 4, 5)]
    assert [t.number for t in finalists(trials, "maximize", 2)] == [5, 4]
    pending = open_repeats(trials, "maximize", 2)
    assert [t.number for t in pending] == [5, 4, 5, 4]
    assert propose_repeat(pending, trials, study_seed=1)[0].until_epoch == 3
    assert default_trial(trials, "maximize").number == 0


def test_heads_are_ranked_while_nothing_of_the_last_stage_has_a_value():
    begun = trial(0, 0.0, name="full", state=TrialState.RUNNING)
    begun.measurements = []
    trials = [begun, trial(1, 0.4, name="heads", left=1), trial(2, 0.5, name="heads", left=1)]
    assert best_trial(trials, "maximize").number == 2


def test_a_repeat_belongs_to_the_finalist_with_its_parent():
    trials = staged()
    again = trial(13, 0.8, name="full", parent=2, params=trials[7].params, purpose=Purpose.CONFIRM)
    assert repeats_of(trials[7], [again]) == []
    again.stage = trials[7].stage
    assert repeats_of(trials[7], [again]) == [again]


def test_parents_of_what_is_needed_keep_their_checkpoints():
    trials = staged()
    needed = needed_trials(trials, "maximize", confirm=1)
    assert needed == {0, 9, 3}  # the default, the winner, and the head that it began with
    assert needed_trials(trials, "maximize", confirm=1, start_points=[5]) == {0, 9, 3, 5}
