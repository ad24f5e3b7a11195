"""Weights as a prior: what a sampler that learns makes of repeated slots."""

import random
from collections import Counter

import pytest

from search_spaces import Choice
from tests.search_spaces.building import space_of

optuna = pytest.importorskip("optuna")
CategoricalDistribution = optuna.distributions.CategoricalDistribution
FloatDistribution = optuna.distributions.FloatDistribution

WEIGHTS = {"often": 0.55, "some": 0.25, "few": 0.15, "rare": 0.05}
NUM_SEEDS = 6
NUM_TRIALS = 60


def search(best: str | None, seed: int) -> list[str]:
    """Run one small study over the option and three numbers; return the options it tried."""
    node = {
        "type": "categorical",
        "enum": list(WEIGHTS),
        "option_weights": list(WEIGHTS.values()),
        "default": "often",
    }
    other = {"type": "float", "minimum": 0.0, "maximum": 1.0, "default": 0.5}
    space = space_of({"a.option": node, "a.x": other, "a.y": other, "a.z": other})
    distributions = {
        shape.name: CategoricalDistribution(shape.choices)
        if isinstance(shape, Choice)
        else FloatDistribution(shape.low, shape.high)
        for shape in space.dimensions
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for latents in space.design(10, random.Random(seed)):
        study.enqueue_trial(latents)
    tried: list[str] = []
    for _ in range(NUM_TRIALS):
        trial = study.ask(distributions)
        values = space.decode(trial.params)
        tried.append(values["a.option"])
        gain = 1.0 if values["a.option"] == best else 0.0
        study.tell(trial, gain - sum((values[f"a.{axis}"] - 0.3) ** 2 for axis in "xyz"))
    return tried


def shares(tried: list[list[str]], part: slice) -> dict[str, float]:
    counts = Counter(option for options in tried for option in options[part])
    return {option: counts[option] / counts.total() for option in WEIGHTS}


def test_first_draws_follow_the_weights():
    first = shares([search(None, seed) for seed in range(NUM_SEEDS)], slice(0, 10))
    print("first 10, nothing to gain:", first)
    for option, weight in WEIGHTS.items():
        assert abs(first[option] - weight) <= 0.05 + 1e-9


def test_rare_option_is_found_when_it_is_best():
    tried = [search("rare", seed) for seed in range(NUM_SEEDS)]
    last = shares(tried, slice(-20, None))
    found = sum("rare" in options for options in tried)
    print(f"rare best: tried in {found} of {NUM_SEEDS} studies, last 20:", last)
    assert found == NUM_SEEDS
    assert last["rare"] > 0.5
