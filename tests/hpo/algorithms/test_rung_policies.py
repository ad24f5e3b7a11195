"""Promotions by hand, after the tables of the papers."""

from hpo.algorithms.brackets import Bracket
from hpo.algorithms.rung_policies import AsynchronousHalving, Climber, SynchronousBrackets


def climbers(*values, bracket=0, state="waiting"):
    return [
        Climber(number=n, bracket=bracket, latest=n, state=state, values=[value])
        for n, value in enumerate(values)
    ]


def states(some):
    return [climber.state for climber in some]


def test_a_rung_closes_when_all_of_its_trials_have_ended():
    policy = SynchronousBrackets([Bracket(sizes=(4, 2, 1), rungs=(1, 2, 4))], rounds=1)
    some = climbers(0.1, 0.4, 0.3, 0.2)
    some[3].state, some[3].values = "running", []
    policy.settle(some)
    assert states(some) == ["waiting", "waiting", "waiting", "running"]
    some[3].state, some[3].values = "waiting", [0.35]
    policy.settle(some)
    assert states(some) == ["dropped", "going", "dropped", "going"]


def test_a_failed_one_gives_its_place_to_the_next():
    policy = SynchronousBrackets([Bracket(sizes=(3, 2), rungs=(1, 3))], rounds=None)
    some = climbers(0.9, 0.2, 0.1)
    some[0].state = "failed"
    policy.settle(some)
    assert states(some) == ["failed", "going", "going"]


def test_brackets_are_filled_in_order_and_rounds_end():
    brackets = [Bracket(sizes=(3, 1), rungs=(1, 3)), Bracket(sizes=(2,), rungs=(3,))]
    policy = SynchronousBrackets(brackets, rounds=2)
    assert [policy.bracket_for(n) for n in range(11)] == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, None]
    assert policy.rungs(3) == (3,)
    assert SynchronousBrackets(brackets, rounds=None).bracket_for(12) == 4


def test_the_best_third_goes_on_at_once():
    policy = AsynchronousHalving((1, 3, 9), factor=3)
    some = climbers(0.3, 0.1)
    policy.settle(some)
    assert states(some) == ["waiting", "waiting"]  # floor(2 / 3) is none
    some = climbers(0.3, 0.1, 0.3, 0.2)
    policy.settle(some)
    assert states(some) == ["going", "waiting", "waiting", "waiting"]  # the earlier of equals


def test_asynchronous_halving_ends_by_its_limits():
    policy = AsynchronousHalving((1, 3), factor=3, max_trials=5, min_top=2)
    assert [policy.bracket_for(n) for n in (4, 5)] == [0, None]
    some = climbers(0.1, 0.2, 0.3, state="done")
    some[0].state = "failed"
    assert policy.is_enough(some)
    assert not policy.is_enough(some[:2])
