"""Leads and medians of simulated searches against numbers worked out by hand."""

import numpy as np
import pytest

from tests.benchmarks.policy_runs import Outcome
from tests.benchmarks.policy_tables import lead, middle, summarize, tables


def outcome(*points, epochs=1080, trials=40):
    """A search whose best was worth so much from so many epochs on."""
    trace = [(spent, n, float(spent), truth) for n, (spent, truth) in enumerate(points, start=1)]
    return Outcome(trace=trace, epochs=epochs, trials=trials)


def test_a_lead_is_bounded_by_the_t_distribution():
    # Gains 1, 2, 3: mean 2, standard error 1 / sqrt(3); t(0.95, 2) = 2.920 (any table of it).
    found = lead(np.array([1.0, 2.0, 3.0]))
    assert found["mean"] == 2.0
    assert found["error"] == pytest.approx(0.5774, abs=1e-4)
    assert found["upper"] == pytest.approx(2.0 + 2.920 * 0.57735, abs=1e-3)


def test_the_median_of_epochs_is_none_where_half_never_get_there():
    runs = [outcome((100, 0.5)), outcome((300, 0.5)), outcome((700, 0.4))]
    assert middle(runs, 0.5) == 300
    assert middle(runs, 0.45) == 300
    assert middle([*runs, outcome((900, 0.1))], 0.45) is None


def test_values_are_paired_by_seed_and_those_of_trials_are_of_searches_of_their_own():
    runs = {}
    for seed, (ours, other) in enumerate([(0.50, 0.52), (0.40, 0.44), (0.30, 0.36)]):
        runs["far", "auto", seed, None] = outcome((80, 0.1), (200, ours))
        runs["far", "tpe", seed, None] = outcome((80, 0.1), (100, other))
        for trials in (5, 10, 20, 40):
            runs["far", "auto", seed, trials] = outcome((30, trials / 100), epochs=90)
            runs["far", "tpe", seed, trials] = outcome((30, 0.10), epochs=90)
    runs["far", "bohb", 0, None] = outcome((20, 0.9))  # not for every seed: left out
    found = summarize(
        "far",
        runs,
        ["auto", "tpe", "bohb"],
        seeds=range(3),
        epochs=(90, 180, 270, 540, 1080),
        best_known=0.5,
    )
    assert list(found["policies"]) == ["auto", "tpe"]
    assert [e["mean"] for e in found["leads"]["tpe"]["epochs"]] == [0.0, 0.34, 0.04, 0.04, 0.04]
    assert [e["mean"] for e in found["leads"]["tpe"]["trials"]] == [0.05, 0.0, -0.1, -0.3]
    assert found["policies"]["auto"]["epochs_to"] == {"95%": None, "99%": None}
    text = tables("far", found)
    assert (
        "| auto | 0.100 (0.100 to 0.100) | 0.100 (0.100 to 0.100) | 0.400 (0.350 to 0.450)" in text
    )
    assert "| tpe | +0.000 (at most +0.000) | +0.340 (at most +0.475) |" in text
