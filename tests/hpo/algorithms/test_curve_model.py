import math

import numpy as np
import pytest

from hpo.algorithms.chooser import InTurns, Observation
from hpo.algorithms.confidence_bound import ConfidenceBound, as_drawn, features_of, points_of
from hpo.algorithms.curve_model import CurveModel, log_improvement
from hpo.algorithms.unit_points import latents_at, point_of
from hpo.core.trial import TrialState
from tests.quick_runs import quick_space
from tests.search_spaces.building import number, space_of

EPOCHS = 9
BEST = (0.7, 0.4, 0.5)


def height(point):
    return 1.0 - sum((u - b) ** 2 for u, b in zip(point, BEST, strict=True))


def observation(number, point, *, epochs=EPOCHS, state=TrialState.COMPLETE, sign=1.0):
    """A trial whose curve rises to its height by the square root of its epochs."""
    space = quick_space()
    latents = latents_at(space, point)
    value = sign * height(point_of(space, latents)) * math.sqrt(epochs / EPOCHS)
    return Observation(
        number=number,
        params=space.decode(latents),
        latents=latents,
        state=state,
        value=value if epochs else None,
        epochs=epochs,
    )


def spread(num, seed=0):
    return np.random.default_rng(seed).random((num, 3)).tolist()


def model(direction="maximize", least=6):
    return CurveModel(quick_space(), direction=direction, seed=1, num_epochs=EPOCHS, least=least)


@pytest.mark.parametrize(
    ("mean", "deviation", "goal"), [(0.0, 1.0, 0.5), (0.3, 0.2, 0.1), (-1.0, 0.5, 0.2)]
)
def test_expected_improvement_equals_the_mean_over_draws(mean, deviation, goal):
    draws = mean + deviation * np.random.default_rng(0).standard_normal(2_000_000)
    expected = np.maximum(draws - goal, 0.0).mean()
    found = log_improvement(np.array([mean]), np.array([deviation]), goal)[0]
    assert found == pytest.approx(math.log(expected), abs=0.05)


def test_expected_improvement_grows_with_the_mean_however_small_it_is():
    means = np.linspace(-30.0, 3.0, 400)
    assert (np.diff(log_improvement(means, np.ones(400), 0.0)) > 0).all()


def test_the_sampler_chooses_until_there_are_trials_enough():
    seen = [observation(i, point) for i, point in enumerate(spread(5))]
    assert model().choose(5, seen).latents is None
    assert model(least=5).choose(5, seen).latents is not None


def test_in_turns_two_trials_are_the_samplers_until_there_are_trials_enough():
    seen = [observation(i, point) for i, point in enumerate(spread(16))]
    chooser = InTurns(model(), until=13)
    chosen = [chooser.choose(number, seen[:number]) for number in range(6, 16)]
    mine = [number for number, one in enumerate(chosen, start=6) if one.latents is not None]
    assert mine == [6, 7, 10, 11, 13, 14, 15]
    assert chosen[1] == model().choose(7, seen[:7])


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_what_is_proposed_lies_near_the_best(direction, sign):
    seen = [observation(i, point, sign=sign) for i, point in enumerate(spread(20))]
    latents = model(direction).choose(20, seen).latents
    proposed = height(point_of(quick_space(), latents))
    assert proposed > max(sign * o.value for o in seen)


def test_stopped_trials_are_not_taken_for_bad_ones():
    """All that lie near the best were stopped early, with values below those of poor full ones."""
    points = spread(30, seed=2)
    near = [point for point in points if height(point) > 0.85]
    seen = [
        observation(i, point, epochs=2, state=TrialState.PRUNED)
        if point in near
        else observation(i, point)
        for i, point in enumerate(points)
    ]
    stopped = [o.value for o in seen if o.state is TrialState.PRUNED]
    full = [o.value for o in seen if o.state is TrialState.COMPLETE]
    assert len(stopped) >= 3
    assert max(stopped) < np.median(full)
    latents = model().choose(30, seen).latents
    assert height(point_of(quick_space(), latents)) > max(full)


def test_running_trials_keep_others_away():
    seen = [observation(i, point) for i, point in enumerate(spread(20))]
    first = model().choose(20, seen).latents
    running = observation(20, point_of(quick_space(), first), epochs=0, state=TrialState.RUNNING)
    second = model().choose(21, [*seen, running]).latents
    gap = np.subtract(point_of(quick_space(), first), point_of(quick_space(), second))
    assert np.linalg.norm(gap) >= 0.1


