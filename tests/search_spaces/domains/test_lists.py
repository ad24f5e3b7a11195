"""Lists, runs, subsets and shares, compiled from schema nodes."""

import random

import pytest

from search_spaces import Choice, Overlay, RangeError
from tests.search_spaces.building import number, space_of


def drawn(space, name, count=500):
    rng = random.Random(0)
    return [space.sample(rng)[name] for _ in range(count)]


def test_steps_are_increasing_and_reach_their_ends():
    space = space_of({"o.steps": {"type": "list_2", "default": [3, 6], "minimum": 1, "maximum": 9}})
    lists = drawn(space, "o.steps", 2000)
    assert all(1 <= one < other <= 9 for one, other in lists)
    assert {one for one, _ in lists} == set(range(1, 9))
    assert {other for _, other in lists} == set(range(2, 10))
    assert [d.name for d in space.dimensions] == ["o.steps[0]", "o.steps[1]"]
    assert space.default() == {"o.steps": [3, 6]}


def test_steps_below_a_searched_parent():
    nodes = {
        "o.steps": {"type": "list_2", "default": [40, 70], "depends_on": "t.epochs"},
        "t.epochs": number(5, 120, 100, kind="int"),
    }
    space = space_of(nodes)
    rng = random.Random(0)
    for _ in range(1000):
        values = space.sample(rng)
        one, other = values["o.steps"]
        assert 1 <= one < other < values["t.epochs"]
    space = space_of(nodes, searched=["o.steps"], spec={"t": {"epochs": 30}})
    assert max(other for _, other in drawn(space, "o.steps")) == 29
    assert space.default() == {"o.steps": [28, 29]}


def test_steps_without_any_bound_are_searched_up_to_twice_the_last_and_reported():
    space = space_of({"o.steps": {"type": "list_2", "default": [35, 45]}})
    assert max(other for _, other in drawn(space, "o.steps", 3000)) <= 90
    assert any("o.steps: unbounded in the schema" in text for text in space.warnings)
    limited = space_of(
        {"o.steps": {"type": "list_2", "default": [35, 45]}}, limits={"o.steps": (1, 20)}
    )
    assert limited.default() == {"o.steps": [19, 20]}
    assert max(other for _, other in drawn(limited, "o.steps")) == 20


def test_betas_keep_the_scale_of_each_element():
    space = space_of({"o.betas": {"type": "list_2", "default": [0.9, 0.999]}})
    pairs = drawn(space, "o.betas", 1000)
    assert all(0 <= one <= other < 1 for one, other in pairs)
    assert sum(other > 0.99 for _, other in pairs) > 400
    assert space.default() == {"o.betas": [0.9, 0.999]}


def test_too_many_steps_for_their_bounds_is_an_error():
    node = {"type": "list_2", "default": [1, 2, 3, 4], "minimum": 1, "maximum": 3}
    with pytest.raises(RangeError, match=r"o\.steps: 4 increasing numbers do not fit"):
        space_of({"o.steps": node})


def test_element_wise_range_of_a_list():
    node = {"type": "list_2", "default": [30, 60]}
    overlay = Overlay(custom_param_ranges={"o.s": {"valid_min": [10, 40], "valid_max": [20, 50]}})
    space = space_of({"o.s": node}, overlay=overlay)
    assert all(10 <= one <= 20 and 40 <= other <= 50 for one, other in drawn(space, "o.s"))


def test_run_of_stages_stays_inside_its_bounds():
    node = {"type": "list_1_backbone", "default": [-1], "minimum": -1, "maximum": 3}
    lists = drawn(space_of({"m.frozen": node}), "m.frozen", 2000)
    expected = {tuple(range(i, j + 1)) for i in range(-1, 4) for j in range(i, 4)}
    assert {tuple(item) for item in lists} == expected


def test_run_without_bounds_is_reported_and_can_be_bounded():
    node = {"type": "list_1_backbone", "default": [0, 1]}
    space = space_of({"m.frozen": node})
    assert any("m.frozen: unbounded" in text for text in space.warnings)
    overlay = Overlay(ranges={"m.frozen": (0, 12, None)})
    assert (
        max(item[-1] for item in drawn(space_of({"m.frozen": node}, overlay=overlay), "m.frozen"))
        == 12
    )


def test_kernel_follows_the_smaller_searched_side():
    nodes = {
        "d.kernel": {"type": "list_3", "default": [15, 15], "depends_on": "m.h,m.w"},
        "m.h": number(32, 512, 224, kind="int"),
        "m.w": number(32, 512, 224, kind="int"),
    }
    space = space_of(nodes)
    assert space.parameters[-1].name == "d.kernel"
    rng = random.Random(0)
    for _ in range(1000):
        values = space.sample(rng)
        one, other = values["d.kernel"]
        smallest = min(values["m.h"], values["m.w"])
        assert one == other
        assert one % 2 == 1
        assert max(1, smallest // 100) <= one <= max(1, smallest // 10)


def test_kernel_without_parents_is_guessed_from_its_default():
    space = space_of({"d.kernel": {"type": "list_3", "default": [5, 5]}})
    assert {one for one, _ in drawn(space, "d.kernel")} == {1, 3, 5, 7, 9, 11}
    assert any("d.kernel: unbounded" in text for text in space.warnings)


def test_subset_has_one_bit_per_option_and_may_be_empty():
    node = {"type": "subset_list", "enum": ["q", "k", "v"], "default": ["q", "v"]}
    space = space_of({"l.modules": node})
    assert space.dimensions == tuple(Choice(f"l.modules[{k}]", (False, True)) for k in range(3))
    assert len({tuple(item) for item in drawn(space, "l.modules")}) == 8
    assert space.default() == {"l.modules": ["q", "v"]}


def test_subset_of_the_user_s_choice():
    node = {"type": "subset_list", "enum": ["q", "k", "v"], "default": ["q"]}
    space = space_of({"l.m": node}, overlay=Overlay(options={"l.m": ("q", "v")}))
    assert {tuple(item) for item in drawn(space, "l.m")} == {(), ("q",), ("v",), ("q", "v")}
    with pytest.raises(RangeError, match=r"l\.m: option 'x' must be one of"):
        space_of({"l.m": node}, overlay=Overlay(options={"l.m": ("q", "x")}))


def test_all_or_nothing():
    node = {"type": "optional_list", "enum": ["head", "norm"], "default": None}
    space = space_of({"l.save": node})
    values = drawn(space, "l.save")
    assert None in values
    assert ["head", "norm"] in values
    assert all(value in (None, ["head", "norm"]) for value in values)
    assert space.default() == {"l.save": None}


def test_vector_with_element_wise_bounds():
    node = {
        "type": "float",
        "default": [0.9, 0.01],
        "minimum": [0.0, 0.0],
        "maximum": [1.0, 0.5],
        "math_cond": "> 0.0",
    }
    space = space_of({"o.v": node})
    pairs = drawn(space, "o.v")
    assert all(0 < one <= 1 and 0 < other <= 0.5 for one, other in pairs)
    assert space.default() == {"o.v": [0.9, 0.01]}
