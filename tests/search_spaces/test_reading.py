import json
import math

import pytest

from search_spaces import SchemaError, load_schema
from tests.search_spaces.building import number, schema_of


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
    assert schema.num_infinities == 1
    for spelling in ("inf", "-inf", "Infinity", "", float("nan"), None):
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
    node = leaf({"type": "int", "default": "???"})
    assert node.default is None
    assert node.is_mandatory


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
