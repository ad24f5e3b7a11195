import json
import math

import pytest
import yaml
from jsonschema import Draft202012Validator

from trainer.config.bounds import valid_bounds
from trainer.config.dialect import template
from trainer.config.root import ACTIONS
from trainer.config.skill_info import deploy_templates
from trainer.config.strict import strict_schema
from trainer.config.tree import leaves
from trainer.config.values import ValueProblem, read_value


def errors_of(action, spec):
    validator = Draft202012Validator(strict_schema(action))
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(spec)]


def nested(path, value):
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize("action", ACTIONS)
def test_schema_is_standard_and_finite(action):
    Draft202012Validator.check_schema(strict_schema(action))
    json.dumps(strict_schema(action), allow_nan=False)


@pytest.mark.parametrize("action", ACTIONS)
def test_template_validates(action):
    assert errors_of(action, template(action)) == []


@pytest.mark.parametrize("action", deploy_templates())
def test_deploy_template_validates(action):
    assert errors_of(action, deploy_templates()[action]) == []


def test_published_templates_validate(published_skill):
    for path in sorted((published_skill / "references").glob("spec_template_*.yaml")):
        action = path.stem.removeprefix("spec_template_").removeprefix("deploy_")
        assert errors_of(action, yaml.safe_load(path.read_text())) == [], path.name


def probes(info):
    """Values at, inside and just outside the ends of the range, and of other types."""
    bounds = valid_bounds(info)
    step = 1 if info.kind == "int" else 1e-6
    values = [True, "word", [1], None, {}]
    for end in (bounds.low, bounds.high):
        if math.isfinite(end):
            number = int(end) if info.kind == "int" else end
            values += [number - step, number, number + step]
    return values


@pytest.mark.parametrize(
    "path", [p for p, k in leaves().items() if k.info.kind in {"float", "int"}]
)
def test_numbers_are_judged_as_the_trainer_judges_them(path):
    info = leaves()[path].info
    for value in probes(info):
        try:
            read_value(info, value)
            is_legal = True
        except ValueProblem:
            is_legal = False
        # evaluate refuses several devices although the value itself is in range
        action = "train" if not path.startswith("train.") else "evaluate"
        assert (errors_of(action, nested(path, value)) == []) == is_legal, (path, value)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"trian": {}}, "Additional properties"),
        ({"train": {"optim": {"lr": 1}}}, "Additional properties"),
        ({"train": {"optim": {"name": "Lion"}}}, "not one of"),
        ({"model": {"backbone": "resnet50"}}, "not valid"),
        ({"dataset": {"pixel_mean": [0.1, 0.2]}}, "should not be valid"),
        ({"dataset": {"gaussian_blur": {"sigma": [1]}}}, "too short"),
        ({"encryption_key": "secret"}, "'' was expected"),
        ({"train": {"batch_size": True}}, "not of type"),
    ],
)
def test_a_wrong_spec_is_refused(spec, problem):
    assert problem in " ".join(errors_of("train", spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"backbone": "timm/resnet18.a1_in1k"}},
        {"dataset": {"val_dataset": [{"reference": "a", "query": "b"}]}},
        {"dataset": {"prob": 0, "re_prob": 0.0}},
        {"train": {"optim": {"trunk": {"weight_decay": 0}}}},
        {"evaluate": {"checkpoint": None}},
    ],
)
def test_a_right_spec_passes(spec):
    assert errors_of("train", spec) == []
