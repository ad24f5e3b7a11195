"""Ranges that go further, against ends worked out by hand."""

import pytest

from search_spaces import Overlay
from search_spaces.widening import place_in_range, widened
from tests.search_spaces.building import number, space_of

LOG = number(0.0, 1.0, 1e-3, "> 0.0")
"""Searched two decades around its default: log 1e-5 .. 1e-1."""


def only(node, **options):
    (parameter,) = space_of({"a.x": node}, **options).parameters
    return parameter


def test_places_are_counted_in_the_scale_of_the_range():
    parameter = only(LOG)
    assert [place_in_range(parameter, v) for v in (1e-5, 1e-3, 1e-1)] == pytest.approx([0, 0.5, 1])
    linear = only(number(0.0, 2.0, 1.0))
    assert place_in_range(linear, 0.5) == pytest.approx(0.25)


def test_values_of_before_the_range_was_changed_lie_at_an_end_or_nowhere():
    parameter = only(LOG)
    assert [place_in_range(parameter, v) for v in (0.0, -1.0, 5)] == pytest.approx([0, 0, 1])
    assert [place_in_range(parameter, v) for v in ("adam", True, [0.1])] == [None] * 3


def test_half_of_the_width_is_added_in_that_scale():
    assert widened(only(LOG), "low") == pytest.approx((1e-7, 1e-1))


def test_no_range_leaves_what_the_schema_allows():
    assert widened(only(LOG), "high") == pytest.approx(
        (1e-5, 1.0)
    )  # 10 would be half as much again
    whole = only(number(0.0, 2.0, 1.0))
    assert (widened(whole, "low"), widened(whole, "high")) == (None, None)


def test_no_range_leaves_what_the_spec_demands():
    node = number(1, 10000, 10, kind="int")
    capped = only(node, limits={"a.x": (None, 15)})
    assert (widened(capped, "low"), widened(capped, "high")) == (None, None)
    changed = Overlay(ranges={"a.x": (2, 8, True)})
    assert widened(only(node, limits={"a.x": (None, 15)}, overlay=changed), "high") == (2, 15)


def test_an_open_end_of_the_schema_is_not_reached():
    parameter = only(
        number(0.0, 1.0, 0.3, "> 0.0"), overlay=Overlay(ranges={"a.x": (0.2, 0.6, False)})
    )
    low, high = widened(parameter, "low")
    assert 0.0 < low < 0.01
    assert high == 0.6
    assert widened(parameter, "high") == pytest.approx((0.2, 0.8))


def test_whole_numbers_stay_whole():
    parameter = only(number(1, 10000, 10, kind="int"))  # log int 1 .. 1000
    assert widened(parameter, "low") is None
    assert widened(parameter, "high") == (1, 10000)


def test_options_and_reflected_scales_have_no_place():
    reflected = only(number(0.0, 1.0, 0.95, "> 0.0"))
    options = only({"type": "categorical", "enum": ["x", "y"], "default": "x"})
    assert place_in_range(reflected, 0.9) is None
    assert place_in_range(options, "x") is None
    assert (widened(reflected, "high"), widened(options, "low")) == (None, None)
