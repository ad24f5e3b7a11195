import random
from collections import Counter

import pytest

from search_spaces import Choice, Integer, PointError
from search_spaces.domains.options import Options, Ordinal, count_slots
from search_spaces.relations import Relation


@pytest.mark.parametrize(
    ("weights", "slots"),
    [
        ([0.55, 0.25, 0.15, 0.05], (11, 5, 3, 1)),
        ([0.1, 0.1, 0.4, 0.4], (1, 1, 4, 4)),
        ([0.9, 0.1], (9, 1)),
        ([2, 2, 2], (1, 1, 1)),
        ([1, 3], (1, 3)),
    ],
)
def test_weights_become_the_fewest_slots_that_show_them(weights, slots):
    assert count_slots(weights) == slots


@pytest.mark.parametrize("weights", [[1 / 3, 1 / 7, 1 - 1 / 3 - 1 / 7], [0.999, 0.001], [1, 1e-9]])
def test_odd_weights_come_within_one_slot_in_a_hundred(weights):
    slots = count_slots(weights)
    total = sum(weights)
    assert min(slots) >= 1
    assert sum(slots) <= 101
    for count, weight in zip(slots, weights, strict=True):
        assert abs(count / sum(slots) - weight / total) <= 0.01


def test_slots_are_drawn_in_the_weights_shares():
    domain = Options(options=("a", "b"), slots=(3, 1))
    (shape,) = domain.dimensions("x")
    assert shape == Choice("x", ("a#0", "a#1", "a#2", "b#0"))
    rng = random.Random(0)
    drawn = Counter(domain.decode((shape.from_unit(rng.random()),), {}) for _ in range(4000))
    assert 0.72 < drawn["a"] / 4000 < 0.78


def test_values_that_python_takes_for_each_other_stay_apart():
    domain = Options(options=(1, True, "1", None, 0.5))
    (shape,) = domain.dimensions("x")
    assert len({*map(str, shape.choices)}) == 5 or len(set(shape.choices)) == 5
    for option in domain.options:
        value = domain.decode(domain.encode(option, {}), {})
        assert value == option
        assert type(value) is type(option)
    with pytest.raises(PointError, match="must be one of"):
        domain.encode("other", {})


def test_labels_that_would_coincide_stay_apart():
    domain = Options(options=("1", 1, [1]))
    for option in domain.options:
        assert type(domain.decode(domain.encode(option, {}), {})) is type(option)


def test_order_is_seen_by_the_sampler_and_weights_repeat_places():
    domain = Ordinal(options=(2, 8, 32), slots=(2, 1, 1))
    assert domain.dimensions("x") == (Integer("x", 0, 3),)
    assert [domain.decode((k,), {}) for k in range(4)] == [2, 2, 8, 32]
    for option in (2, 8, 32):
        assert domain.decode(domain.encode(option, {}), {}) == option
    assert domain.clamp(20, {}) in (8, 32)
    assert domain.clamp("text", {}) == 8


def test_options_bounded_by_a_parent_are_a_fraction_of_those_left():
    domain = Ordinal(options=(2, 8, 32), relations=(Relation(op=">", parents=("p",)),))
    values = {"p": 5}
    assert {domain.decode((u,), values) for u in (0.0, 0.4, 0.6, 1.0)} == {8, 32}
    assert domain.problem(2, values).startswith("must be one of [8, 32]")
    for option in (8, 32):
        assert domain.decode(domain.encode(option, values), values) == option
    with pytest.raises(PointError, match="no option"):
        domain.decode((0.5,), {"p": 40})
