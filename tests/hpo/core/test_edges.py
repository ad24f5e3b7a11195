from dataclasses import replace

import pytest

from hpo.core.edges import Edge, find_edges
from hpo.core.trial import Measurement, TrialRecord, TrialState
from tests.quick_runs import quick_space, quick_study

LOW, INSIDE = 1e-5, 1e-3
"""The low end of train.lr (log 1e-5 .. 1e-1; the schema allows any rate above 0), and its middle."""


def trial(number, value, lr, *, epochs=9, margin=1.0):
    params = {"train.lr": lr, "train.margin": margin, "train.width": 64}
    curve = [Measurement(epoch=e, value=value) for e in range(1, epochs + 1)]
    state = TrialState.COMPLETE if epochs == 9 else TrialState.PRUNED
    return TrialRecord(
        number=number, state=state, params=params, latents={}, until_epoch=9, measurements=curve
    )


def found(rates, direction="maximize", **changes):
    """Edges of trials whose values fall by their place, so that the first is the best."""
    sign = 1.0 if direction == "maximize" else -1.0
    trials = [trial(i, sign * (1 - i / 10), lr, **changes) for i, lr in enumerate(rates)]
    return find_edges(quick_space(), trials, direction)


def test_the_best_trials_at_an_end_are_told_with_a_range_that_goes_further():
    (edge,) = found([LOW, LOW, INSIDE, LOW, INSIDE])
    assert (edge.name, edge.end, edge.at) == ("train.lr", "low", LOW)
    assert str(edge) == (
        "train.lr: the best trials lie at the low end of its range (1e-05); "
        "to look further: --range train.lr=1e-07..0.1,log"
    )
    assert found([LOW, LOW, INSIDE, LOW, INSIDE], direction="minimize") == [edge]


def test_the_best_one_must_be_among_them():
    assert found([INSIDE, LOW, LOW, LOW, LOW]) == []


def test_two_of_five_may_be_chance():
    assert found([LOW, LOW, INSIDE, INSIDE, INSIDE]) == []


def test_worse_trials_and_shorter_ones_do_not_count():
    best = [INSIDE] * 5
    assert found([*best, LOW, LOW, LOW]) == []
    long = [trial(i, 0.5, INSIDE) for i in range(3)]
    short = [trial(9 + i, 0.9, LOW, epochs=3) for i in range(5)]
    assert find_edges(quick_space(), [*long, *short], "maximize") == []


def test_too_few_trials_say_nothing():
    assert found([LOW, LOW]) == []
    assert found([]) == []


def test_an_end_that_the_schema_sets_is_no_narrow_range():
    assert found([INSIDE] * 5, margin=2.0) == []


def test_a_range_of_the_users_own_can_be_widened():
    study = quick_study()
    ranges = {"train.margin": [0.5, 1.0]}
    study = replace(study, search=replace(study.search, ranges=ranges))
    trials = [trial(i, 1 - i / 10, INSIDE, margin=1.0) for i in range(5)]
    (edge,) = find_edges(quick_space(study), trials, "maximize")
    assert (edge.name, edge.end) == ("train.margin", "high")
    assert edge.wider == pytest.approx((0.5, 2**0.5))  # a range without a scale is logarithmic here


@pytest.mark.parametrize(
    ("wider", "said"),
    [((1024, 987654), "1024..987654"), ((0.00123456, 0.987654), "0.001235..0.9876"),
     ((0.0012344, 0.98766), "0.0012344..0.98766"), ((1e-7, 16777217), "1e-07..16777217")],
)  # fmt: skip
def test_a_range_that_goes_further_lies_within_what_the_schema_allows(wider, said):
    assert f"--range x={said}" in str(Edge(name="x", end="high", at=0.5, wider=wider, is_log=False))
