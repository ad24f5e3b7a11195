"""The surrogate against refits without a point, and against the function that made its table."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.recorded_curves import RecordedCurves, read_curves
from tests.benchmarks.surfaces import Recorded
from tests.search_spaces.building import number, space_of

SPACE = space_of(
    {"train.lr": number(0.0, 1.0, 0.001, "> 0.0"), "train.margin": number(0.0, 1.0, 0.5)}
)
EPOCHS = 5
PACKED = Path(__file__).parents[2] / "studies" / "recorded" / "omniglot28.json.gz"


def curve(params):
    """Best at a rate of 1e-3, whatever the margin is."""
    end = 0.8 - 0.1 * (np.log10(params["train.lr"]) + 3) ** 2
    return [float(end * epoch / EPOCHS) for epoch in range(1, EPOCHS + 1)]


def table(num=40, noise=0.0, seeds=(1,)):
    rng = random.Random(5)
    runs = []
    for index in range(num):
        params = SPACE.sample(rng)
        for seed in seeds:
            value = [v + rng.gauss(0, noise) for v in curve(params)]
            runs.append(
                {
                    "index": index,
                    "seed": seed,
                    "params": params,
                    "value": value,
                    "cpu_s": [9.0, 0.5, 0.5, 0.5, 0.5],
                }
            )
    runs.append(
        {"index": num, "seed": 1, "params": SPACE.default(), "value": [0.1], "cpu_s": [1.0]}
    )
    return {"spec": {}, "limits": {}, "num_epochs": EPOCHS, "runs": runs}


def fitted(**changes):
    made = RecordedCurves(table(**changes))
    made.fit(SPACE)
    return made


def test_the_function_is_found_again_and_what_matters_has_the_short_length():
    made = fitted()
    rng = random.Random(9)
    for _ in range(20):
        params = SPACE.sample(rng)
        assert made.predict(params) == pytest.approx(curve(params), abs=0.02)
    assert made.lengths["train.lr"] < made.lengths["train.margin"]
    assert made.best_recorded() == pytest.approx(0.8, abs=0.01)
    assert made.seconds_per_epoch == 0.5


def test_leaving_one_out_equals_a_fit_without_it():
    made = fitted(num=15, noise=0.01)
    whole = table(num=15, noise=0.01)
    for left_out in (0, 7):
        shorter = RecordedCurves(
            {**whole, "runs": [r for r in whole["runs"] if r["index"] != left_out]}
        )
        shorter.fit(SPACE)
        # The same lengths and noise, and the mean curve of all: only the point itself is missing.
        shorter._lengths_D, shorter._mean_E = made._lengths_D, made._mean_E
        noise = made._noise_ME[0, 0] / made._weights_NE[0, 0]
        shorter._weights_NE, _ = shorter._solve(made._lengths_D, noise)
        said = shorter.predict(whole["runs"][left_out]["params"])
        assert said == pytest.approx(np.clip(made._left_out_NE[left_out], 0, 1), abs=1e-6)


def test_the_error_is_that_of_the_noise():
    error = fitted(num=60, noise=0.02).leave_one_out()
    assert error.rmse < 0.05
    assert error.explained > 0.9
    assert error.rank_correlation > 0.9


def test_noise_is_what_seeds_of_one_configuration_differ_by():
    made = fitted(num=30, noise=0.02, seeds=(1, 2, 3))
    assert len(made._noise_ME) == 90
    assert made._noise_ME.std() == pytest.approx(0.02, rel=0.2)


def test_a_replay_is_the_same_for_a_seed_and_another_for_another():
    made = fitted(num=30, noise=0.02, seeds=(1, 2, 3))
    params = SPACE.default()
    first, again = ([e.value for e in made.replay(params, 4)] for _ in range(2))
    assert first == again
    assert any([e.value for e in made.replay(params, seed)] != first for seed in range(5, 9))
    assert all(e.seconds == 0.5 for e in made.replay(params, 4))


def test_a_packed_recording_is_read(tmp_path):
    path = tmp_path / "curves.json.gz"
    path.write_bytes(gzip.compress(json.dumps(table(num=4)).encode()))
    assert len(read_curves(path).runs) == 5


def test_the_recording_that_comes_with_the_project_is_whole():
    """Two hundred configurations, twenty of them with three more seeds; the default is the first."""
    recorded = read_curves(PACKED)
    assert PACKED.stat().st_size < 2_000_000
    assert recorded.runs[0]["source"] == "default"
    seeds = Counter(run["seed"] for run in recorded.runs)
    assert seeds == {1: 200, 2: 20, 3: 20, 4: 20}
    first = [run["index"] for run in recorded.runs if run["seed"] == 1]
    assert sorted(first) == list(range(200))
    for run in recorded.runs:
        assert run["failure"] or len(run["value"]) == recorded.num_epochs
        assert all(0.0 <= value <= 1.0 for value in run["value"])


def test_a_recording_may_search_other_parameters_than_the_schemas():
    surface = Recorded(PACKED.with_name("frozen.json.gz"))
    assert surface.num_epochs == 20
    assert {d.name for d in surface.space.dimensions} == {*surface.table.search["over"]}
    assert surface.table.leave_one_out().rank_correlation > 0.9
    assert 0.5 < surface.truth(surface.space.default()) < surface.best_known < 0.75
