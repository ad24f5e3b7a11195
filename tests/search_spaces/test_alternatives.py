"""Nodes with alternatives: drawn values are legal, and a note names each alternative left out."""

import json
import random

import jsonschema
import pytest
from pydantic import BaseModel, Field

from search_spaces import Integer, RangeError, compile_space, load_schema
from tests.search_spaces.building import space_of


class Optim(BaseModel):
    lr: float = Field(1e-3, gt=0, le=0.1)
    momentum: float = Field(0.9, ge=0, lt=1)


class Head(BaseModel):
    width: int = Field(64, ge=8, le=512)


class Train(BaseModel):
    optim: Optim | None = Optim(lr=5e-3)
    head: Head | None = None


class Spec(BaseModel):
    train: Train = Train()


def test_parameters_of_optional_sections_are_searched():
    names = ["train.optim.lr", "train.optim.momentum", "train.head.width"]
    written = Spec.model_json_schema()
    schema = load_schema(written | {"automl_default_parameters": names})
    space = compile_space(schema)
    assert [p.name for p in space.parameters] == names
    first = space.default()
    assert first == {"train.optim.lr": 5e-3, "train.optim.momentum": 0.9, "train.head.width": 64}
    assert any(text.startswith("train.head: its default is null") for text in space.warnings)
    rng = random.Random(1)
    for _ in range(50):
        values = space.sample(rng)
        train = {"optim": {}, "head": {}}
        for name, value in values.items():
            _, section, key = name.split(".")
            train[section][key] = value
        assert Spec.model_validate({"train": train}).model_dump() == {"train": train}


class Whole(BaseModel):
    train: Train


@pytest.mark.parametrize("spec", [Spec, Whole])
def test_a_section_that_is_off_stays_off_where_nothing_in_it_is_searched(spec):
    schema = load_schema(spec.model_json_schema())
    assert schema.tree == {"train": {"optim": {"lr": 5e-3, "momentum": 0.9}, "head": None}}
    assert schema.value("train.head.width") == 64


NODES = [
    {"type": "number", "anyOf": [{"minimum": 1e-5, "maximum": 0.1}, {"const": 0}], "default": 1e-3},
    {"type": "number", "minimum": 0, "anyOf": [{"const": 0}, {"minimum": 1e-4}], "maximum": 0.1,
     "default": 0.01},
    {"type": "number", "anyOf": [{"minimum": 2, "maximum": 5}, {"const": 9}], "default": 3.0},
    {"type": "integer", "oneOf": [{"const": 18}, {"const": 34}, {"const": 50}], "default": 34},
    {"type": "integer", "anyOf": [{"maximum": 7}, {"type": "string"}], "minimum": 5, "default": 6},
    {"type": "number", "anyOf": [{"type": "integer", "minimum": 2}], "maximum": 6, "default": 4},
    {"type": "string", "oneOf": [{"const": "sgd", "title": "SGD"}, {"const": "adam"}],
     "default": "adam"},
    {"oneOf": [{"const": "sgd"}, {"enum": ["adam", "lion"], "description": "d"}], "default": "lion"},
    {"anyOf": [{"enum": ["a", "b"]}, {"type": "string", "pattern": "^v"}], "default": "b"},
    {"anyOf": [{"anyOf": [{"type": "number", "minimum": 1, "maximum": 2}, {"type": "null"}]},
               {"type": "string"}], "default": 1.5},
    {"type": ["integer", "null"], "enum": [1, 2, None], "default": 2},
    {"type": ["number", "string"], "minimum": 3, "maximum": 4, "default": 3.5},
    {"type": ["integer", "null"], "anyOf": [{"minimum": 3, "maximum": 9}, {"type": "null"}],
     "default": 4},
    {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 60}], "multipleOf": 4,
     "oneOf": [{"multipleOf": 6}], "default": 12},
]  # fmt: skip


@pytest.mark.parametrize("node", NODES, ids=json.dumps)
def test_what_is_drawn_is_legal_and_varies(node):
    space = space_of({"a.x": node})
    judge = jsonschema.Draft202012Validator(node)
    rng = random.Random(3)
    drawn = [space.default()["a.x"], *(space.sample(rng)["a.x"] for _ in range(200))]
    for value in drawn:
        assert judge.is_valid(value), value
    assert len(set(drawn)) > 1
    assert drawn[0] == node["default"]


@pytest.mark.parametrize(
    ("node", "options"),
    [
        (NODES[3], {18, 34, 50}), (NODES[6], {"sgd", "adam"}), (NODES[7], {"sgd", "adam", "lion"}),
        (NODES[8], {"a", "b"}), (NODES[10], {1, 2}),
    ],
)  # fmt: skip
def test_single_options_are_one_list(node, options):
    space = space_of({"a.x": node})
    rng = random.Random(2)
    assert {space.sample(rng)["a.x"] for _ in range(200)} == options


@pytest.mark.parametrize(
    ("node", "left_out"),
    [
        (NODES[2], "a.x: of its alternatives 9 is left out"),
        (NODES[4], None),  # a text is no whole number, which the node says that it is
        (NODES[8], '"pattern": "^v"'),
        (NODES[9], 'a.x: of its alternatives {"type": "string"} is left out'),
        (NODES[11], 'a.x: of its alternatives {"type": "string"} is left out'),
        ({"type": "number", "oneOf": [{"type": "string"}], "minimum": 0, "maximum": 1},
         "a.x: none of its alternatives is of type number"),
        ({"anyOf": [{"type": "object", "properties": {"y": {"type": "bool"}}},
                    {"type": "object", "properties": {"z": {"type": "bool"}}}]}, '"z"'),
        (NODES[10], "a.x: null among its options"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_told(node, left_out):
    found = [text for text in load_schema({"properties": {"a": {"properties": {"x": node}}}}).warnings
             if text.startswith("a.x")]  # fmt: skip
    assert (left_out is None and not found) or any(left_out in text for text in found), found


def test_nothing_is_told_where_nothing_is_left_out():
    for node in (NODES[0], NODES[1], NODES[3], NODES[6], NODES[7], NODES[12], NODES[13]):
        schema = load_schema({"properties": {"a": {"properties": {"x": node}}}})
        assert not [text for text in schema.warnings if text.startswith("a.x")], node


def test_weights_of_options_with_null_stay_with_theirs():
    node = {"type": ["integer", "null"], "enum": [1, None, 2], "option_weights": [1, 5, 3]}
    leaf = load_schema({"properties": {"a": {"properties": {"x": node}}}}).leaves["a.x"]
    assert (leaf.options, leaf.weights) == ((1, 2), (1.0, 3.0))


@pytest.mark.parametrize(
    "node", [{"type": "integer", "enum": [None]}, {"type": "number", "const": None}]
)
def test_a_number_that_may_be_nothing_but_null_is_refused(node):
    with pytest.raises(RangeError, match="must hold numbers, got"):
        space_of({"a.x": node})


def test_zero_beside_a_range_is_never_left_between():
    space = space_of({"a.x": NODES[0]})
    assert isinstance(space.dimensions[0], Integer) is False
    leaf = load_schema({"properties": {"a": {"properties": {"x": NODES[0]}}}}).leaves["a.x"]
    assert (leaf.minimum, leaf.positive_from, leaf.maximum) == (0, 1e-5, 0.1)
