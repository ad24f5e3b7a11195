import pytest

from hpo.core.trial import Measurement, TrialRecord, TrialState
from hpo.searching.convergence import measure_gain


def trial(number, value, *, seconds=10.0, jitter=0.0, state=TrialState.COMPLETE, **more):
    """Nine epochs; each second one is lower than its neighbours by the jitter."""
    values = [value - jitter, value] * 4 + [value - jitter]
    lines = [Measurement(epoch=e, value=v) for e, v in enumerate(values, 1)]
    return TrialRecord(
        number=number, state=state, params={}, latents={}, until_epoch=9, measurements=lines,
        value=value, seconds=seconds, ended=float(number), **more,
    )  # fmt: skip


def steps(*values, **more):
    return [trial(n, v, **more) for n, v in enumerate(values)]


def test_a_search_that_stands_still_has_converged():
    found = measure_gain(steps(*[0.1, 0.3, 0.5, 0.8] + [0.8] * 16), "maximize")
    assert (found.window_s, found.trials, found.gain, found.noise) == (80.0, 8, 0.0, 0.0)
    assert found.has_converged
    assert str(found) == (
        "the last 1m 20s of training (8 trials) raised the best by 0.0000, no more than the noise of "
        "0.0000 between validations"
    )


def test_a_gain_above_the_noise_goes_on_and_below_it_ends():
    """A validation lies .06 beside the mean of its neighbours, where 3/2 of its variance shows."""
    values = [0.5] * 12 + [0.52] * 8
    assert not measure_gain(steps(*values), "maximize").has_converged
    noisy = measure_gain(steps(*values, jitter=0.06), "maximize")
    assert noisy.noise == pytest.approx(0.06 / 1.5**0.5)
    assert noisy.gain == pytest.approx(0.02)
    assert noisy.has_converged


def test_minimizing_mirrors_maximizing():
    down = [trial(n, -v) for n, v in enumerate([0.5] * 12 + [0.6] * 8)]
    found = measure_gain(down, "minimize")
    assert found.gain == pytest.approx(0.1)
    assert not found.has_converged


def test_the_window_can_be_given():
    values = [0.5] * 15 + [0.9] + [0.9] * 4
    assert measure_gain(steps(*values), "maximize", window_s=40).has_converged
    assert not measure_gain(steps(*values), "maximize", window_s=60).has_converged


@pytest.mark.parametrize("count", [0, 5, 9])
def test_a_few_trials_tell_nothing(count):
    assert measure_gain(steps(*[0.5] * count), "maximize") is None


def test_less_than_two_windows_tell_nothing():
    assert measure_gain(steps(*[0.5] * 15), "maximize") is None
    assert measure_gain(steps(*[0.5] * 15), "maximize", window_s=75) is not None


def test_a_better_value_of_a_short_trial_is_no_gain():
    values = steps(*[0.5] * 19)
    short = trial(19, 0.9, state=TrialState.PRUNED)
    short.measurements = short.measurements[:4]
    assert measure_gain([*values, short], "maximize").gain == 0.0


def test_repeats_and_running_trials_are_left_out():
    others = [
        trial(30, 0.9, purpose="confirm"),
        trial(31, 0.9, state=TrialState.RUNNING),
    ]
    assert measure_gain([*steps(*[0.5] * 20), *others], "maximize").gain == 0.0


def generations(members, count):
    """A default of nine epochs, then generations of three, each of which goes on from the last."""
    trials = [trial(0, 0.5, seconds=9.0)]
    for turn in range(count):
        for _ in range(members):
            number = len(trials)
            source = (number - members, 3 * turn) if turn else None
            made = trial(number, 0.5 + 0.1 * (turn == 2), seconds=3.0, start_from=source)
            made.measurements = made.measurements[3 * turn : 3 * turn + 3]
            made.until_epoch = 3 * turn + 3
            trials.append(made)
    return trials


@pytest.mark.parametrize("window_s", [None, 15])
def test_trials_that_go_on_from_others_count_once_one_has_come_to_the_last_epoch(window_s):
    """Before it nothing but the default could have been the best, however long that stays so."""
    assert measure_gain(generations(20, 2), "maximize", window_s=window_s) is None
    found = measure_gain(generations(20, 3), "maximize", window_s=window_s)
    assert found.window_s == (window_s or 8 * 9.0)  # three times three seconds, as the default
    assert found.gain == (0.0 if window_s else pytest.approx(0.1))


def test_before_the_default_has_ended_nobody_knows_a_full_trial():
    assert measure_gain(generations(20, 3)[1:], "maximize") is None
