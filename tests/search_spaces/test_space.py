import json
import random

import pytest

from search_spaces import Choice, Integer, Overlay, PointError, Real
from tests.search_spaces.building import number, space_of

NODES = {
    "a.rate": number(0.0, 1.0, 1e-3, "> 0.0"),
    "a.count": number(1, 8, 4, kind="int"),
    "b.name": {"type": "categorical", "enum": ["x", "y"], "default": "x"},
}


@pytest.fixture
def space():
    return space_of(NODES)


def test_dimensions_stand_in_the_order_of_parameters(space):
    assert space.dimensions == (
        Real("a.rate", 1e-5, 0.1, log=True),
        Integer("a.count", 1, 8),
        Choice("b.name", ("x", "y")),
    )


def test_validate_tells_every_problem(space):
    with pytest.raises(PointError) as caught:
        space.validate({"a.rate": 0.5, "a.count": 2.0, "b.nam": "x"})
    assert [text.split(":")[0] for text in caught.value.problems] == [
        "b.nam",
        "a.rate",
        "a.count",
        "b.name",
    ]
    assert "did you mean b.name?" in str(caught.value)


def test_validate_knows_pinned_values():
    space = space_of(NODES, overlay=Overlay(fixed={"b.name": "y"}))
    space.validate({"a.rate": 0.01, "a.count": 2, "b.name": "y"})
    with pytest.raises(PointError, match=r"b\.name: is pinned to 'y'"):
        space.validate({"a.rate": 0.01, "a.count": 2, "b.name": "x"})


def test_missing_latent_is_named(space):
    with pytest.raises(PointError, match=r"a\.count: has no latent"):
        space.decode({"a.rate": 0.01, "b.name": "x"})


def test_encode_moves_numbers_inside_and_refuses_unknown_options(space):
    latents = space.encode({"a.rate": 0.9, "a.count": 99, "b.name": "y"})
    assert latents == {"a.rate": 0.1, "a.count": 8, "b.name": "y"}
    with pytest.raises(PointError, match="must be one of"):
        space.encode({"a.rate": 0.01, "a.count": 1, "b.name": "z"})
    with pytest.raises(PointError, match=r"a\.count: has no value"):
        space.encode({"a.rate": 0.01})


@pytest.mark.parametrize(("parent", "inside"), [(50, 10), (-3, 1), (7, 7)])
def test_child_is_encoded_beside_the_parent_that_was_moved_inside(parent, inside):
    nodes = {
        "a.p": number(1, 10, 5, kind="int"),
        "a.q": number(1, 100, 60, "> depends_on", kind="int", depends_on="a.p"),
        "a.r": {"type": "int", "enum": [2, 20, 60], "math_cond": "> a.p"},
    }
    space = space_of(nodes)
    moved = space.decode(space.encode({"a.p": parent, "a.q": 60, "a.r": 60}))
    assert moved == {"a.p": inside, "a.q": 60, "a.r": 60}
    lowest = space.decode(space.encode({"a.p": parent, "a.q": inside, "a.r": 2}))
    assert lowest == {"a.p": inside, "a.q": inside + 1, "a.r": 2 if inside < 2 else 20}


def test_drawn_slots_survive_the_way_back():
    node = {"type": "categorical", "enum": ["x", "y"], "option_weights": [0.75, 0.25]}
    space = space_of({"b.name": node})
    drawn = {"b.name": "x#2"}
    assert space.encode(space.decode(drawn), latents=drawn) == drawn
    assert space.encode({"b.name": "x"}) == {"b.name": "x#0"}
    assert space.encode({"b.name": "y"}, latents=drawn) == {"b.name": "y#0"}


MANY = {
    **NODES,
    "c.size": {"type": "ordered_int", "default": 2, "enum": [1, 2, 4]},
    "c.list": {"type": "categorical", "default": [1, 2], "enum": [[1, 2], [3]]},
}


def test_a_point_of_the_space_is_left_as_it_was_drawn():
    weighted = {**MANY["b.name"], "option_weights": [0.75, 0.25]}
    space = space_of({**MANY, "b.name": weighted})
    for latents in space.design(8, random.Random(3)):
        values = json.loads(json.dumps(space.decode(latents)))  # as a record holds it
        assert space.refit(values, latents) == (latents, True)


@pytest.mark.parametrize(
    ("changes", "found", "is_inside"),
    [
        ({"b.name": {"type": "categorical", "enum": ["y", "z"], "default": "y"}}, {}, False),
        ({"b.name": {"type": "categorical", "enum": ["y", "x"], "default": "y"}}, {"b.name": "x"}, True),
        ({"b.name": None}, {}, True),
        ({"b.name": number(0.0, 1.0, 0.5)}, {}, False),
        ({"a.rate": number(0.0, 1.0, 0.5, "> 0.2")}, {"b.name": "x"}, False),
        ({"c.size": {"type": "ordered_int", "default": 2, "enum": [2, 4]}}, {"c.size": 1}, True),
        ({"c.size": {"type": "ordered_int", "default": 2, "enum": [1, 2]}}, {}, False),
        ({"c.size": number(1, 8, 4, kind="int")}, {"c.size": 4}, True),
        ({"d.new": number(0.0, 1.0, 0.25)}, {"d.new": 0.25, "b.name": "x"}, True),
    ],
)  # fmt: skip
def test_a_point_of_before_the_space_was_changed(changes, found, is_inside):
    old = space_of(MANY)
    values = {"a.rate": 0.01, "a.count": 8, "b.name": "x", "c.size": 4, "c.list": [3]}
    drawn = old.encode(values)
    assert drawn["c.size"] == 2  # the place among the options
    new = space_of({k: v for k, v in {**MANY, **changes}.items() if v is not None})
    latents, inside = new.refit(values, drawn)
    assert inside == is_inside
    assert latents.keys() <= {d.name for d in new.dimensions}
    assert found.items() <= latents.items()
    assert latents["a.count"] == 8
    if is_inside:
        kept = {name: value for name, value in values.items() if changes.get(name, 1)}
        assert kept.items() <= new.decode(latents).items()
    else:
        (changed,) = changes
        assert not [name for name in latents if name.startswith(changed)]


def test_unit_cube_and_back(space):
    values = {"a.rate": 1e-3, "a.count": 4, "b.name": "y"}
    unit = space.to_unit(values)
    assert unit == pytest.approx((0.5, 3.5 / 8, 0.75))
    again = space.from_unit(unit)
    assert again["a.rate"] == pytest.approx(1e-3)
    assert (again["a.count"], again["b.name"]) == (4, "y")
    with pytest.raises(PointError, match="needs 3 coordinates"):
        space.from_unit((0.5,))
    assert set(space.from_unit((0.0, 0.0, 0.0)).values()) == {1e-5, 1, "x"}
    assert set(space.from_unit((1.0, 1.0, 1.0)).values()) == {0.1, 8, "y"}


def test_same_seed_same_points(space):
    one, other = random.Random(5), random.Random(5)
    assert [space.sample(one) for _ in range(20)] == [space.sample(other) for _ in range(20)]


def test_json_view_holds_what_varies_and_what_does_not():
    space = space_of(NODES, overlay=Overlay(fixed={"b.name": "y"}))
    data = space.to_json()
    assert [item["name"] for item in data["parameters"]] == ["a.rate", "a.count"]
    assert set(data["parameters"][0]) == {
        "name",
        "type",
        "default",
        "distribution",
        "why",
        "condition",
    }
    assert data["pinned"] == [{"name": "b.name", "value": "y", "reason": "fixed by the user"}]
    assert data["warnings"] == []
