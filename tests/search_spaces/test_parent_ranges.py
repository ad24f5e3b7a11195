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


def with_batch(instances: dict, batch: int, least: int = 1, **options):
    """The images per class are searched beside a batch size that every trial shares."""
    nodes = {"d.per_class": instances, "t.batch": number(1, 512, batch, kind="int")}
    schema = load_schema(schema_of(nodes, ["d.per_class"]))
    multiple = {"t.batch": ("d.per_class", least)}
    return compile_space(schema, multiple_of=multiple, **options)


@pytest.mark.parametrize(
    ("batch", "least", "legal"),
    [(32, 1, {2, 4, 8}), (24, 1, {2, 3, 4, 6, 8}), (24, 4, {2, 3, 4, 6}), (49, 1, {7})],
)
def test_parent_keeps_only_divisors_of_a_child_that_is_not_searched(batch, least, legal):
    space = with_batch(number(2, 8, 4, kind="int"), batch, least)
    drawn = {p["d.per_class"] for p in points(space) if p} | {pin.value for pin in space.pinned}
    assert drawn == legal
    told = f"searched over {sorted(legal)}, so that t.batch = {batch} fits"
    assert any(told in text for text in space.warnings)


def test_divisors_are_kept_of_what_a_given_range_options_or_conditions_leave():
    whole = number(1, 64, 4, kind="int")
    given = with_batch(whole, 48, overlay=Overlay(ranges={"d.per_class": (5, 20, None)}))
    assert {p["d.per_class"] for p in points(given)} == {6, 8, 12, 16}
    named = with_batch(whole, 48, overlay=Overlay(options={"d.per_class": (3, 5, 7, 16)}))
    assert {p["d.per_class"] for p in points(named)} == {3, 16}
    even = with_batch(number(1, 64, 4, "/ 2 != 8", kind="int"), 48)
    assert {p["d.per_class"] for p in points(even)} == {2, 4, 6, 12, 16, 24, 48}
    with pytest.raises(
        RangeError, match=r"d\.per_class: no value has a multiple that t\.batch = 7"
    ):
        with_batch(number(2, 6, 4, kind="int"), 7)


def test_parent_that_divides_in_any_case_is_searched_as_before():
    space = with_batch(number(1, 4, 2, kind="int"), 24)
    assert space.warnings == ()
    assert space.digest == space_of({"d.per_class": number(1, 4, 2, kind="int")}).digest


def test_parent_stays_on_its_multiples_when_it_makes_room():
    nodes = {
        "a.p": number(0, 30, 6, "/ 4", kind="int"),
        "b.c": number(0, 11, 10, "> depends_on", kind="int", depends_on="a.p"),
    }
    drawn = points(space_of(nodes))
    assert {p["a.p"] for p in drawn} == {0, 4, 8}
    assert all(p["a.p"] < p["b.c"] for p in drawn)


def test_parent_leaves_out_the_only_value_of_a_child_that_must_differ():
    node = number(1, 4, 2, kind="int")
    for other in ({"const": 3, "default": 3}, number(3, 3, 3, kind="int")):
        child = {"type": "int", "math_cond": "!= a.p", **other}
        for searched in (["a.p"], ["a.p", "b.c"]):
            space = space_of({"a.p": node, "b.c": child}, searched)
            assert {p["a.p"] for p in points(space)} == {1, 2, 4}


def test_child_with_an_excluded_end_has_room_all_the_same():
    nodes = {
        "a.p": number(0, 9, 3, kind="int"),
        "b.c": number(0, 5, 2, "> depends_on != 5", kind="int", depends_on="a.p"),
    }
    assert all(p["a.p"] < p["b.c"] < 5 for p in points(space_of(nodes)))


@pytest.mark.parametrize(("op", "end"), [("<=", 0.0), (">=", 2.0)])
def test_child_whose_end_is_excluded_leaves_its_parent_less(op, end):
    nodes = {
        "a.p": number(0.0, 2.0, 1.0),
        "b.c": number(0.0, 2.0, 1.0, f"{op} depends_on != {end}", depends_on="a.p"),
    }
    space = space_of(nodes)
    corners = [space.from_unit((x, y)) for x in (0.0, 1.0) for y in (0.0, 1.0)]
    for point in [*points(space), *corners]:
        assert point["b.c"] != end
        assert point["b.c"] <= point["a.p"] if op == "<=" else point["b.c"] >= point["a.p"]


def test_parent_that_would_have_to_lie_beyond_its_own_end_is_refused():
    nodes = {
        "a.p": number(0.3, 0.8, 0.5),
        "b.c": number(0.0, 0.8, 0.3, "> depends_on", depends_on="a.p"),
    }
    with pytest.raises(RangeError, match=r"a\.p: leaves no room for b\.c, which must be > a\.p"):
        space_of(nodes, ["a.p"])


def test_share_of_a_parent_stays_in_its_bounds():
    nodes = {
        "a.p": number(0, 100, 40, kind="int"),
        "b.c": number(5, 9, 6, "/ 3", kind="int", depends_on="a.p"),
    }
    drawn = points(space_of(nodes))
    assert {p["b.c"] for p in drawn} == {5, 6, 7, 8, 9}
    assert all(p["b.c"] == p["a.p"] // 3 for p in drawn)
    alone = space_of(nodes, ["a.p"])
    assert any(
        "b.c: stays 6, and should be = a.p // 3; search it, too" in w for w in alone.warnings
    )
    with pytest.raises(
        RangeError, match=r"b\.c: is 13, which follows from .* must lie in \[5, 9\]"
    ):
        space_of(nodes, ["b.c"])
    nodes["b.c"]["math_cond"] += " != 7"
    with pytest.raises(RangeError, match=r"b\.c: must be = a\.p // 3, which leaves no other"):
        space_of(nodes)


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
