import json
import random
import sys
from enum import StrEnum

import jsonschema
import pytest
from pydantic import BaseModel, Field

from search_spaces import SchemaError, compile_space, load_schema
from search_spaces.references import expand

DEFS = {
    "rate": {"type": "number", "minimum": 1e-5, "maximum": 0.1, "default": 0.01},
    "small": {"type": "number", "maximum": 0.02},
    "either": {"anyOf": [{"$ref": "#/$defs/rate"}, {"type": "null"}]},
    "name": {"enum": ["sgd", "adam", "lion"], "option_weights": [1, 2, 3]},
    "a/b": {"type": "integer", "exclusiveMinimum": 2},
}


class Name(StrEnum):
    SGD = "sgd"
    ADAM = "adam"


class Optim(BaseModel):
    name: Name = Name.SGD
    lr: float = Field(1e-3, gt=0, le=0.1)
    decay: float | None = Field(1e-4, ge=0, le=0.1)


class Train(BaseModel):
    optim: Optim = Optim(lr=5e-3)
    other: Optim = Field(default_factory=Optim, description="of the second")
    epochs: int = Field(20, ge=1, le=90)


class Spec(BaseModel):
    train: Train = Train()


def test_a_schema_of_pydantic_is_searched_like_one_written_out():
    optim = {
        "name": {"type": "string", "enum": ["sgd", "adam"], "default": "sgd"},
        "lr": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.1, "default": 1e-3},
        "decay": {"type": "number", "minimum": 0, "maximum": 0.1, "default": 1e-4},
    }
    epochs = {"type": "integer", "minimum": 1, "maximum": 90, "default": 20}
    sections = {
        "optim": {"properties": optim | {"lr": optim["lr"] | {"default": 5e-3}}},
        "other": {"properties": optim},
        "epochs": epochs,
    }
    searched = {
        "automl_default_parameters": [
            *(f"train.{part}.{key}" for part in ("optim", "other") for key in optim),
            "train.epochs",
        ]
    }
    space = compile_space(load_schema(Spec.model_json_schema() | searched))
    expected = compile_space(
        load_schema({"properties": {"train": {"properties": sections}}} | searched)
    )
    assert space.parameters == expected.parameters
    assert len(space.parameters) == 7


@pytest.mark.parametrize(
    "node",
    [
        {"$ref": "#/$defs/rate"},
        {"$ref": "#/$defs/rate", "maximum": 0.05, "minimum": 0.0},
        {
            "allOf": [
                {"$ref": "#/$defs/rate"},
                {"$ref": "#/$defs/small"},
                {"exclusiveMinimum": 0.01},
            ]
        },
        {"$ref": "#/$defs/either"},
        {"$ref": "#/$defs/name", "enum": ["lion", "sgd"]},
        {"type": "number", "maximum": 9.5, "$ref": "#/$defs/a~1b"},
        {
            "allOf": [
                {"properties": {"x": {"$ref": "#/$defs/rate"}}, "required": ["x"]},
                {"properties": {"x": {"maximum": 0.05}, "y": {"const": 3}}, "required": ["y"]},
            ]
        },
    ],
    ids=json.dumps,
)
def test_what_is_expanded_takes_the_same_values(node):
    rng = random.Random(5)
    numbers = [None, "sgd", "adam", "lion", 2, 3, 9, 10, 0.02, 0.1]
    numbers += [10 ** rng.uniform(-6, 0) for _ in range(60)]
    values = [*numbers, *({"x": n, "y": 3} for n in numbers), {"x": 0.01}, {"y": 3}, {}]
    root = {"$defs": DEFS, "properties": {"p": node}}
    plain = expand(root)
    assert not {"$ref", "allOf", "$defs"} & set(json.dumps(plain).split('"'))
    verdicts = {
        json.dumps(value): jsonschema.Draft202012Validator(root).is_valid({"p": value})
        for value in values
    }
    assert len(set(verdicts.values())) == 2
    for value in values:
        taken = jsonschema.Draft202012Validator(plain).is_valid({"p": value})
        assert taken == verdicts[json.dumps(value)], value


def test_what_stands_beside_a_reference_counts_first():
    node = {"$ref": "#/$defs/rate", "default": 0.03, "description": "of the trunk"}
    leaf = load_schema({"$defs": DEFS, "properties": {"p": node}}).leaves["p"]
    assert (leaf.default, leaf.description, leaf.maximum) == (0.03, "of the trunk", 0.1)


