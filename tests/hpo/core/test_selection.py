import pytest

from hpo.core.selection import (
    best_trial,
    default_trial,
    finalists,
    leading,
    open_repeats,
    ranked,
    repeat_values,
    roles,
    shown_role,
    with_params_of_their_own,
)
from hpo.core.trial import Measurement, TrialRecord, TrialStage, TrialState
from tests.count_calls import count_calls


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


def test_an_open_trial_wins_once_it_is_better_than_all_that_were_trained_longest():
    default, pruned = trial(0, 0.60), trial(1, 0.99, epochs=7, state=TrialState.PRUNED)
    cut = trial(2, 0.71, epochs=5, state=TrialState.RUNNING)
    behind = trial(3, 0.58, epochs=6, state=TrialState.RUNNING)
    trials = [default, pruned, cut, behind]
    assert numbers(ranked(trials, "maximize")) == [2, 0, 1, 3]
    assert numbers(leading(ranked(trials, "maximize"))) == [2, 0]
    # Its repeats would be trained to the end, and so tell of another model than its own.
    assert numbers(finalists(trials, "maximize", 3)) == [0]
    assert numbers(finalists([cut, behind], "maximize", 1)) == [2]
    best = trial(5, 0.72, epochs=6, state=TrialState.RUNNING)
    assert numbers(ranked([*trials, best], "maximize")) == [5, 2, 0, 1, 3]


def test_a_shrinking_value_of_an_open_trial_is_better_where_it_is_lower():
    # Its other epochs show 0.5, so the best by then is what counts.
    default, cut = trial(0, 0.4), trial(1, 0.3, epochs=4, state=TrialState.RUNNING)
    assert numbers(ranked([default, cut], "minimize")) == [1, 0]


def test_the_default_is_judged_by_its_longest_trial_that_did_not_fail():
    def default(*trials):
        found = default_trial([trial(7, 0.9), *trials], "maximize")
        return None if found is None else found.number

    same = {"params": {"lr": 0}}
    failed = trial(0, 0.99, epochs=3, state=TrialState.FAILED)
    stopped = trial(0, 0.5, epochs=3, state=TrialState.PRUNED)
    longer, better = trial(3, 0.4, **same), trial(4, 0.6, **same)
    repeat = trial(5, 0.8, purpose="confirm", **same)
    assert [default(), default(failed), default(trial(0, 0.9, epochs=0))] == [None] * 3
    assert [default(stopped), default(trial(0, 0.2), better, repeat)] == [0, 0]
    assert [default(failed, longer), default(stopped, longer, better)] == [3, 4]
    assert numbers(finalists([trial(7, 0.9), failed, longer, better], "maximize", 1)) == [7, 4]
    assert numbers(finalists([trial(7, 0.9), trial(0, 0.2), better], "maximize", 1)) == [7, 0]
    both = roles([trial(7, 0.9), failed, longer, better], "maximize")
    assert both == {4: "default", 7: "winner"}
    assert roles([failed, longer], "maximize") == {3: "winner and default"}


def test_a_comparison_that_was_made_without_the_default_is_not_opened_again():
    """Earlier releases left out a default that had failed, whatever trained it again."""
    best, failed = trial(7, 0.9), trial(0, 0.3, state=TrialState.FAILED)
    trials = [failed, trial(4, 0.6, params={"lr": 0}), best]
    again = [repeat(8 + n, best, 0.8) for n in range(2)]
    assert numbers(open_repeats([*trials, *again], "maximize", 1)) == [4, 4]
    best.is_chosen = True
    assert open_repeats([*trials, *again], "maximize", 1) == []
    assert numbers(finalists([*trials, *again], "maximize", 1)) == [7]
    # One that is to have more finalists goes on with these, and where it holds the default, too.
    trials.insert(1, trial(1, 0.8))
    assert numbers(open_repeats([*trials, *again], "maximize", 2)) == [1, 1]
    again.append(repeat(10, failed, 0.5))
    assert numbers(open_repeats([*trials, *again], "maximize", 2)) == [1, 4, 1]


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
    assert numbers(finalists([*trials, trial(5, 0.1, epochs=10)], "maximize", 2)) == [5, 0]