def few_configurations():
    """Three options, one of which is drawn more often, and four whole numbers."""
    nodes = {
        "m.kind": {"type": "categorical", "enum": ["a", "b", "c"], "default": "a",
                   "option_weights": [0.6, 0.3, 0.1]},
        "m.width": number(1, 4, 2, kind="int"),
    }  # fmt: skip
    return space_of(nodes)


@pytest.mark.parametrize("kind", ["curves", "bound"])
def test_a_configuration_is_not_tried_again_while_there_are_others(kind):
    space = few_configurations()
    chooser = {
        "curves": CurveModel(space, direction="maximize", seed=1, num_epochs=EPOCHS, least=3),
        "bound": ConfidenceBound(space, direction="maximize", seed=1, least=3),
    }[kind]
    seen = []
    for start in range(14):
        point = np.random.default_rng(start).random(len(space.dimensions))
        latents = latents_at(space, point) if start < 3 else chooser.choose(start, seen).latents
        params = space.decode(latents)
        value = params["m.width"] + 0.1 * "abc".index(params["m.kind"])
        is_running = start in {5, 6}
        seen.append(
            Observation(
                number=start, params=params, latents=latents, epochs=EPOCHS,
                value=None if is_running else value,
                state=TrialState.RUNNING if is_running else TrialState.COMPLETE,
            )
        )  # fmt: skip
    tried = [(o.params["m.kind"], o.params["m.width"]) for o in seen]
    first = set(tried[:3])
    assert len(set(tried)) >= len(first) + 7  # of twelve
    assert ("c", 4) in tried


def test_points_of_one_configuration_are_one_point():
    """Adam has no momentum: wherever its coordinate lies, the trial is the same."""
    nodes = {
        "o.name": {"type": "categorical", "enum": ["Adam", "SGD"], "default": "SGD"},
        "o.lr": number(0.0, 1.0, 0.3),
        "o.momentum": number(0.0, 1.0, 0.9),
    }

    def inactive(spec):
        return {"o.momentum": "Adam has none"} if spec["o"]["name"] == "Adam" else {}

    space = space_of(nodes, inactive=inactive)
    names = [dimension.name for dimension in space.dimensions]
    points = np.random.default_rng(0).random((40, 3))
    drawn = as_drawn(space, points)
    for point, row in zip(points, drawn, strict=True):
        params = space.decode(latents_at(space, point))
        column = names.index("o.momentum")
        expected = point.copy()
        if params["o.name"] == "Adam":
            expected[column] = 0.5
        assert row.tolist() == expected.tolist()
    assert 0 < (drawn[:, names.index("o.momentum")] == 0.5).sum() < 40
    assert as_drawn(quick_space(), points) is points


def test_slots_of_one_option_are_one_point_with_one_column():
    """Weights 1, 3, 1 make five slots, of which the middle ones mean the same."""
    option = {"type": "categorical", "enum": ["x", "y", "z"], "option_weights": [1, 3, 1]}
    space = space_of({"a.rate": number(0.0, 1.0, 0.5), "a.kind": option | {"default": "x"}})
    assert len(space.dimensions[1].choices) == 5
    drawn = np.array([[0.3, slot / 5 + 0.1] for slot in range(5)])
    found = features_of(space, drawn) * math.sqrt(2.0)
    assert found[:, 1:].round(9).tolist() == [[1, 0, 0], *[[0, 1, 0]] * 3, [0, 0, 1]]
    points = as_drawn(space, drawn)
    assert (points[1:4] == points[1]).all()
    assert points[[0, 1, 4]] == pytest.approx(drawn[[0, 1, 4]])
    trials = [
        Observation(number=n, params={}, latents=latents_at(space, row), state=TrialState.RUNNING)
        for n, row in enumerate(drawn)
    ]
    assert points_of(space, trials) == pytest.approx(points)


def test_the_same_trials_give_the_same_choice():
    seen = [observation(i, point) for i, point in enumerate(spread(12))]
    assert model().choose(12, seen) == model().choose(12, seen)
    assert model().choose(12, seen) != model().choose(13, seen)
