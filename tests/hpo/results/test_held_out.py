"""The winner beside the default on held-out queries, against figures by hand."""

import numpy as np
import pytest

from hpo.core.held_out import HeldOut
from hpo.results.held_out import weigh

METRIC = "val_p1"


def outcome(hits, value=None, classes=None):
    told = {"hits": hits, "metrics": {METRIC: sum(hits) / len(hits) if value is None else value}}
    return told if classes is None else {**told, "query_classes": classes}


def test_a_difference_is_taken_query_by_query():
    rng = np.random.default_rng(4)
    hard = rng.random(400) < 0.5  # no model gets these
    winner = [bool(not h) for h in hard]
    default = list(winner)
    right = [i for i, hit in enumerate(winner) if hit]
    for index in right[:20]:
        default[index] = False
    found = weigh([outcome(winner), outcome(default)], METRIC, "maximize")
    assert found.value == pytest.approx(sum(winner) / 400)
    assert found.gain == pytest.approx(20 / 400)
    # By hand: 20 of 400 differ, all for the winner; the standard error of that share is 0.0109.
    error = (0.05 * 0.95 / 400) ** 0.5
    low, high = found.gain_interval
    assert low == pytest.approx(0.05 - 1.96 * error, abs=0.004)
    assert high == pytest.approx(0.05 + 1.96 * error, abs=0.004)
    wide = found.interval[1] - found.interval[0]
    assert high - low < wide / 2  # not paired, it would be wider than the interval of one alone


def test_a_default_that_is_ahead_is_a_loss():
    winner, default = [True] * 60 + [False] * 40, [True] * 70 + [False] * 30
    found = weigh([outcome(winner), outcome(default)], METRIC, "maximize")
    assert found.gain == pytest.approx(-0.1)
    assert found.gain_interval[0] < -0.1 < found.gain_interval[1] < 0


def test_means_over_classes_are_drawn_within_their_class():
    hits, classes = [True] * 90 + [False] * 5 + [True] * 5, ["a"] * 90 + ["b"] * 10
    found = weigh([outcome(hits, value=0.75, classes=classes)], METRIC, "maximize")
    assert found == HeldOut(value=0.75, interval=found.interval)
    # Class a is always right; b's share of ten has a standard error of 0.158, halved in the mean.
    assert found.interval[1] - found.interval[0] == pytest.approx(2 * 1.96 * 0.158 / 2, abs=0.06)


def test_without_hits_there_are_no_intervals_and_losses_are_turned():
    plain = [{"metrics": {METRIC: 0.3}}, {"metrics": {METRIC: 0.5}}]
    found = weigh(plain, METRIC, "minimize")
    assert found.words("loss") == "loss 0.3000; the default 0.5000: -0.2000 (less is better)"
    assert (found.value, found.default, found.gain, found.gain_interval) == (
        0.3,
        0.5,
        pytest.approx(0.2),
        None,
    )
    assert weigh([{"metrics": {"other": 1.0}}], METRIC, "maximize") is None
