"""Noise between validations and between seeds, by hand numbers."""

import math

import pytest

from hpo.core.noise import epoch_noise, near_best, seed_noise
from hpo.core.trial import Measurement, Purpose, TrialRecord, TrialStage, TrialState


def trial(number, values, *, params=None, repeat=False, **more):
    lines = [Measurement(epoch=epoch, value=value) for epoch, value in enumerate(values, 1)]
    return TrialRecord(
        number=number, state=TrialState.COMPLETE, params={"p": number} if params is None else params,
        latents={}, until_epoch=len(values), measurements=lines, value=max(values),
        purpose=Purpose.CONFIRM if repeat else Purpose.SEARCH, **more,
    )  # fmt: skip


def test_validations_are_compared_with_the_mean_of_their_neighbours():
    """Of 1 2 4 3: 2 is .5 below 2.5, 4 is 1.5 above 2.5, and 3/2 of the variance shows in that."""
    noise = epoch_noise([trial(0, [1, 2, 4, 3])])
    assert noise.deviation == pytest.approx(math.sqrt((0.25 + 2.25) / 1.5 / 2))
    assert noise.freedom == pytest.approx(2 * 18 / 35)


def test_only_the_last_third_counts_and_all_trials_together():
    steep = [0, 0, 9, 0, 9, 0, 9, 0, 9, 0, 9, 0]
    assert epoch_noise([trial(0, [*steep, 5, 5, 5, 5, 5, 5])]).deviation == 0
    both = epoch_noise([trial(0, [7, 7, 7, 7]), trial(1, [1, 2, 4, 3])])
    assert both.deviation == pytest.approx(math.sqrt((0.25 + 2.25) / 1.5 / 4))


def test_a_steady_rise_is_no_noise_and_short_curves_tell_nothing():
    assert epoch_noise([trial(0, [0.25, 0.5, 0.75, 1.0])]).deviation == 0
    assert epoch_noise([trial(0, [0.5, 0.7]), trial(1, [0.4])]) is None


def test_independent_noise_is_found_at_its_size():
    import random

    rng = random.Random(5)
    curves = [[0.1 * e + rng.gauss(0, 0.02) for e in range(30)] for _ in range(200)]
    found = epoch_noise([trial(n, curve) for n, curve in enumerate(curves)])
    assert found.deviation == pytest.approx(0.02, rel=0.05)


def test_near_the_best_is_the_better_half_of_those_trained_longest():
    trials = [trial(n, [v] * 4) for n, v in enumerate([0.1, 0.5, 0.4, 0.2, 0.3])]
    trials += [trial(5, [0.9] * 3), trial(6, [0.8] * 4, repeat=True)]
    assert [t.number for t in near_best(trials, "maximize")] == [1, 2, 4]
    assert [t.number for t in near_best(trials, "minimize")] == [0, 3, 4]
    assert near_best([], "maximize") == []


def test_repeats_are_compared_with_their_own_mean_and_the_first_run_is_left_out():
    """.70 .74 lie .02 from their mean, .50 .50 .56 lie .02 .02 .04: .0032 over 1 + 2 degrees."""
    trials = [trial(0, [0.9]), trial(1, [0.6]), trial(2, [0.5])]
    again = [(0, 0.70), (0, 0.74), (1, 0.50), (1, 0.50), (1, 0.56), (2, 0.5)]
    trials += [
        trial(n, [value], params={"p": of}, repeat=True) for n, (of, value) in enumerate(again, 3)
    ]
    noise = seed_noise(trials, "maximize")
    assert noise.deviation == pytest.approx(math.sqrt((2 * 0.0004 + 0.0004 + 0.0004 + 0.0016) / 3))
    assert noise.freedom == 3
    assert seed_noise(trials[:4], "maximize") is None


def test_repeats_of_one_configuration_from_two_parents_are_two_groups():
    """.70 .74 and .50 .52, each from a parent of its own: (.0008 + .0002) over 1 + 1 degrees."""
    stages = [TrialStage(parent=1), TrialStage(parent=2)]
    trials = [trial(n, [0.9], params={"p": 0}, stage=s) for n, s in enumerate(stages, 3)]
    again = [(0, 0.70), (1, 0.50), (0, 0.74), (1, 0.52)]
    trials += [
        trial(n, [value], params={"p": 0}, repeat=True, stage=stages[of])
        for n, (of, value) in enumerate(again, 5)
    ]
    noise = seed_noise(trials, "maximize")
    assert (noise.deviation, noise.freedom) == (pytest.approx(math.sqrt(0.0010 / 2)), 2)
