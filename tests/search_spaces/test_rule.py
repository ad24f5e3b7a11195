"""The rule against the table of the published network and against hand-made cases."""

import pytest

from search_spaces.rule import Bounds, Scale, choose_interval, keep_interval


def unit(low, high, *, low_open=False, high_open=False):
    return Bounds(low=low, high=high, low_open=low_open, high_open=high_open)


@pytest.mark.parametrize(
    ("bounds", "default", "is_int", "scale", "low", "high"),
    [
        (unit(0.0, 1.0, low_open=True), 3.5e-4, False, Scale.LOG, 3.5e-6, 3.5e-2),
        (unit(0.0, 1.0, low_open=True), 5e-4, False, Scale.LOG, 5e-6, 5e-2),
        (unit(1.0, 10.0), 1.0, False, Scale.LOG, 1.0, 10.0),
        (unit(0.0, 1.0, low_open=True), 0.1, False, Scale.LOG, 1e-3, 1.0),
        (unit(0.0, 1.0, low_open=True), 0.01, False, Scale.LOG, 1e-4, 1.0),
        (unit(1, 10000), 10, True, Scale.LOG, 1, 1000),
        (unit(0.0, 2.0, low_open=True), 0.1, False, Scale.LOG, 1e-3, 2.0),
        (unit(0.0, 2.0, low_open=True), 0.3, False, Scale.LINEAR, 0.002, 2.0),
    ],
)
def test_table_of_the_published_network(bounds, default, is_int, scale, low, high):
    interval = choose_interval(bounds, default, is_int=is_int)
    assert interval.scale is scale
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize(
    ("bounds", "default", "is_int", "why"),
    [
        (unit(0.3, 1.0), 1.0, False, "default 1 is the upper bound of [0.3, 1]: linear"),
        (unit(0.0, 0.3), 0.0, False, "default 0 is the lower bound of [0, 0.3]: linear"),
        (unit(2.0, 8.0), 2.0, False, "default 2 is the lower bound of [2, 8]: log, two decades"),
        (unit(0, 40), 38, True, "default 38 is in the top tenth of [0, 40]: linear"),
        (unit(-4.0, 6.0), -3.5, False, "default -3.5 is in the bottom tenth of [-4, 6]: linear"),
        (unit(0.0, 2.0, low_open=True), 0.1, False, "is in the bottom tenth of (0, 2]: log, two"),
        (unit(0.0, 4.0), 3.9, False, "default 3.9 is in the top tenth of [0, 4]: log of the"),
        (unit(-1.0, 9.0), 3.0, False, "default 3 is well inside [-1, 9]: linear"),
    ],
)
def test_reason_says_where_the_default_lies(bounds, default, is_int, why):
    assert why in choose_interval(bounds, default, is_int=is_int).why


def test_momentum_is_reflected_and_half_of_it_lies_above_0_968():
    interval = choose_interval(unit(0.0, 1.0, low_open=True), 0.9, is_int=False)
    assert interval.scale is Scale.REFLECTED
    assert interval.pivot == 1.0
    assert interval.high == pytest.approx(0.999)
    assert 0 < interval.low <= 0.001 + 1e-12
    middle = 1 - ((1 - interval.low) * (1 - interval.high)) ** 0.5
    assert middle == pytest.approx(0.968, abs=5e-4)


