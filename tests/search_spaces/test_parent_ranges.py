"""Parents make room for children, and what cannot have room together is refused."""

import random

import pytest

from search_spaces import Overlay, RangeError, compile_space, load_schema
from tests.search_spaces.building import number, schema_of, space_of


def points(space, count=500):
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(count)]


def test_parent_is_cut_so_that_the_child_always_fits():
    nodes = {
        "a.a": number(0.0, 1.0, 0.5),
        "b.b": number(0.0, 0.6, 0.55, "> depends_on", depends_on="a.a"),
    }
    space = space_of(nodes)
    assert all(p["a.a"] < p["b.b"] <= 0.6 for p in points(space))


def test_parent_of_options_loses_those_without_room():
    nodes = {
        "a.a": {"type": "ordered_int", "enum": [2, 8, 32], "default": 8},
        "b.b": number(1, 20, 15, "> depends_on", kind="int", depends_on="a.a"),
    }
    assert {p["a.a"] for p in points(space_of(nodes))} == {2, 8}


def test_parent_keeps_only_values_with_a_multiple_in_the_child_s_range():
    nodes = {
        "d.per_class": number(2, 12, 4, kind="int"),
        "t.batch": number(60, 64, 60, kind="int"),
    }
    space = space_of(nodes, multiple_of={"t.batch": ("d.per_class", 2)})
    seen = {(p["d.per_class"], p["t.batch"]) for p in points(space, 2000)}
    legal = {(k, b) for k in range(2, 13) for b in range(60, 65) if b % k == 0}
    assert seen == legal
    assert any(
        "d.per_class: searched over [2, 3, 4, 5, 6, 7, 8, 9, 10, 12]" in w for w in space.warnings
    )


def test_options_of_a_child_decide_over_its_parent():
    nodes = {"d.per_class": number(2, 12, 4, kind="int"), "t.batch": {"type": "int", "default": 8}}
    space = compile_space(
        load_schema(schema_of(nodes, ["d.per_class"])),
        overlay=Overlay(options={"t.batch": (9, 16)}),
        multiple_of={"t.batch": ("d.per_class", 2)},
    )
    seen = {(p["d.per_class"], p["t.batch"]) for p in points(space)}
    assert seen == {(2, 16), (3, 9), (4, 16), (8, 16)}


def test_kernel_of_a_given_range_bounds_the_image():
    nodes = {
        "d.kernel": {"type": "list_3", "default": [15, 15], "depends_on": "m.h"},
        "m.h": number(32, 512, 224, kind="int"),
    }
    space = space_of(nodes, overlay=Overlay(ranges={"d.kernel": (11, 21, None)}))
    for point in points(space):
        assert 11 <= point["d.kernel"][0] <= 21
        assert point["d.kernel"][0] <= point["m.h"] // 10


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            {
                "a.p": number(0, 9, 3, kind="int"),
                "a.q": number(0, 9, 6, kind="int"),
                "a.x": number(0, 9, 5, "> a.p < a.q", kind="int"),
            },
            r"a\.x: must be > a\.p and < a\.q; search over one",
        ),
        (
            {
                "a.p": {"type": "categorical", "enum": ["x", "y"], "default": "x"},
                "a.x": number(0, 9, 5, "> depends_on", kind="int", depends_on="a.p"),
            },
            r"a\.x: is measured by a\.p, which is not a number",
        ),
        (
            {
                "a.p": number(50, 90, 60, kind="int"),
                "a.x": number(0, 9, 5, "> depends_on", kind="int", depends_on="a.p"),
            },
            r"a\.p: leaves no room for a\.x, which must be > a\.p",
        ),
        (
            {
                "a.p": number(0, 9, 5, kind="int"),
                "a.x": {
                    "type": "list_1_backbone",
                    "default": [1],
                    "maximum": 9,
                    "math_cond": "< depends_on",
                    "depends_on": "a.p",
                },
            },
            r"a\.x: must be < a\.p, but a list cannot be compared",
        ),
    ],
)
def test_what_cannot_have_room_is_refused(nodes, message):
    with pytest.raises(RangeError, match=message):
        space_of(nodes)
