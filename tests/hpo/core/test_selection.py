import pytest

from hpo.core.selection import best_trial, finalists, mean_over_seeds, ranked
from hpo.core.trial import Measurement, TrialRecord, TrialState


def trial(number, value, epochs=9, state=TrialState.COMPLETE, purpose="search", params=None):
    """A trial whose best value stands in its last epoch."""
    record = TrialRecord(
        number=number,
        state=state,
        params={"lr": number} if params is None else params,
        latents={},
        until_epoch=9,
        purpose=purpose,
    )
    record.measurements += [
        Measurement(epoch=e, value=value if e == epochs else 0.5) for e in range(1, epochs + 1)
    ]
    return record


def numbers(trials):
    return [t.number for t in trials]


def test_trained_longest_comes_before_better():
    pruned = trial(1, 0.99, epochs=3, state=TrialState.PRUNED)
    complete = trial(0, 0.6)
    assert numbers(ranked([pruned, complete], "maximize")) == [0, 1]
    assert best_trial([pruned, complete], "maximize") is complete


def test_suspended_trials_compete_at_their_length():
    suspended = trial(1, 0.9, epochs=5, state=TrialState.RUNNING)
    pruned = trial(0, 0.8, epochs=3, state=TrialState.PRUNED)
    assert best_trial([pruned, suspended], "maximize") is suspended


def test_ties_go_to_the_lower_number():
    assert numbers(ranked([trial(4, 0.7), trial(2, 0.7), trial(3, 0.8)], "maximize")) == [3, 2, 4]


def test_minimize_turns_the_order_round():
    trials = [trial(0, 0.3), trial(1, 0.1), trial(2, 0.2)]
    assert numbers(ranked(trials, "minimize")) == [1, 2, 0]


def test_failed_and_unstarted_trials_never_win():
    failed = trial(0, 0.99, state=TrialState.FAILED)
    unstarted = trial(1, 0.0, epochs=0, state=TrialState.RUNNING)
    assert ranked([failed, unstarted], "maximize") == []
    assert best_trial([failed, unstarted], "maximize") is None
    assert finalists([failed, unstarted], "maximize", 3) == []


def test_finalists_are_of_the_largest_budget_and_include_the_default():
    trials = [
        trial(0, 0.55), trial(1, 0.9, epochs=3, state=TrialState.PRUNED),
        trial(2, 0.7), trial(3, 0.8), trial(4, 0.6),
    ]  # fmt: skip
    assert numbers(finalists(trials, "maximize", 2)) == [3, 2, 0]
    assert numbers(finalists(trials, "maximize", 4)) == [3, 2, 4, 0]
    assert numbers(finalists([*trials, trial(5, 0.1, epochs=10)], "maximize", 2)) == [5]


def test_mean_over_seeds_decides_among_repeated_trials():
    first, second, third = trial(0, 0.80), trial(1, 0.78), trial(2, 0.75)
    repeats = [
        trial(3, 0.60, purpose="confirm", params=first.params),
        trial(4, 0.76, purpose="confirm", params=second.params),
    ]
    assert best_trial([first, second, third, *repeats], "maximize") is second
    assert mean_over_seeds(first, repeats, "maximize") == pytest.approx(0.70)
    assert mean_over_seeds(second, repeats, "maximize") == pytest.approx(0.77)
    assert mean_over_seeds(third, repeats, "maximize") is None


def test_equal_means_go_to_the_lower_number():
    first, second = trial(0, 0.6), trial(1, 0.8)
    repeats = [
        trial(2, 0.8, purpose="confirm", params=first.params),
        trial(3, 0.6, purpose="confirm", params=second.params),
    ]
    assert best_trial([second, first, *repeats], "maximize") is first


def test_a_repeat_that_was_cut_off_does_not_count():
    first, second = trial(0, 0.80), trial(1, 0.78)
    cut = trial(2, 0.1, epochs=4, purpose="confirm", params=first.params, state=TrialState.RUNNING)
    assert mean_over_seeds(first, [cut], "maximize") is None
    assert best_trial([first, second, cut], "maximize") is first


def test_a_repeat_that_failed_is_no_number():
    first, second = trial(0, 0.80), trial(1, 0.78)
    failed = trial(2, 0.1, purpose="confirm", params=first.params, state=TrialState.FAILED)
    assert mean_over_seeds(first, [failed], "maximize") is None
    assert best_trial([first, second, failed], "maximize") is first