@pytest.mark.parametrize("is_int", [False, True])
def test_no_maximum_takes_a_factor_around_the_default(is_int):
    interval = choose_interval(Bounds(low=1), 10, is_int=is_int)
    factor = 4 if is_int else 10
    assert interval.scale is Scale.LOG
    assert interval.is_guess
    assert (interval.low, interval.high) == (max(1, -(-10 // factor)), 10 * factor)


def test_no_maximum_and_no_default_to_go_by_is_linear():
    assert (choose_interval(Bounds(low=0), 0, is_int=False).high) == 1
    assert (choose_interval(Bounds(low=0), 0, is_int=True).high) == 100
    assert (choose_interval(Bounds(low=5), None, is_int=True).low) == 5


def test_no_bounds_at_all():
    interval = choose_interval(Bounds(), 0.5, is_int=False)
    assert (interval.low, interval.high, interval.scale) == (0.05, 5.0, Scale.LOG)
    interval = choose_interval(Bounds(), None, is_int=False)
    assert (interval.low, interval.high, interval.scale) == (0, 1, Scale.LINEAR)
    interval = choose_interval(Bounds(), -3.0, is_int=False)
    assert interval.low <= -3.0 <= interval.high
    interval = choose_interval(Bounds(high=10), -3.0, is_int=False)
    assert interval.low <= -3.0 < interval.high == 10


def test_absent_default_is_logarithmic_only_over_three_decades():
    assert choose_interval(unit(1e-3, 1.0), None, is_int=False).scale is Scale.LOG
    assert choose_interval(unit(1e-2, 1.0), None, is_int=False).scale is Scale.LINEAR
    assert choose_interval(unit(0.0, 1.0), None, is_int=False).scale is Scale.LINEAR


def test_negative_minimum_and_whole_numbers_are_never_reflected_or_logarithmic():
    assert choose_interval(unit(-1.0, 9.0), 0.0, is_int=False).scale is Scale.LINEAR
    assert choose_interval(unit(0, 100), 95, is_int=True).scale is Scale.LINEAR
    assert choose_interval(unit(0.0, 1.0), 1.0, is_int=False).scale is Scale.LINEAR


def test_open_ends_are_moved_in_by_a_thousandth_of_the_width():
    interval = choose_interval(unit(0.0, 10.0, low_open=True, high_open=True), 5.0, is_int=False)
    assert (interval.low, interval.high) == (0.01, 9.99)


def test_given_range_is_searched_whole():
    schema = unit(0.0, 1.0, low_open=True)
    kept = keep_interval(unit(1e-6, 1e-4), schema, 1e-4, is_int=False, log=None)
    assert (kept.low, kept.high, kept.scale) == (1e-6, 1e-4, Scale.LOG)
    kept = keep_interval(unit(0.2, 0.8), schema, 0.5, is_int=False, log=None)
    assert (kept.low, kept.high, kept.scale) == (0.2, 0.8, Scale.LINEAR)
    kept = keep_interval(unit(0.2, 0.8), schema, 0.25, is_int=False, log=None)
    assert kept.scale is Scale.LOG
    kept = keep_interval(unit(0.2, 0.8), schema, 0.25, is_int=False, log=False)
    assert kept.scale is Scale.LINEAR
    kept = keep_interval(unit(0.2, 0.8), schema, 0.5, is_int=False, log=True)
    assert kept.scale is Scale.LOG


def test_given_range_with_its_default_near_the_top_is_reflected_at_the_schema_s_end():
    kept = keep_interval(unit(0.0, 0.95), unit(0.0, 1.0), 0.9, is_int=False, log=None)
    assert (kept.low, kept.high, kept.scale, kept.pivot) == (0.0, 0.95, Scale.REFLECTED, 1.0)


def test_short_searches_begin_within_a_decade():
    interval = choose_interval(unit(0.0, 1.0, low_open=True), 3.5e-4, is_int=False)
    assert interval.early == pytest.approx((3.5e-5, 3.5e-3))
    interval = choose_interval(unit(0.0, 1.0, low_open=True), 0.9, is_int=False)
    assert interval.early == pytest.approx((0.001, 0.99), abs=1e-9)
    assert choose_interval(unit(0.0, 2.0), 0.3, is_int=False).early is None


def test_bounds_of_whole_numbers_become_closed():
    assert unit(0.0, 4.0, low_open=True, high_open=True).closed_integers() == Bounds(low=1, high=3)
    assert unit(0.5, 3.5).closed_integers() == Bounds(low=1, high=3)