def test_weights_go_with_their_options():
    node = {"$ref": "#/$defs/name", "enum": ["lion", "rmsprop", "sgd"]}
    leaf = load_schema({"$defs": DEFS, "properties": {"p": node}}).leaves["p"]
    assert (leaf.options, leaf.weights) == (("lion", "sgd"), (3.0, 1.0))


def test_parameters_may_be_called_like_keys_of_a_schema():
    names = {key: {"$ref": "#/$defs/rate"} for key in ("default", "properties", "enum", "allOf")}
    schema = load_schema({"$defs": DEFS, "properties": {"p": {"properties": names}}})
    assert {name: leaf.maximum for name, leaf in schema.leaves.items()} == {
        f"p.{key}": 0.1 for key in names
    }


def test_a_default_that_looks_like_a_reference_stays():
    node = {"type": "object", "default": {"$ref": "#/$defs/rate", "allOf": [1]}}
    assert expand({"properties": {"p": node}}) == {"properties": {"p": node}}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"$ref": "#/$defs/rates"}, ["/properties/p: $ref must name a part", "'#/$defs/rates'"]),
        ({"$ref": "other.json#/rate"}, ["must name a part of this schema", "'other.json#/rate'"]),
        ({"$ref": "#/$defs/name/enum"}, ["must name a part of this schema"]),
        ({"$ref": 5}, ["/properties/p: $ref must name a part of this schema", "got 5"]),
        ({"$ref": None}, ["must name a part of this schema", "got None"]),
        ({"$ref": ["#/$defs/rate"]}, ["must name a part of this schema", "got ['#/$defs/rate']"]),
        ({"allOf": {"minimum": 1}}, ["/properties/p: allOf must be a list", "got {'minimum': 1}"]),
        ({"allOf": [5]}, ["/properties/p: allOf must be a list of schemas, got [5]"]),
        ({"$ref": "#/properties/p"}, ["#/properties/p must not refer to itself"]),
        (
            {"$ref": "#/$defs/rate", "type": "string"},
            ["type must be the same", "'string'", "'number'"],
        ),
        ({"$ref": "#/$defs/name", "enum": ["rmsprop"]}, ["of both enums must remain", "rmsprop"]),
        ({"allOf": [{"multipleOf": 2}, {"multipleOf": 3}]}, ["multipleOf must be the same", "3"]),
    ],
    ids=str,
)
def test_references_that_lead_nowhere_are_one_line(node, words, tmp_path):
    file = tmp_path / "train.schema.json"
    file.write_text(json.dumps({"$defs": DEFS, "properties": {"p": node}}))
    with pytest.raises(SchemaError) as caught:
        load_schema(file)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("depth", [300, 900])
def test_too_deep_a_schema_is_one_line(depth, tmp_path):
    file = tmp_path / "train.schema.json"
    file.write_text('{"properties": {"a": ' * depth + '{"type": "number"}' + "}}" * depth)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # Python's own; a compiler of torch raises it for the process
    try:
        with pytest.raises(SchemaError, match="nested"):
            load_schema(file)
    finally:
        sys.setrecursionlimit(before)


def test_defaults_of_sections_count_the_outermost_first():
    number = {"type": "number", "minimum": 0, "maximum": 1, "default": 0.1}
    inner = {"properties": {"x": number, "y": number, "z": number}, "default": {"x": 0.2, "y": 0.2}}
    outer = {"properties": {"b": inner}, "default": {"b": {"x": 0.3}}}
    schema = load_schema({"properties": {"a": outer}})
    assert schema.tree == {"a": {"b": {"x": 0.3, "y": 0.2, "z": 0.1}}}
    assert any("a.b.x: its default 0.1 differs from 0.3" in text for text in schema.warnings)
    root = load_schema({"properties": {"a": outer}, "default": {"a": {"b": {"z": 0.4}}}})
    assert root.tree == {"a": {"b": {"z": 0.4}}}


@pytest.mark.parametrize("definitions", [[], "x", None, {"rate": [1]}, {"rate": "x"}, {"rate": 5}])
@pytest.mark.parametrize("key", ["$defs", "definitions"])
def test_definitions_that_are_no_schemas_are_told_where_they_are_meant(key, definitions):
    schema = {key: definitions, "properties": {"p": {"$ref": f"#/{key}/rate"}}}
    with pytest.raises(
        SchemaError, match=f"/properties/p: .ref must name .*, got '#/.{key[1:]}/rate'"
    ):
        expand(schema)
