"""Small steps from a default that stays the best."""

import json

import numpy as np
import pytest

from hpo.algorithms.close_look import LEAST_WIDTH, WIDTH
from hpo.algorithms.unit_points import point_of
from hpo.core.trial import TrialState
from tests.contracts.searching import EPOCHS, Search
from tests.quick_runs import quick_space
from tests.search_spaces.building import number as numeric
from tests.search_spaces.building import space_of

SPACE = quick_space()
DEFAULT = np.array(point_of(SPACE, SPACE.encode(SPACE.default())))
TOP = DEFAULT + np.array([0.03, -0.02, 0.02])


def cube(params):
    return np.array(point_of(SPACE, SPACE.encode(params)))


def tuned(params, epoch):
    """A smooth hill whose top is a small step from the default; curves rise evenly."""
    return float(np.exp(-20.0 * np.sum((cube(params) - TOP) ** 2))) * epoch / EPOCHS


def untuned(params, epoch):
    """The default lies at the foot of the hill."""
    return float(1.0 - np.abs(cube(params)[0] - 0.95)) * epoch / EPOCHS


def search(**changes):
    given = {"name": "mfbo", "values": tuned, "most": 20, "space": SPACE}
    return Search(**(given | {"context": {"planned_trials": 20}} | changes)).run()


def steps_of(made):
    return {r.number: r.memo["step"] for r in made.records if r.memo and "step" in r.memo}


def test_a_default_that_stays_the_best_is_improved_on_by_small_steps():
    made = search()
    steps, values = steps_of(made), [r.value for r in made.records]
    assert min(steps) == 11
    others = [value for n, value in enumerate(values) if n not in steps and n > 0]
    best = max(steps, key=lambda n: values[n])
    assert max(others) < values[0] < values[best]
    top, start = 1.0, values[0]
    assert values[best] > start + 0.5 * (top - start)


def test_where_epochs_are_counted_steps_begin_after_those_of_eight_full_trials():
    made = search(context={}, most=30)
    first = min(steps_of(made))
    spent = [sum(len(r.measurements) for r in made.records[:n]) for n in (first - 2, first)]
    assert first > 11
    assert spent[0] < 8 * EPOCHS <= spent[1]


def test_every_second_trial_is_a_step_and_is_trained_in_full():
    made = search(slots=3)
    steps = steps_of(made)
    later = [r.number for r in made.records if r.number >= min(steps)]
    assert sorted(steps) == [n for n in later if n % 2]
    assert all(made.records[n].state is TrialState.COMPLETE for n in steps)
    assert any(r.state is TrialState.PRUNED for r in made.records)


def test_a_step_that_was_no_better_is_mirrored_at_its_origin():
    made = search()
    steps = steps_of(made)
    mirrors = {n: s for n, s in steps.items() if s["mirrors"] is not None}
    assert mirrors
    for number, step in mirrors.items():
        first = made.records[step["mirrors"]]
        assert steps[first.number]["origin"] == step["origin"]
        origin = made.records[step["origin"]]
        assert first.value <= origin.value
        middle = (cube(made.records[number].params) + cube(first.params)) / 2
        assert middle == pytest.approx(cube(origin.params), abs=0.002)  # whole numbers are rounded


def test_widths_follow_success():
    steps = steps_of(search())
    for number, step in steps.items():
        tried = sum(
            s["origin"] == step["origin"] and s["mirrors"] is not None
            for n, s in steps.items()
            if n < number
        )
        if step["mirrors"] is not None:
            assert step["width"] == steps[step["mirrors"]]["width"]
            continue
        first = 1.2 * steps[step["origin"]]["width"] if step["origin"] in steps else WIDTH
        assert step["width"] == pytest.approx(max(LEAST_WIDTH, first * 0.7**tried))


def test_where_another_trial_is_better_there_are_no_steps():
    assert steps_of(search(values=untuned)) == {}


def test_steps_are_the_same_after_a_restart_and_in_the_mirror():
    whole, cut = search(slots=2), search(slots=2, stop_after=90)
    assert steps_of(cut)
    assert cut.replayed().run().story() == whole.story()
    mirrored = search(slots=2, direction="minimize")
    assert [r.params for r in mirrored.records] == [r.params for r in whole.records]


def test_a_step_says_what_it_is_in_plain_data():
    made = search()
    number = min(steps_of(made))
    record = made.records[number]
    assert record.note == "a small step from trial 0"
    memo = {"step": {"origin": 0, "width": WIDTH, "mirrors": None}, "runs_in_full": True}
    assert json.loads(json.dumps(record.memo)) == memo


def test_options_stay_what_they_are_in_small_steps():
    """An option that is drawn seldom has a narrow cell, which a step in its coordinate would leave."""
    space = space_of(
        {
            "m.kind": {"type": "categorical", "enum": ["a", "b", "c"], "default": "b",
                       "option_weights": [0.55, 0.4, 0.05]},
            "m.rate": numeric(0.0, 1.0, 0.3),
        }
    )  # fmt: skip

    def best_at_default(params, epoch):
        return (2.0 - (params["m.kind"] != "b") - abs(params["m.rate"] - 0.31)) * epoch / EPOCHS

    made = search(space=space, values=best_at_default, most=60, context={"planned_trials": 60})
    steps = steps_of(made)
    assert len(steps) > 10
    assert {made.records[number].params["m.kind"] for number in steps} == {"b"}


@pytest.mark.parametrize(("kind", "first"), [("over_limit", 21), ("code", 21), ("diverged", 11)])
def test_trials_that_say_nothing_of_the_default_are_not_counted_against_it(kind, first):
    """Ten that were refused, or failed by a fault, leave ten others to be waited for."""
    made = Search(
        "mfbo", values=tuned, most=24, space=SPACE, pruner="none", context={"planned_trials": 24}
    )
    while len(made.records) < 24:
        made.fill()
        (number,) = made.live
        record = made.records[number]
        if 1 <= number <= 10:
            record.error = {"kind": kind, "message": "no"}
            record.state = TrialState.FAILED
            made.live.clear()
            made.algorithm.tell(record)
        else:
            for _ in range(EPOCHS):
                made.step(record)
    assert min(steps_of(made)) == first
