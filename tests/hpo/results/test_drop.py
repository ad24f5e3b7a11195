"""The expected drop of a winner, against hand numbers and simulated truth."""

import math

import numpy as np
import pytest

from hpo.core.trial import Measurement, Purpose, TrialRecord, TrialState
from hpo.results.drop import expect, smoothed


def trial(number, values, *, of=None, **more):
    lines = [Measurement(epoch=epoch, value=float(value)) for epoch, value in enumerate(values, 1)]
    return TrialRecord(
        number=number, state=TrialState.COMPLETE, params={"p": number if of is None else of},
        latents={}, until_epoch=len(values), measurements=lines, value=float(max(values)),
        purpose=Purpose.SEARCH if of is None else Purpose.CONFIRM, **more,
    )  # fmt: skip


def five_with_repeats(sign=1):
    """Single validations, so that repeats alone tell the noise: .02 from two pairs, .04 apart."""
    values = [0.5, 0.9, 0.7, 0.8, 0.6]
    trials = [trial(n, [sign * v]) for n, v in enumerate(values)]
    again = [(1, 0.84), (1, 0.88), (3, 0.80), (3, 0.76)]
    return trials + [trial(n, [sign * v], of=of) for n, (of, v) in enumerate(again, 5)]


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_by_hand(direction, sign):
    """Noise .0008 of a spread of (.2^2 + .1^2) / 2 = .025 above the middle, .7: a share of .032."""
    found = expect(five_with_repeats(sign), direction, 1)
    share, noise = 0.032, 0.0008
    first = 0.9 - share * 0.2
    variance = noise * (1 - share * 4 / 5) + 2 / 3 * (share * 0.2) ** 2
    weight = variance / (variance + noise / 2)
    level = first + weight * (0.86 - first)
    assert found.noise == pytest.approx(math.sqrt(noise))
    assert found.expected == pytest.approx(sign * level)
    assert found.drop == pytest.approx(0.9 - level)
    assert found.drop_error == pytest.approx(math.sqrt(variance * (1 - weight)))
    assert found.interval == pytest.approx(
        (sign * level - found.drop_error, sign * level + found.drop_error)
    )
    assert (found.value, found.trials, found.repeats, found.tied) == (sign * 0.9, 5, 2, ())


def share_error(share, count):
    """Binomial, with half a hit and half a miss more."""
    known = (share * count + 0.5) / (count + 1)
    return math.sqrt(known * (1 - known) / count)


@pytest.mark.parametrize("level", [0.0001, 1.0])
def test_a_share_of_all_or_none_is_not_certain(level):
    trials = [trial(n, [level, level - 1e-4] * 2) for n in range(3)]
    alone, found = (expect(trials, "maximize", 1, share_of=count) for count in (None, 10))
    assert max(alone.interval) - min(alone.interval) < 0.001
    assert max(found.interval) - min(found.interval) > 0.06


def test_other_pictures_differ_by_chance_too():
    alone = expect(five_with_repeats(), "maximize", 1)
    found = expect(five_with_repeats(), "maximize", 1, share_of=400)
    half = math.hypot(alone.drop_error, share_error(alone.expected, 400))
    assert found.interval == pytest.approx((found.expected - half, found.expected + half))
    assert (found.drop, found.drop_error) == (alone.drop, alone.drop_error)


def test_a_share_is_nowhere_expected_beyond_one():
    found = expect(five_with_repeats(), "maximize", 1, share_of=4)
    error = math.hypot(found.drop_error, share_error(found.expected, 4))
    assert found.expected + error > 1.03
    assert found.interval == pytest.approx((found.expected - error, 1.0))


def test_what_cannot_be_estimated_is_not():
    flat = [trial(n, [v] * 9) for n, v in enumerate([0.5, 0.7, 0.6])]
    assert expect(flat, "maximize", 1) is None  # no noise to see
    short = [trial(n, [v, v]) for n, v in enumerate([0.5, 0.7, 0.6])]
    assert expect(short, "maximize", 1) is None
    noisy = [trial(n, [v, v + 0.1, v, v + 0.1]) for n, v in enumerate([0.5, 0.7, 0.6])]
    assert expect(noisy, "maximize", 1) is not None
    assert expect(noisy[:2], "maximize", 1) is None  # no spread
    longer = [*noisy, trial(3, [0.1] * 5)]
    assert expect(longer, "maximize", 1) is None  # not among those that were trained longest
    assert expect([], "maximize", 0) is None


def searches(rng, count):
    """Trials of true values around .5, a seed's shift and independent validations, each of .02."""
    for _ in range(count):
        true = rng.normal(0.5, 0.03, 12)
        shift = rng.normal(0, 0.02, 12)
        curves = true[:, None] + shift[:, None] + rng.normal(0, 0.02, (12, 9))
        yield true, [trial(n, curve) for n, curve in enumerate(curves)]


def test_the_interval_holds_the_true_drop_two_times_in_three():
    """Where the assumptions hold: 100 searches, so about 68 % give or take 5."""
    rng, found = np.random.default_rng(3), []
    for true, trials in searches(rng, 100):
        best = max(trials, key=lambda t: t.value)
        said = expect(trials, "maximize", best.number)
        found.append((best.value - true[best.number], said.drop, said.drop_error))
    true, said, error = np.array(found).T
    assert said.mean() == pytest.approx(true.mean(), abs=0.003)
    assert 0.60 <= np.mean(np.abs(true - said) <= error) <= 0.76


def test_trials_within_the_noise_are_tied_and_those_far_behind_are_not():
    wiggle = np.array([0, 0.01, 0, 0.01, 0, 0.01, 0, 0.01, 0])
    values = [0.799, 0.80, 0.70, 0.65, 0.60, 0.55, 0.50]
    trials = [trial(n, value + wiggle) for n, value in enumerate(values)]
    assert expect(trials, "maximize", 1).tied == ("the default",)
    trials[0].params = {"p": 9}
    trials.insert(0, trial(0, [0.1]))
    for number, one in enumerate(trials):
        one.number = number
    assert expect(trials, "maximize", 2).tied == ("trial 1",)


def test_a_second_trial_of_the_winners_configuration_is_no_tie_with_it():
    wiggle = np.array([0, 0.01, 0, 0.01, 0, 0.01, 0, 0.01, 0])
    values = [0.50, 0.80, 0.799, 0.798, 0.60, 0.55]
    trials = [trial(n, value + wiggle) for n, value in enumerate(values)]
    trials[2].params = trials[1].params
    assert expect(trials, "maximize", 1).tied == ("trial 3",)


def test_smoothing_lays_a_line_through_five_values():
    curve = np.array([0.1, 0.5, 0.2, 0.8, 0.4, 0.9])
    by_hand = [np.polyval(np.polyfit(range(6)[lo:hi], curve[lo:hi], 1), e)
               for e, (lo, hi) in enumerate([(0, 3), (0, 4), (0, 5), (1, 6), (2, 6), (3, 6)])]  # fmt: skip
    assert smoothed(curve) == pytest.approx(by_hand)
    assert smoothed(np.array([0.3])).tolist() == [0.3]
