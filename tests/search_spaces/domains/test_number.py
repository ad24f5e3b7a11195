import math

import pytest

from search_spaces import Integer, PointError, Real
from search_spaces.domains.number import Number
from search_spaces.relations import Relation
from search_spaces.rule import Scale

MOMENTUM = Number(low=0.001, high=0.999, is_int=False, scale=Scale.REFLECTED, pivot=1.0, anchor=0.9)
ABOVE = (Relation(op=">", parents=("p",)),)


def test_reflected_latent_is_the_distance_to_the_pivot():
    (shape,) = MOMENTUM.dimensions("m")
    assert shape.log
    assert (shape.low, shape.high) == pytest.approx((0.001, 0.999))
    assert MOMENTUM.decode((0.05,), {}) == pytest.approx(0.95)
    assert MOMENTUM.decode((0.5,), {}) == 0.5


def test_default_comes_back_bit_for_bit_on_a_scale_that_would_round_it():
    for default in (0.9, 0.99, 0.912345678901234, 0.1 + 0.2):
        number = Number(
            low=0.001, high=0.999, is_int=False, scale=Scale.REFLECTED, pivot=1.0, anchor=default
        )
        assert number.decode(number.encode(default, {}), {}) == default


def test_grid_on_a_logarithmic_scale_is_drawn_by_its_multiple():
    number = Number(low=8, high=64, is_int=True, scale=Scale.LOG, step=4.0)
    assert number.dimensions("b") == (Integer("b", 2, 16, log=True),)
    assert number.decode((3,), {}) == 12
    assert number.encode(12, {}) == (3,)
    assert number.problem(10, {}) == "must be a multiple of 4, got 10"


def test_grid_with_an_offset():
    number = Number(low=3, high=21, is_int=True, step=2.0, offset=1.0)
    (shape,) = number.dimensions("k")
    assert [number.decode((k,), {}) for k in range(shape.low, shape.high + 1, shape.step)] == [
        *range(3, 22, 2)
    ]
    assert number.clamp(8, {}) in (7, 9)


def test_fraction_of_the_room_reaches_both_ends_and_nothing_else():
    number = Number(low=1, high=10, is_int=True, step=1.0, relations=ABOVE)
    assert number.dimensions("x") == (Real("x", 0.0, 1.0),)
    values = {"p": 6}
    drawn = [number.decode((k / 100,), values) for k in range(101)]
    assert drawn == sorted(drawn)
    assert set(drawn) == {7, 8, 9, 10}
    assert [drawn.count(value) for value in (7, 8, 9, 10)] == [25, 25, 25, 26]
    for value in (7, 8, 9, 10):
        assert number.decode(number.encode(value, values), values) == value


def test_strictly_above_a_real_parent():
    number = Number(low=0.0, high=1.0, is_int=False, relations=ABOVE)
    assert number.decode((0.0,), {"p": 0.25}) > 0.25
    assert number.decode((1.0,), {"p": 0.25}) == 1.0
    assert number.problem(0.25, {"p": 0.25}).startswith("must lie in")
    with pytest.raises(PointError, match="no room"):
        number.decode((0.5,), {"p": 1.0})


def test_room_on_a_logarithmic_scale_is_even_in_the_logarithm():
    number = Number(low=1e-6, high=1.0, is_int=False, scale=Scale.LOG, relations=ABOVE)
    middle = number.decode((0.5,), {"p": 1e-4})
    assert middle == pytest.approx(1e-2, rel=0.02)


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, 2, 1.5])
def test_problem_names_wrong_types_and_places(value):
    number = Number(low=3, high=9, is_int=True, step=1.0)
    assert number.problem(value, {}).startswith("must ")


def test_missing_parent_is_named():
    number = Number(low=1, high=10, is_int=True, step=1.0, relations=ABOVE)
    with pytest.raises(PointError, match="p: must be a number"):
        number.decode((0.5,), {"p": "many"})


def test_nothing_lies_between_0_and_the_least_positive_value():
    share = Number(low=0.0, high=1.0, is_int=False, positive_from=0.2, anchor=0.0)
    decoded = [share.decode((k / 100,), {}) for k in range(101)]
    assert decoded == [0.0] * 10 + [0.2] * 11 + [k / 100 for k in range(21, 101)]
    assert all(share.problem(value, {}) == "" for value in decoded)
    assert share.problem(0.15, {}) == "must be 0 or 0.2 and more, got 0.15"
    assert [share.clamp(value, {}) for value in (0.0, 0.05, 0.15, 0.7)] == [0.0, 0.0, 0.2, 0.7]
    assert share.decode(share.encode(0.0, {}), {}) == 0.0
    assert share.describe()["positive_from"] == 0.2
    above = Number(low=0.05, high=1.0, is_int=False, positive_from=0.2)  # a range without 0
    assert above.decode((0.06,), {}) == 0.2
