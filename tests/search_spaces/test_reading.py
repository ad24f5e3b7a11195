import json
import math
import random
import sys

import pytest

from search_spaces import SchemaError, load_schema
from tests.search_spaces.building import number, schema_of, space_of


def read(node: dict, **root):
    return load_schema(schema_of({"a.x": node}, **root))


def leaf(node: dict):
    return read(node).leaves["a.x"]


@pytest.mark.parametrize(
    ("published", "synonym"),
    [("float", "number"), ("int", "integer"), ("bool", "boolean"), ("list", "array")],
)
def test_both_vocabularies_of_types_mean_the_same(published, synonym):
    assert leaf({"type": published}).kind == leaf({"type": synonym}).kind


def test_infinity_as_token_and_as_text_bounds_nothing(tmp_path):
    text = json.dumps(schema_of({"a.x": number(0, math.inf, 1), "a.y": number(0, 1, 0.5)}))
    assert "Infinity" in text
    path = tmp_path / "train.schema.json"
    path.write_text(text)
    schema = load_schema(path)
    assert schema.leaves["a.x"].maximum is None
    for spelling in ("inf", "-inf", "Infinity", "", float("nan"), None, sys.float_info.max, -1e308):
        assert leaf({"type": "float", "maximum": spelling, "default": 1.0}).maximum is None


def test_bound_that_is_no_number_is_a_warning():
    schema = read({"type": "float", "minimum": "small", "maximum": True, "default": 1.0})
    assert (schema.leaves["a.x"].minimum, schema.leaves["a.x"].maximum) == (None, None)
    assert any("a.x: minimum 'small'" in text for text in schema.warnings)
    assert any("a.x: maximum True" in text for text in schema.warnings)


def test_list_inside_properties_is_no_parameter():
    data = schema_of({"a.x": number(0, 1, 0.5)})
    data["properties"]["automl_disabled_parameters"] = ["a", "b"]
    schema = load_schema(data)
    assert list(schema.leaves) == ["a.x"]
    assert schema.warnings == ()
    assert schema.disabled == {"a", "b"}


def test_anything_else_inside_properties_is_a_warning():
    data = schema_of({"a.x": number(0, 1, 0.5)})
    data["properties"]["note"] = "hello"
    assert "note: text inside properties" in load_schema(data).warnings[0]


def test_unknown_keys_and_types_are_warnings_never_silence():
    schema = read({"type": "tensor", "frobnicate": 1})
    assert any("a.x: type 'tensor' is not known" in text for text in schema.warnings)
    assert any("a.x: unknown key frobnicate" in text for text in schema.warnings)


def test_first_alternative_decides_unless_bounds_name_the_number():
    union = {"anyOf": [{"type": "number"}, {"type": "array"}], "default": 1e-5}
    assert leaf(union).kind == "float"
    assert leaf(union).allows_list
    assert leaf({"anyOf": [{"type": "bool"}, {"type": "string"}]}).kind == "bool"
    text_first = {"anyOf": [{"type": "string", "enum": ["auto"]}, {"type": "integer"}]}
    assert leaf(text_first).kind == "string"
    assert leaf(text_first).options == ("auto",)
    assert leaf({**text_first, "minimum": 1}).kind == "int"


def test_element_wise_bounds():
    node = leaf({"type": "float", "minimum": [0.0, 0.1], "maximum": [1.0, math.inf]})
    assert (node.minimum, node.maximum) == ((0.0, 0.1), (1.0, None))


def test_marker_of_a_mandatory_value_is_no_default():
    assert leaf({"type": "int", "default": "???"}).default is None


def test_options_lose_stray_line_ends():
    assert leaf({"type": "categorical", "enum": ["KL\n  ", " a"]}).options == ("KL", "a")


def test_older_form_of_depends_on_is_a_condition():
    node = leaf({"type": "int", "depends_on": "> a.parent"})
    assert node.parents == ("a.parent",)
    assert [str(clause) for clause in node.clauses] == ["> a.parent"]


def test_popular_as_flag_as_list_of_children_and_as_tree():
    data = schema_of(
        {"a.x": number(popular=True), "a.y": number(), "b.z": number(), "b.w": number()},
        popular={"b": {"z": 1}},
    )
    data["properties"]["a"]["popular"] = ["y"]
    leaves = load_schema(data).leaves
    assert [name for name, node in leaves.items() if node.is_popular] == ["a.x", "a.y", "b.z"]


def test_root_tree_is_the_spec_and_beats_the_leaf():
    data = schema_of({"a.x": number(0, 1, 0.5)})
    data["default"] = {"a": {"x": 0.25}}
    schema = load_schema(data)
    assert schema.value("a.x") == 0.25
    assert "a.x: its default 0.5 differs from 0.25" in schema.warnings[0]


def test_flagged_parameters_that_the_root_does_not_list_are_reported():
    data = schema_of({"a.x": number(automl_enabled=True), "a.y": number()}, searched=["a.y"])
    schema = load_schema(data)
    assert schema.default_parameters == ("a.y",)
    assert "a.x" in schema.warnings[0]


def test_without_a_root_list_the_flags_decide():
    data = schema_of({"a.x": number(automl_enabled=True), "a.y": number()})
    del data["automl_default_parameters"]
    schema = load_schema(data)
    assert schema.default_parameters == ("a.x",)
    assert "no automl_default_parameters" in schema.warnings[0]


