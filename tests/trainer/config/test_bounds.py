import math

import pytest

from trainer.config.bounds import Bounds, condition_terms, searched_bounds, valid_bounds
from trainer.config.fields import KeyInfo


def info(**facts):
    return KeyInfo(kind="float", description="", **facts)


@pytest.mark.parametrize(
    ("condition", "terms"),
    [
        ("", []),
        ("> 0.0", [(">", 0.0)]),
        (">0", [(">", 0.0)]),
        (">= 1", [(">=", 1.0)]),
        ("> 0.0 <= 1.0", [(">", 0.0), ("<=", 1.0)]),
        ("< -2.5", [("<", -2.5)]),
    ],
)
def test_condition_is_split_into_comparisons(condition, terms):
    assert condition_terms(condition) == terms


def test_condition_of_another_kind_is_an_error():
    with pytest.raises(ValueError, match="cannot read the condition"):
        condition_terms("^ 2")


def test_strict_condition_opens_the_end_it_meets():
    bounds = searched_bounds(info(minimum=0.0, maximum=1.0, math_cond="> 0.0"))
    assert bounds == Bounds(low=0.0, is_low_open=True, high=1.0)
    assert not bounds.holds(0.0)
    assert bounds.holds(1.0)


def test_upper_condition_opens_the_upper_end():
    bounds = searched_bounds(info(minimum=0.0, maximum=1.0, math_cond="< 1.0"))
    assert (bounds.high, bounds.is_high_open) == (1.0, True)
    assert not bounds.holds(1.0)


def test_tighter_of_bound_and_condition_wins():
    assert searched_bounds(info(minimum=2.0, math_cond="> 1.0")).low == 2.0
    assert searched_bounds(info(minimum=1.0, math_cond="> 2.0")).low == 2.0
    assert searched_bounds(info(maximum=5.0, math_cond="<= 3")).high == 3.0


def test_valid_end_replaces_the_searched_one():
    bounds = valid_bounds(info(minimum=0.0, maximum=1.0, math_cond="> 0.0", valid_min=0.0))
    assert bounds.holds(0.0)
    assert str(bounds) == ">= 0 and <= 1"


def test_no_declaration_means_no_bound():
    assert valid_bounds(info()) == Bounds(low=-math.inf, high=math.inf)
    assert str(Bounds()) == ""
