"""Malformed `train.schema.json` files and skill folders."""

import json

import pytest

from tests.bad_input.judging import Case

LEAF = {"type": "number", "default": 0.1, "minimum": 0.0, "maximum": 1.0, "automl_enabled": True}


def schema(name, root, *says, where="s.json"):
    text = root if isinstance(root, str | bytes) else json.dumps(root)
    return Case(
        name=name, words="hpo space --schema s.json", files={"s.json": text}, says=(where, *says)
    )


def leaf(name, *says, **changes):
    """A schema of one leaf with something wrong about it."""
    node = {k: v for k, v in (LEAF | changes).items() if v is not ...}
    root = {"type": "object", "properties": {"lr": node}, "default": {"lr": node.get("default")}}
    return schema(name, root, *says, where="lr")


def deep(levels):
    return '{"properties": {"a": ' * levels + "1" + "}}" * levels


def skill(name, files, *says, words="hpo space --skill skill"):
    return Case(
        name=name,
        words=words,
        files={f"skill/{k}": v for k, v in files.items()},
        says=says,
        told=("route ", "hpo automl: a plain training does not use "),
    )


INFO = "references/skill_info.yaml"
ROUTED = "network_arch: x\nautoml_enabled: true\nactions: {train: {command: 'x {config_path}'}}\n"
TEMPLATE = {"references/spec_template_train.yaml": "lr: 0.1\n"}
SCHEMA = {
    "schemas/train.schema.json": json.dumps({"properties": {"lr": LEAF}, "default": {"lr": 0.1}})
}

CASES = [
    schema("empty file", "", "JSON"),
    schema("not json", "{ not json", "JSON"),
    schema("yaml", "properties:\n  lr: 3\n", "JSON"),
    schema("cut off", '{"properties": {"lr": {"type": "num', "JSON"),
    schema("binary", bytes(range(256)), "s.json"),
    schema("utf-16", '{"properties": {}}'.encode("utf-16"), "s.json"),
    schema("null", "null", "object"),
    schema("a list", "[]", "object"),
    schema("a number", "42", "object"),
    schema("text", '"properties"', "object"),
    schema("nan alone", "NaN", "object"),
    schema("deep", deep(5000), "s.json"),
    schema("deep list", "[" * 100_000 + "]" * 100_000, "s.json"),
    schema(
        "a number of 5000 digits",
        '{"properties": {"lr": {"type": "integer", "default": ' + "9" * 5000 + "}}}",
        "s.json",
    ),
    schema("no properties", {}, "properties"),
    schema("properties are a list", {"properties": []}, "properties"),
    schema(
        "a key twice",
        '{"properties": {"lr": {"type": "number", "type": "integer"}}}',
        "'type' is given twice",
    ),
    leaf("minimum above maximum", minimum=2.0, maximum=1.0, default=1.5),
    leaf("enum is text", "lr", "enum", type="categorical", enum="a,b", default="a"),
    leaf(
        "weights are too many",
        "lr",
        "option_weights",
        type="categorical",
        enum=["a", "b"],
        default="a",
        option_weights=[0.5, 0.3, 0.2],
    ),
    leaf(
        "weights are negative",
        "lr",
        "option_weights",
        type="categorical",
        enum=["a", "b"],
        default="a",
        option_weights=[-1, 2],
    ),
    leaf(
        "weights are text",
        "lr",
        "option_weights",
        type="categorical",
        enum=["a", "b"],
        default="a",
        option_weights="1,2",
    ),
    leaf("condition is nonsense", "lr", "math_cond", math_cond="???"),
    leaf(
        "condition is code", "lr", "math_cond", math_cond="__import__('os').system('touch pwned')"
    ),
    leaf("condition on itself", "lr", "lr", depends_on="lr > 3"),
    leaf("condition on nothing", "lr", "depends_on", depends_on="nowhere == 3"),
    leaf("condition is a number", "lr", math_cond=3),
    leaf("enabled is text", "lr", "automl_enabled", automl_enabled="maybe"),
    schema(
        "defaults named by a number",
        {"properties": {"lr": LEAF}, "default": {"lr": 0.1}, "automl_default_parameters": 3},
        "automl_default_parameters",
    ),
    Case(name="schema is a folder", words="hpo space --schema .", says=(".", "directory")),
    Case(name="schema is a device", words="hpo space --schema /dev/zero", says=("/dev/zero",)),
    skill("skill without anything", {"readme.md": "x"}, "skill_info.yaml"),
    skill("skill info is a list", {INFO: "- a", **SCHEMA}, "skill_info.yaml", "mapping"),
    skill("skill info is no yaml", {INFO: "a: [", **SCHEMA}, "skill_info.yaml", "YAML"),
    skill(
        "skill info runs code",
        {INFO: "a: !!python/object/apply:os.system [ls]", **SCHEMA},
        "skill_info.yaml",
        "!!python",
    ),
    skill("skill without a schema", {INFO: "network_arch: x"}, "train.schema.json"),
    skill(
        "skill template is a list",
        {INFO: "network_arch: x", "references/spec_template_train.yaml": "- a", **SCHEMA},
        "spec_template_train.yaml",
        "mapping",
    ),
    skill(
        "skill template is given twice",
        {INFO: "network_arch: x", "references/spec_template_train.yaml": "lr: 1\nlr: 2", **SCHEMA},
        "twice",
    ),
    skill(
        "skill for the route without a schema",
        {INFO: "network_arch: x\nautoml_enabled: true\n"},
        "schema",
        words="hpo automl --skill-dir skill --data . --review-only --in-process",
    ),
    skill(
        "skill for the route without actions",
        {INFO: "network_arch: x\nautoml_enabled: true\n", **SCHEMA},
        "skill",
        words="hpo automl --skill-dir skill --data . --review-only --in-process",
    ),
    skill(
        "skill for a job without a command",
        {INFO: "network_arch: x\nactions: {train: {}}", **SCHEMA},
        "command",
        words="hpo job train --skill-dir skill --data .",
    ),
    skill(
        "skill actions are a list",
        {INFO: "network_arch: x\nactions: [train]", **SCHEMA},
        "actions",
        words="hpo job train --skill-dir skill --data .",
    ),
    skill(
        "settings that are none",
        {INFO: ROUTED, **TEMPLATE, **SCHEMA},
        "nowhere.yaml",
        words="hpo automl --skill-dir skill --data . --settings nowhere.yaml --review-only",
    ),
    skill(
        "settings of an unknown name",
        {INFO: ROUTED, **TEMPLATE, **SCHEMA},
        "automl_algoritm",
        words="hpo automl --skill-dir skill --data . --settings automl_algoritm=x --review-only --in-process",
    ),
    skill(
        "ranges that are none",
        {INFO: ROUTED, "ranges.yaml": "- a", **TEMPLATE, **SCHEMA},
        "ranges.yaml",
        words="hpo automl --skill-dir skill --data . --ranges skill/ranges.yaml --review-only --in-process",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_schema_is_one_line(case, answered):
    line = answered(case)
    assert all(word in line for word in case.says)