def test_container_without_children_accepts_any_child():
    schema = read({"type": "collection"})
    assert schema.is_free("a.x.anything.below")
    assert not schema.is_free("a.y")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", r"train\.schema\.json: must be JSON"),
        ("[1]", r"train\.schema\.json: must hold a JSON object, got a list"),
        ("{}", r"train\.schema\.json: must hold 'properties'"),
        (
            '{"properties": {"a": {"type": "float", "math_cond": "oops"}}}',
            r"train\.schema\.json: a: math_cond",
        ),
    ],
)
def test_wrong_files_are_one_line_with_the_file(tmp_path, content, message):
    path = tmp_path / "train.schema.json"
    path.write_text(content)
    with pytest.raises(SchemaError, match=message) as caught:
        load_schema(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line_with_the_file(tmp_path):
    with pytest.raises(SchemaError, match=r"nowhere\.json: cannot be read"):
        load_schema(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"type": "categorical", "enum": "a,b"}, "enum must be a list"),
        ({"type": "categorical", "enum": ["a"], "option_weights": [1, 2]}, "option_weights"),
        ({"type": "categorical", "enum": ["a"], "option_weights": [0]}, "option_weights"),
        ({"type": "float", "automl_enabled": "maybe"}, "automl_enabled"),
    ],
)
def test_wrong_keys_are_errors_naming_the_parameter(node, message):
    with pytest.raises(SchemaError, match=f"a.x: {message}"):
        read(node)


@pytest.mark.parametrize(
    ("node", "least", "most", "step"),
    [
        ({"exclusiveMinimum": 0.5, "maximum": 0.9}, 0.5, 0.9, None),
        ({"minimum": 0.25, "exclusiveMaximum": 0.75}, 0.25, 0.75, None),
        ({"minimum": 0.5, "exclusiveMinimum": True, "maximum": 0.9}, 0.5, 0.9, None),
        ({"minimum": 0.25, "maximum": 3.0, "multipleOf": 0.25}, 0.25, 3.0, 0.25),
        (
            {"exclusiveMinimum": -math.inf, "minimum": 0.5, "exclusiveMaximum": "inf"},
            0.5,
            6.0,
            None,
        ),
    ],
)
def test_conditions_of_json_schema_are_kept(node, least, most, step):
    space = space_of({"a.x": node | {"type": "number", "default": 0.6}})
    drawn = [space.sample(random.Random(seed))["a.x"] for seed in range(200)]
    assert all(least <= value <= most for value in drawn)
    assert all(
        value != node.get(f"exclusive{end}") for value in drawn for end in ("Minimum", "Maximum")
    )
    assert step is None or all((value / step).is_integer() for value in drawn)


@pytest.mark.parametrize(
    "wrong", [{"multipleOf": 0}, {"exclusiveMinimum": "x"}, {"multipleOf": [2]}]
)
def test_a_condition_of_json_schema_that_is_none_is_refused(wrong):
    with pytest.raises(SchemaError, match=f"a.x: {next(iter(wrong))} must be a number"):
        leaf({"type": "number", "default": 1.0, **wrong})


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_what_an_alternative_says_counts(word):
    number_or_null = [{"type": "number", "minimum": 0.2, "maximum": 0.4}, {"type": "null"}]
    found = leaf({word: number_or_null, "default": 0.3})
    assert (found.minimum, found.maximum) == (0.2, 0.4)
    assert leaf({word: [{"type": "number", "minimum": 0.2}], "minimum": 0.3}).minimum == 0.3


def test_a_constant_is_the_only_option():
    space = space_of({"a.x": {"type": "int", "const": 3, "default": 2}, "a.y": number(0, 1, 0.5)})
    assert [(pin.name, pin.value) for pin in space.pinned] == [("a.x", 3)]


@pytest.mark.parametrize("key", ["b.c", "", "b\nc"])
def test_a_key_that_no_dotted_name_can_hold_is_told(key):
    properties = {
        "properties": {"a": {"properties": {key: number(0, 1, 0.5), "y": number(0, 1, 0.5)}}}
    }
    schema = load_schema(schema_of({}) | properties)
    assert list(schema.leaves) == ["a.y"]
    assert any(f"a: the key {key!r} cannot be part of a dotted name" in w for w in schema.warnings)


@pytest.mark.parametrize("huge", [10**400, -(10**400)])
def test_a_whole_number_too_large_to_count_with_is_read_as_an_infinite_one(huge):
    assert leaf({"type": "int", "minimum": huge, "maximum": huge, "default": 3}).maximum is None
    space = space_of({"a.x": number(1, 64, huge, kind="int"), "a.y": number(0, 1, 0.5)})
    assert 1 <= space.default()["a.x"] <= 64


@pytest.mark.parametrize(
    ("node", "first"),
    [
        (number(1, 64, "7", kind="int"), 7),
        (number(1e-6, 1, "2e-5"), 2e-5),
        ({"type": "bool", "default": "True"}, True),
    ],
)
def test_a_default_written_as_text_is_the_first_value(node, first):
    space = space_of({"a.x": node})
    assert space.default()["a.x"] == pytest.approx(first)
    assert type(space.default()["a.x"]) is type(first)
    assert not any("a.x" in text for text in space.warnings)


@pytest.mark.parametrize(
    "node",
    [
        {"enum": ["x", "y"], "default": "x"},
        {"anyOf": [{"enum": ["x", "y"]}, {"type": "null"}], "default": "x"},
        {"oneOf": [{"type": "null"}, {"enum": ["x", "y"]}], "default": "x"},
    ],
    ids=json.dumps,
)
def test_options_need_no_type(node):
    (parameter,) = space_of({"a.x": node}).parameters
    assert parameter.distribution["options"] == ["x", "y"]


def test_what_has_neither_type_nor_options_is_said():
    space = space_of({"a.x": {"minimum": 0, "maximum": 1}})
    assert not space.parameters
    assert any("a.x: it has no type" in text for text in space.warnings)
    assert any("a value of no type is not searchable" in text for text in space.warnings)
