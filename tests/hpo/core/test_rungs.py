import pytest

from hpo.core.rungs import best_by, curve_of, measure_rungs, rank_correlation
from hpo.core.trial import Measurement, TrialRecord, TrialState
from tests.count_calls import count_calls


def trial(number, values, *, start=1, state=TrialState.COMPLETE, start_from=None, **more):
    lines = [Measurement(epoch=start + i, value=v) for i, v in enumerate(values)]
    return TrialRecord(
        number=number, state=state, params={}, latents={}, until_epoch=9, measurements=lines,
        start_from=start_from, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "correlation"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),  # 1 - 6 * 4 / (5 * 24)
        ([1, 1, 2], [1, 1, 2], 1.0),
        ([1, 1, 1], [1, 2, 3], 0.0),
        # Wikipedia's example of IQ against hours of television.
        ([106, 100, 86, 101, 99, 103, 97, 113, 112, 110], [7, 27, 2, 50, 28, 29, 20, 12, 6, 17], -29 / 165),
    ],
)  # fmt: skip
def test_rank_correlation(first, second, correlation):
    assert rank_correlation(first, second) == pytest.approx(correlation)


def test_a_rung_that_knows_the_end():
    whole = [trial(n, [n / 10, n / 10, n / 5]) for n in range(7)]
    stopped = [trial(n, [0.0], state=TrialState.PRUNED) for n in (7, 8)]
    (rung,) = measure_rungs([*whole, *stopped], "maximize")
    assert (rung.epoch, rung.stopped, rung.in_full) == (1, 2, 7)
    assert rung.correlation == pytest.approx(1.0)
    assert str(rung) == (
        "epoch 1 stopped 2 trials; its order agrees with the final one by 1.00 (rank correlation of 7 trials trained in full)"
    )


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_a_rung_that_misleads_is_said_to_be_unreliable(direction, sign):
    whole = [trial(n, [-sign * n / 100, sign * (1 + n)]) for n in range(6)]
    (rung,) = measure_rungs([*whole, trial(9, [0.0], state=TrialState.PRUNED)], direction)
    assert rung.correlation == pytest.approx(-1.0)
    assert rung.is_unreliable
    assert "UNRELIABLE, try --pruner none" in str(rung)
    assert rung.to_dict()["unreliable"]


def test_few_trials_in_full_say_nothing():
    whole = [trial(n, [n, n]) for n in range(5)]
    (rung,) = measure_rungs([*whole, trial(9, [0.0], state=TrialState.PRUNED)], "maximize")
    assert rung.correlation is None
    assert (
        str(rung)
        == "epoch 1 stopped 1 trial; 5 trials trained in full: too few to tell whether it stops the right ones"
    )


def test_the_value_at_a_rung_is_the_best_so_far():
    curve = {1: 0.5, 2: 0.2, 3: 0.9}
    assert [best_by(curve, e, "maximize") for e in (1, 2, 3)] == [0.5, 0.5, 0.9]
    assert [best_by(curve, e, "minimize") for e in (1, 2, 3)] == [0.5, 0.2, 0.2]
    assert best_by({2: 0.1}, 1, "maximize") is None


def test_a_curve_goes_on_over_trials():
    first = trial(0, [0.1, 0.2, 0.3])
    second = trial(1, [0.4, 0.5], start=3, start_from=(0, 2))
    third = trial(2, [0.6], start=5, start_from=(1, 4))
    trials = {t.number: t for t in (first, second, third)}
    assert curve_of(third, trials) == {1: 0.1, 2: 0.2, 3: 0.4, 4: 0.5, 5: 0.6}


def test_rung_trials_count_where_nobody_went_on_with_them():
    first = [trial(n, [n / 10]) for n in range(9)]
    on = [trial(10 + n, [n / 10 + 1], start=2, start_from=(n, 1)) for n in range(3, 9)]
    (rung,) = measure_rungs([*first, *on], "maximize")
    assert (rung.epoch, rung.stopped, rung.in_full, rung.correlation) == (1, 3, 6, pytest.approx(1))


def test_failed_trials_and_repeats_are_left_out():
    whole = [trial(n, [n, n]) for n in range(6)]
    noise = [
        trial(7, [5.0], state=TrialState.FAILED),
        trial(8, [5.0], state=TrialState.PRUNED, purpose="confirm"),
    ]
    assert measure_rungs([*whole, *noise], "maximize") == []
    assert measure_rungs([], "maximize") == []


def test_curves_are_made_once_for_all_rungs():
    whole = [trial(n, [n] * 9) for n in range(100)]
    stopped = [trial(100 + n, [0.0] * (1 + n), state=TrialState.PRUNED) for n in range(4)]
    assert len(measure_rungs([*whole, *stopped], "maximize")) == 4
    assert count_calls(measure_rungs, [*whole, *stopped], "maximize", of="curve_of") == 100
