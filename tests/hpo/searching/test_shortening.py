"""Which part of a long search is rehearsed, against figures worked out by hand."""

import math

import pytest

from hpo.core.budget import Budget
from hpo.executors.division import Slots
from hpo.searching.shortening import MOST_OF_ALGORITHM, MOST_TRIALS, Part, part_of


def cut(slots=64, gpus=0.0, kept=None, own_trials=None, **limits):
    """Trials usually come to 10 epochs, which take 600 s."""
    places = Slots(count=slots, cpus=1, gpus=gpus, total_cpus=slots, total_gpus=int(slots * gpus))
    return part_of(
        Budget(**limits), places, trial_epochs=10, trial_s=600.0, kept=kept or {},
        own_trials=own_trials,
    )  # fmt: skip


@pytest.mark.parametrize(
    "limits",
    [
        {"trials": MOST_TRIALS},
        {"seconds": 936.0},  # 99.8 trials on 64 slots
        {"epochs": 1000},
        {"trials": 10**9, "epochs": 500},
        {"seconds": 10.0**9, "gpu_seconds": 29_000.0, "gpus": 0.5},
    ],
)
def test_a_short_search_is_rehearsed_whole(limits):
    part = cut(**limits)
    assert part.is_whole
    limits.pop("gpus", None)
    assert part == Part(budget=Budget(**limits), slots=64)


@pytest.mark.parametrize(
    ("limits", "part"),
    [
        ({"trials": 800}, Part(budget=Budget(trials=100), slots=8, times=8.0)),
        ({"seconds": 7500.0}, Part(budget=Budget(seconds=7500.0), slots=8, times=8.0)),
        ({"epochs": 8000}, Part(budget=Budget(epochs=1000), slots=8, times=8.0)),
        (
            {"gpu_seconds": 240_000.0, "gpus": 0.5},
            Part(budget=Budget(gpu_seconds=30_000.0), slots=8, times=8.0),
        ),
        # One slot that trains a quarter as long.
        ({"trials": 25_600}, Part(budget=Budget(trials=100), slots=1, times=256.0, longer=4.0)),
        (
            {"seconds": 240_000.0},
            Part(budget=Budget(seconds=60_000.0), slots=1, times=256.0, longer=4.0),
        ),
        (
            {"seconds": 240_000.0, "epochs": 10**9, "slots": 1},
            Part(
                budget=Budget(seconds=60_000.0, epochs=25 * 10**7), slots=1, times=4.0, longer=4.0
            ),
        ),
    ],
)
def test_of_a_long_one_a_share_of_the_slots_and_then_of_the_time(limits, part):
    assert cut(**limits) == part


def test_what_is_kept_for_repeats_stays_whole():
    kept = {"seconds": 4000.0, "epochs": 600}
    part = cut(seconds=244_000.0, epochs=10**6, kept=kept)
    assert part.budget.seconds == pytest.approx(4000 + 240_000 / part.longer)
    assert part.budget.epochs == pytest.approx(600 + (10**6 - 600) / part.times, abs=1)


def test_scaled_trials_are_those_of_the_budget():
    part = cut(trials=1000)
    assert part.times * part.budget.trials == 1000


def test_what_ends_by_itself_is_rehearsed_whole_whatever_the_budget():
    assert cut(own_trials=MOST_OF_ALGORITHM) == Part(budget=Budget(), slots=64)
    assert cut(trials=10**6, own_trials=451).is_whole
    assert not cut(trials=10**6, own_trials=MOST_OF_ALGORITHM + 1).is_whole


def test_a_part_of_what_nothing_limits_is_never_scaled():
    part = cut()
    assert (part.budget.trials, part.slots, part.times) == (MOST_TRIALS, 64, math.inf)
