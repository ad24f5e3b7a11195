"""The greedy choice and what is left out, against numbers worked out by hand."""

import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmarks.learn_portfolio import (
    choose,
    compare,
    coordinates,
    left_out,
    matrix_of,
    reached,
    read_matrix,
    smoothed,
    trials_to,
    without_portfolio,
)

SHARES = np.array(
    [
        [0.5, 1.0, 0.6, 0.5],
        [0.6, 0.5, 0.9, 1.0],
        [0.7, 0.7, 1.0, 0.8],
    ]
)
"""Three data sets, four configurations; number 0 is the default, with a mean of 0.6."""


def test_each_choice_adds_most_to_the_mean_of_the_best():
    # Alone beside the default: 1 gives (1.0 + 0.6 + 0.7) / 3 = 0.767, 2 gives 0.833, 3 gives 0.767.
    # Then beside 2: 1 gives (1.0 + 0.9 + 1.0) / 3 = 0.967, 3 gives 0.867; then 3 gives 1.0.
    assert choose(SHARES, 8) == [0, 2, 1, 3]
    assert choose(SHARES, 2) == [0, 2]


def test_the_choice_begins_anew_once_all_data_sets_have_their_best():
    assert choose(np.array([[0.5, 1.0, 0.8, 0.9], [0.5, 1.0, 0.9, 0.4]]), 5) == [0, 1, 2, 3]


def test_the_choice_ends_where_nothing_is_better_than_the_default():
    assert choose(np.array([[1.0, 0.9], [0.8, 0.8]]), 5) == [0]


def test_the_best_of_the_first_trials_and_when_it_is_good_enough():
    curve = reached(SHARES[0], [0, 2, 1], 4)
    assert curve == [0.5, 0.6, 1.0, 1.0]
    assert trials_to(curve) == 3
    assert trials_to(curve[:2]) == math.inf
    assert trials_to([0.98]) == 1


def recording(values, sources, families):
    """Runs of two seeds; only the first one counts."""
    runs = [
        {"data": data, "index": index, "seed": seed, "value": [0.0, value * seed]}
        for data, row in values.items()
        for index, value in enumerate(row)
        for seed in (1, 2)
        if value is not None
    ]
    configs = [{"source": s, "params": {"x": n}} for n, s in enumerate(sources)]
    data = {name: {"family": family} for name, family in families.items()}
    search = {"ranges": {"x": {"low": 0, "high": 4, "log": False}}}
    return {"kind": "toy", "search": search, "data": data, "configs": configs, "runs": runs}


VALUES = {
    "a": [0.25, 0.5, 0.3, 0.25, 0.5],
    "b": [0.24, 0.2, 0.36, 0.4, None],
    "c": [0.56, 0.56, 0.8, 0.64, 0.1],
}
SOURCES = ("default", "compiled", "design 0", "design 1", "compiled")
FAMILIES = {"a": "one", "b": "one", "c": "two"}


def test_a_recording_becomes_shares_of_the_best_without_what_is_not_everywhere(tmp_path):
    file = tmp_path / "toy.json.gz"
    file.write_bytes(gzip.compress(json.dumps(recording(VALUES, SOURCES, FAMILIES)).encode()))
    matrix = read_matrix(file)
    assert matrix.names == ("a", "b", "c")
    assert matrix.shares == pytest.approx(SHARES)
    assert [config["params"]["x"] for config in matrix.configs] == [0, 1, 2, 3]
    assert matrix.bests == pytest.approx([0.5, 0.4, 0.8])


def test_a_data_set_says_nothing_about_the_portfolio_that_it_judges():
    matrix = matrix_of(recording(VALUES, SOURCES, FAMILIES))
    curves = left_out(matrix, matrix.names)
    # Without a: 2 gives (0.9 + 1.0) / 2 beside the default, then 3 gives (1.0 + 1.0) / 2.
    assert curves[0][:4] == pytest.approx([0.5, 0.6, 0.6, 0.6])
    # Without a and b: 2 is best on c, behind it stands 3.
    assert left_out(matrix, matrix.families)[1][:3] == pytest.approx([0.6, 0.9, 1.0])


def test_what_stands_beside_it_begins_with_the_default_too():
    matrix = matrix_of(recording(VALUES, SOURCES, FAMILIES))
    assert without_portfolio(matrix, "design") == [[0, 2], [0, 3]]
    assert set(map(tuple, without_portfolio(matrix, "compiled"))) == {(0, 1)}
    found = compare(matrix)
    assert len(found["designed start"]) == 6
    assert found["designed start"][1][:2] == [0.5, 0.5]


def test_numbers_options_and_what_does_nothing_become_coordinates():
    matrix = matrix_of(recording(VALUES, SOURCES, FAMILIES))
    ranges = {"x": {"low": 0.01, "high": 1.0, "log": True}}
    own = ({"loss": "b", "x": 0.1}, {"loss": "a"}, {"loss": "b", "x": 1.0})
    configs = tuple({"source": "", "params": params} for params in own)
    points = coordinates(replace(matrix, configs=configs, search={"ranges": ranges}))
    assert points == pytest.approx(np.array([[0, 1, 0.5], [1, 0, 0.5], [0, 1, 1.0]]))


def test_the_noise_of_single_trainings_is_mostly_taken_away():
    rng = np.random.default_rng(3)
    true = np.array([0.8 - 0.4 * (n / 40 - 0.6) ** 2 for n in range(41)])
    noisy = {"a": list(true + rng.normal(0.0, 0.03, 41))}
    data = recording(noisy, ["compiled"] * 41, {"a": "one"})
    data["search"]["ranges"]["x"]["high"] = 40
    matrix = matrix_of(data)
    kept = smoothed(matrix)
    values = kept.shares[0] * kept.bests[0]
    assert abs(values - true).mean() < 0.5 * abs(np.array(noisy["a"]) - true).mean()
    assert abs(kept.bests[0] - 0.8) < 0.02 < matrix.bests[0] - 0.8