def population(*scores):
    """Members of two generations; the second of the last ones copies the first and moves away."""
    first = [trial(1, 0.6, epochs=3), trial(2, 0.5, epochs=3), trial(3, 0.4, epochs=3)]
    last = [
        trial(4, scores[0], params={"lr": 1}), trial(5, scores[1], params={"lr": 1.2}),
        trial(6, scores[2], params={"lr": 3}),
    ]  # fmt: skip
    for record, source in zip(last, (1, 1, 3), strict=True):
        record.start_from = (source, 3)
    return [trial(0, 0.2), *first, *last]


def test_a_trial_whose_parameters_changed_on_the_way_is_not_trained_again_with_its_last_ones():
    trials = population(0.9, 0.8, 0.7)
    assert numbers(finalists(trials, "maximize", 2)) == [4, 6, 0]
    later = trial(7, 0.85, epochs=10, params={"lr": 1.2})
    later.start_from = (5, 9)
    assert with_params_of_their_own([later, *trials], [later, *trials]) == [*trials[:5], trials[6]]


def test_where_the_best_cannot_be_trained_again_there_is_nothing_to_compare_it_with():
    trials = population(0.7, 0.8, 0.6)
    assert finalists(trials, "maximize", 3) == open_repeats(trials, "maximize", 3) == []
    assert best_trial(trials, "maximize").number == 5


def repeat(number, of, value, **changes):
    return trial(number, value, purpose="confirm", params=of.params, **changes)


def test_a_default_trained_in_several_trials_is_compared_by_its_longest():
    params = {"lr": 1e-3}
    rungs = [trial(0, 0.3, epochs=1, params=params), trial(3, 0.4, epochs=3, params=params)]
    assert numbers(finalists([*rungs, trial(1, 0.9), trial(2, 0.8)], "maximize", 2)) == [1, 2, 3]
    with_it = [*rungs, trial(4, 0.7, params=params), trial(1, 0.9)]
    assert numbers(finalists(with_it, "maximize", 2)) == [1, 4]


def child(number, value, parent, **more):
    """A trial that begins with one of an earlier stage."""
    record = trial(number, value, **more)
    record.stage = TrialStage(parent=parent)
    return record


def test_a_configuration_that_was_drawn_twice_is_one_finalist_by_its_better_trial():
    same = {"lr": 0.1}
    trials = [
        trial(0, 0.5), trial(1, 0.8, params=same), trial(2, 0.9, params=same), trial(3, 0.7),
        trial(4, 0.6), trial(5, 0.99, params=same, epochs=3, state=TrialState.PRUNED),
    ]  # fmt: skip
    assert numbers(finalists(trials, "maximize", 2)) == [2, 3, 0]
    assert numbers(open_repeats(trials, "maximize", 2)) == [2, 0, 3, 2, 0, 3]
    again = [repeat(6, trials[2], 0.75), repeat(7, trials[0], 0.5), repeat(8, trials[3], 0.74)]
    assert best_trial([*trials, *again], "maximize") is trials[2]
    assert roles([*trials, *again], "maximize")[6] == "repeat of 2"


def test_the_same_values_from_another_parent_are_another_configuration():
    """Where nothing of a parent's is carried, its children differ in what they begin with alone."""
    same = {"lr": 0.1}
    trials = [
        trial(0, 0.5, params=same), child(3, 0.7, 1, params=same), child(4, 0.8, 2, params=same),
        child(5, 0.6, 2, params=same),
    ]  # fmt: skip
    assert numbers(finalists(trials, "maximize", 3)) == [4, 3, 0]
    assert roles(trials, "maximize") == {0: "default", 4: "winner"}
    again = child(6, 0.9, 1, params=same, purpose="confirm")
    assert best_trial([*trials, again], "maximize") is trials[1]


def test_means_of_the_repeats_decide_and_the_lucky_first_run_does_not_count():
    first, second, third = trial(0, 0.99), trial(1, 0.78), trial(2, 0.75)
    repeats = [repeat(3, first, 0.60), repeat(4, second, 0.76), repeat(5, first, 0.70)]
    assert best_trial([first, second, third, *repeats], "maximize") is second
    assert repeat_values(first, repeats, "maximize") == [0.60, 0.70]
    assert repeat_values(third, repeats, "maximize") == []


def test_repeats_are_compared_over_the_seeds_that_all_of_them_have():
    first, second = trial(0, 0.8), trial(1, 0.8)
    repeats = [repeat(2, first, 0.6), repeat(3, second, 0.5), repeat(4, second, 0.9)]
    assert best_trial([first, second, *repeats], "maximize") is first


