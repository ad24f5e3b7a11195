"""Quirks of the published files, in schemas written down here: options and defaults."""

import random

from search_spaces import Integer
from tests.search_spaces.building import number, space_of


def values(space, name, count=300):
    rng = random.Random(0)
    return {space.sample(rng)[name] for _ in range(count)}


def first(node, **options):
    space = space_of({"a.x": node}, **options)
    return space.default()["a.x"], space.warnings


def test_default_that_is_no_option_is_replaced_and_reported():
    node = {"type": "categorical", "enum": ["MultiStep", "Cosine"], "default": "MultiStepLR"}
    value, warnings = first(node)
    assert value == "MultiStep"
    assert any("instead of the default 'MultiStepLR'" in text for text in warnings)


def test_default_spelled_otherwise_is_the_option():
    assert first({"type": "categorical", "enum": ["True", "False"], "default": True}) == (
        "True",
        (),
    )
    assert first({"type": "categorical", "enum": ["KL\n", "MSE"], "default": "KL"}) == ("KL", ())
    assert first({"type": "categorical", "enum": ["None", "a"], "default": None}) == ("None", ())
    assert first({"type": "categorical", "enum": ["a", "None"], "default": ""}) == ("None", ())


def test_ordered_options_are_an_index():
    for kind, options in (("ordered", ["s", "m", "l"]), ("ordered_int", [2, 8, 32])):
        space = space_of({"a.x": {"type": kind, "enum": options, "default": options[1]}})
        assert space.dimensions == (Integer("a.x", 0, 2),)
        assert [space.decode({"a.x": k})["a.x"] for k in range(3)] == options


def test_enum_on_a_whole_number_is_an_order():
    space = space_of({"a.x": {"type": "int", "enum": [224, 518], "default": 224}})
    assert values(space, "a.x") == {224, 518}
    assert space.dimensions == (Integer("a.x", 0, 1),)


def test_truth_values_are_a_fair_choice():
    space = space_of({"a.x": {"type": "bool", "default": True}})
    assert values(space, "a.x") == {True, False}
    assert space.default() == {"a.x": True}


def test_texts_and_lists_of_the_default_list_are_left_out_with_a_warning():
    nodes = {
        "a.x": number(0.0, 1.0, 0.5),
        "a.text": {"type": "string", "default": "hello"},
        "a.list": {"type": "list", "default": [0.9, 0.999]},
        "a.off": number(0.0, 1.0, 0.5, automl_enabled=False),
    }
    space = space_of(nodes)
    assert [item.name for item in space.parameters] == ["a.x"]
    for name in ("a.text", "a.list", "a.off"):
        assert any(text.startswith(f"{name}: is listed") for text in space.warnings), name


def test_mandatory_value_has_no_default_to_start_from():
    node = {"type": "float", "minimum": 0.0, "maximum": 1.0, "default": "???"}
    value, warnings = first(node)
    assert value == 0.5
    assert any("a.x: has no default" in text for text in warnings)
    assert first(node, spec={"a": {"x": 0.25}})[0] == 0.25


def test_number_without_bounds_is_searched_around_its_default_with_a_warning():
    space = space_of({"a.x": {"type": "int", "default": 256}})
    assert space.dimensions == (Integer("a.x", 64, 1024, log=True),)
    assert any("a.x: unbounded in the schema" in text for text in space.warnings)


def test_minimum_only_in_the_condition():
    space = space_of({"a.x": number(None, 1.0, 0.5, "> 0.0")})
    assert all(0 < value <= 1 for value in values(space, "a.x"))


def test_conjunction_holds_on_both_sides():
    space = space_of({"a.x": number(None, None, 0.5, "> 0.0 <= 1.0")})
    drawn = values(space, "a.x", 2000)
    assert all(0 < value <= 1 for value in drawn)
    assert not any("unbounded" in text for text in space.warnings)


def test_default_of_the_wrong_type_is_reported():
    value, warnings = first(number(0.0, 1.0, "auto"))
    assert value == 0.5
    assert any("a.x: its default 'auto' is not a number" in text for text in warnings)


def test_mark_of_a_parent_is_not_needed_and_changes_nothing():
    nodes = {
        "m.a": number(1, 50, 10, kind="int"),
        "m.b": number(1, 90, 60, "> depends_on", kind="int", depends_on="m.a"),
    }
    marked = {**nodes, "m.a": {**nodes["m.a"], "parent_param": "TRUE"}}
    assert space_of(nodes).digest == space_of(marked).digest


def test_dependency_without_a_condition_only_orders():
    nodes = {
        "m.a": number(1, 90, 60, kind="int", depends_on="z.z"),
        "z.z": number(1, 50, 10, kind="int"),
    }
    space = space_of(nodes)
    assert {item.name for item in space.parameters} == {"m.a", "z.z"}
    assert any("m.a: depends on z.z, but no condition says how" in text for text in space.warnings)
