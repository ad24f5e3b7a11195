"""Narrower ranges: their ends by hand, and that what is proposed in them is spread over them."""

import math
import random
from collections import Counter

import pytest

from hpo.algorithms import create_algorithm
from hpo.algorithms.narrowing import inside, narrowed
from hpo.core.trial import Measurement, TrialState
from search_spaces import Integer, Real
from tests.contracts.searching import record_of
from tests.search_spaces.building import number, space_of

NODES = {
    "a.share": number(0.0, 1.0, 0.5),
    "a.rate": number(0.0, 1.0, 1e-3, "> 0.0"),
    "a.count": number(1, 12, 4, kind="int"),
    "a.width": {**number(8, 64, 16, kind="int"), "multipleOf": 8},
    "b.name": {"type": "categorical", "enum": ["x", "y"], "default": "x"},
}
LIMITS = {"a.share": (0.4, 0.6), "a.rate": (1e-4, 1e-3), "a.count": (5.0, 8.0)}


@pytest.fixture
def space():
    return space_of(NODES)


def cut(space, **limits):
    found = narrowed(space, {name.replace("_", "."): ends for name, ends in limits.items()})
    changed = set(found.dimensions) - set(space.dimensions)
    return changed.pop() if changed else None


def test_ends_are_cut_and_the_scale_stays(space):
    assert cut(space, a_share=(0.4, 0.6)) == Real("a.share", 0.4, 0.6)
    assert cut(space, a_rate=(1e-4, 1e-3)) == Real("a.rate", 1e-4, 1e-3, log=True)
    assert cut(space, a_count=(4.2, 7.9)) == Integer("a.count", 5, 7)
    assert cut(space, a_width=(10.0, 50.0)) == Integer("a.width", 16, 48, step=8)


def test_limits_beyond_a_range_or_between_whole_numbers_leave_the_nearest_value(space):
    assert cut(space, a_share=(0.7, 9.0)) == Real("a.share", 0.7, 1.0)
    assert cut(space, a_share=(5.0, 9.0)) == Real("a.share", 1.0, 1.0)
    assert cut(space, a_count=(6.6, 6.9)) == Integer("a.count", 7, 7)
    assert cut(space, a_width=(18.0, 23.0)) == Integer("a.width", 24, 24, step=8)
    assert cut(space, a_count=(-3.0, -1.0)) == Integer("a.count", 1, 1)
    assert cut(space, b_name=(0.0, 1.0)) is None
    assert cut(space, c_other=(0.0, 1.0)) is None


def test_only_what_lies_inside_is_kept(space):
    latents = {"a.share": 0.4, "a.rate": 2e-3, "a.count": 9, "a.width": 24, "b.name": "y"}
    assert inside(narrowed(space, LIMITS), latents) == {
        "a.share": 0.4, "a.width": 24, "b.name": "y",
    }  # fmt: skip


def algorithm_of(space, name, **options):
    return create_algorithm(
        name, space, direction="maximize", num_epochs=3, seed=7, pruner="none", **options
    )


def test_draws_are_spread_evenly_over_narrowed_ranges(space):
    """Five equal parts (in the logarithm where the scale is one), and every whole number alike."""
    algorithm = algorithm_of(space, "random")
    default = algorithm.ask(0)
    algorithm.narrow(LIMITS)
    drawn = []
    for index in range(1, 601):
        record = record_of(algorithm.ask(index))
        drawn.append(record.latents)
        record.state, record.error = TrialState.FAILED, {"kind": "code", "message": "no"}
        algorithm.tell(record)
    assert default.params == space.default()
    parts = [
        Counter(int((row["a.share"] - 0.4) / 0.04) for row in drawn),
        Counter(int((math.log10(row["a.rate"]) + 4) * 5) for row in drawn),
    ]
    for counted in parts:
        assert sorted(counted) == [0, 1, 2, 3, 4]
        assert all(90 < count < 150 for count in counted.values())
    whole = Counter(row["a.count"] for row in drawn)
    assert sorted(whole) == [5, 6, 7, 8]
    assert all(115 < count < 185 for count in whole.values())
    others = Counter(row["a.width"] for row in drawn)  # which nobody has narrowed
    assert sorted(others) == list(range(8, 65, 8))


@pytest.mark.parametrize(("name", "most"), [("tpe", 0.06), ("bfbo", 0.02), ("mfbo", 0.02)])
def test_a_model_looks_for_what_is_best_between_the_ends(name, most):
    """The highest peak lies outside, at 0.9, so that a model without limits would go there.

    A mean distance from the peak within of 0.05 comes at random, of 0.1 at the ends. What is good
    at all is what `tpe` goes by: inside nothing is, so it keeps to a spread.
    """
    space = space_of({"a.share": NODES["a.share"], "a.count": NODES["a.count"]})
    algorithm, shares = algorithm_of(space, name), []
    for index in range(40):
        record = record_of(algorithm.ask(index))
        share = record.params["a.share"]
        shares.append(share)
        value = (
            math.exp(-(((share - 0.9) / 0.1) ** 2)) + math.exp(-(((share - 0.5) / 0.04) ** 2)) / 2
        )
        for epoch in (1, 2, 3):
            record.measurements.append(Measurement(epoch=epoch, value=value))
            algorithm.report(index, record.measurements[-1])
        record.state, record.value = TrialState.COMPLETE, value
        algorithm.tell(record)
        if index == 14:
            algorithm.narrow({"a.share": (0.4, 0.6)})
    assert max(shares[:15]) > 0.8
    late = shares[15:]
    assert all(0.4 <= share <= 0.6 for share in late)
    assert sum(share in (0.4, 0.6) for share in late) <= 2
    assert sum(abs(share - 0.5) for share in late) / len(late) < most


def test_a_replay_within_narrowed_ranges_goes_on_as_the_search_did(space):
    algorithm = algorithm_of(space, "tpe")
    records = []
    for index in range(16):
        if index == 3:
            algorithm.narrow(LIMITS)
        record = record_of(algorithm.ask(index))
        record.state, record.value = TrialState.COMPLETE, random.Random(index).random()
        algorithm.tell(record)
        records.append(record)
    again = algorithm_of(space, "tpe")
    for record in records:
        again.restore(record)
        again.tell(record)
    again.narrow(LIMITS)
    assert again.ask(16) == algorithm.ask(16)