def test_equal_means_go_to_the_lower_number():
    first, second = trial(0, 0.6), trial(1, 0.8)
    repeats = [repeat(2, first, 0.7), repeat(3, second, 0.7)]
    assert best_trial([second, first, *repeats], "maximize") is first


def test_a_comparison_decides_whichever_of_the_others_are_looked_at():
    first, second = trial(0, 0.6), trial(1, 0.8)
    repeats = [repeat(2, second, 0.9)]
    assert best_trial([first, second, *repeats], "maximize") is second
    first.is_chosen = True
    failed = trial(3, 0.7, state=TrialState.FAILED)
    assert best_trial([first, second, *repeats, failed], "maximize") is first
    assert best_trial([first, second, *repeats], "maximize") is first
    assert best_trial([first, second], "maximize") is first
    assert best_trial([second, *repeats], "maximize") is second


def test_the_default_is_trial_0_and_no_other_that_stands_first():
    others = [trial(1, 0.9, params={"lr": 2}), trial(2, 0.7, params={"lr": 3})]
    assert roles(others, "maximize") == {1: "winner"}
    failed = trial(0, 0.7, state=TrialState.FAILED, params={"lr": 1})
    assert roles([failed, *others], "maximize") == {0: "default", 1: "winner"}


def test_a_repeat_that_was_cut_off_does_not_count():
    first, second = trial(0, 0.80), trial(1, 0.78)
    cut = repeat(2, first, 0.1, epochs=4, state=TrialState.RUNNING)
    assert repeat_values(first, [cut], "maximize") == []
    assert best_trial([first, second, cut], "maximize") is first


def test_a_repeat_that_failed_is_no_number():
    first, second = trial(0, 0.80), trial(1, 0.78)
    failed = repeat(2, first, 0.1, state=TrialState.FAILED)
    assert repeat_values(first, [failed], "maximize") == []
    assert best_trial([first, second, failed], "maximize") is first


def test_finalists_are_trained_again_in_rounds_the_best_and_the_default_first():
    trials = [trial(0, 0.5), trial(1, 0.8), trial(2, 0.9), trial(3, 0.1)]
    assert numbers(open_repeats(trials, "maximize", 2)) == [2, 0, 1, 2, 0, 1]
    begun = [*trials, repeat(4, trials[2], 0.5), repeat(5, trials[0], 0.5)]
    assert numbers(open_repeats(begun, "maximize", 2)) == [1, 2, 0, 1]
    assert open_repeats([], "maximize", 2) == []


def test_roles_of_winner_default_and_repeats():
    found = [
        trial(0, 0.5, params={"lr": 1}), trial(1, 0.9, params={"lr": 2}),
        trial(2, 0.7, params={"lr": 3}), trial(3, 0.99, epochs=3, params={"lr": 4}),
        trial(4, 0.6, purpose="confirm", params={"lr": 1}),
        trial(5, 0.4, purpose="confirm", params={"lr": 2}),
        trial(6, 0.8, purpose="confirm", params={"lr": 3}),
    ]  # fmt: skip
    assert roles(found[:4], "maximize") == {0: "default", 1: "winner"}
    # Once trained again, the mean over the repeats decides: 0.8 is the best of them.
    again = {4: "repeat of 0", 5: "repeat of 1", 6: "repeat of 2"}
    assert roles(found, "maximize") == {0: "default", 2: "winner", **again}
    assert roles(found[:1], "maximize") == {0: "winner and default"}
    assert roles([], "maximize") == {}


@pytest.mark.parametrize(
    ("role", "status", "shown"),
    [
        ("winner and default", "running", "best so far and default"),
        ("winner", "interrupted", "best so far"),
        ("winner", "finished", "winner"),
        ("repeat of 3", "stopped", "repeat of 3"),
        ("", "running", ""),
    ],
)
def test_what_leads_before_the_end_is_no_winner(role, status, shown):
    assert shown_role(role, status) == shown


def test_roles_of_twice_as_many_trials_take_about_twice_the_work():
    def work(count):
        trials = [trial(n, n / 1000, epochs=1) for n in range(count)]
        trials += [trial(count + n, 0.5, purpose="confirm", params={"lr": n}) for n in (1, 2)]
        return count_calls(roles, trials, "maximize")

    assert work(400) < 3 * work(200)
