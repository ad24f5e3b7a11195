"""Which way a request goes: policy, gates in order, messages."""

import shutil

import pytest

from hpo.automl.errors import AutoMLError, NotRunnableError, SkillFolderError
from hpo.automl.routing import (
    AUTOML,
    DIRECT,
    check_gates,
    decide_route,
    demand_runnable,
    open_skill,
    resolve_policy,
)
from hpo.core.yaml_io import parse_yaml
from hpo.study.skill import load_skill

SCHEMA, TEMPLATE = "schemas/train.schema.json", "references/spec_template_train.yaml"

VALUES = [
    ("on", True, "on"),
    ("off", False, "off"),
    ("auto", True, "on (auto)"),
    ("AUTO", True, "on (auto)"),
    (" Off ", False, "off"),
    (True, True, "on"),
    (False, False, "off"),
    (parse_yaml("off", "yaml"), False, "off"),
    (parse_yaml("on", "yaml"), True, "on"),
]

OFF = [
    ("turn off AutoML", "turn off AutoML"),
    ("Please DISABLE automl for this one.", "DISABLE automl"),
    ("train it, no HPO", "no HPO"),
    ("I want a plain training", "plain training"),
    ("a plain single training run, please", "plain single training run"),
    ("no AutoML", "no AutoML"),
    ("just one single train run", "single train run"),
    ("a normal training", "normal training"),
    ("train without hyperparameter search", "without hyperparameter search"),
    ("turn AutoML off", "turn AutoML off"),
    ("AutoML off please", "AutoML off"),
    ("don't use AutoML here", "don't use AutoML"),
    ("do not run any HPO", "do not run any HPO"),
    ("skip auto-ml", "skip auto-ml"),
    ("No, plain training please", "plain training"),
    ("use AutoML ... no wait, plain training", "plain training"),
]

ON = [
    "train metric learning on our photos",
    "don't turn off AutoML",
    "do not disable AutoML",
    "never disable AutoML",
    "not a plain training run, search please",
    "no plain training",
    "rather than plain training, search",
    "instead of a normal training I want a search",
    "without disabling AutoML",
    "the normal training data lie in /data",
    "a single training image per class is rare",
    "plain training? no: use AutoML",
    "keep AutoML on",
    "",
]


@pytest.mark.parametrize(("value", "is_on", "shown"), VALUES)
def test_18_explicit_values_resolve(value, is_on, shown):
    policy = resolve_policy(value, "plain training, no HPO")
    assert (policy.is_on, policy.shown, policy.source) == (is_on, shown, "value")


@pytest.mark.parametrize("value", ["maybe", "none", 2, "of"])
def test_18_another_value_is_an_error(value):
    with pytest.raises(ValueError, match="automl_policy: must be on, off or auto, got"):
        resolve_policy(value)


@pytest.mark.parametrize(("request_text", "phrase"), OFF)
def test_18_phrases_switch_it_off_and_are_reported(request_text, phrase):
    policy = resolve_policy(None, request_text)
    assert (policy.is_on, policy.shown, policy.source) == (False, "off", "phrase")
    assert policy.phrase.lower() == phrase.lower()
    assert repr(policy.phrase) in policy.describe()


@pytest.mark.parametrize("request_text", ON)
def test_18_denied_and_other_words_leave_it_on(request_text):
    assert resolve_policy(None, request_text).is_on


def test_18_the_default_shows_as_on_by_itself():
    policy = resolve_policy()
    assert (policy.shown, policy.source) == ("on (auto)", "default")
    assert "default" in policy.describe()


def test_19_train_becomes_a_search_and_nothing_else_does(skill):
    found = load_skill(skill)
    assert decide_route(found, "train", resolve_policy()).kind == AUTOML
    assert decide_route(found, "train", resolve_policy("off")).kind == DIRECT
    for action in ("evaluate", "inference", "export", "gen_trt_engine"):
        for policy in ("on", "off", "auto"):
            route = decide_route(found, action, resolve_policy(policy))
            assert (route.kind, route.action) == (DIRECT, action)
            assert "straight to the trainer" in route.message


def test_19_the_message_names_the_deciding_phrase(skill):
    route = decide_route(load_skill(skill), "train", resolve_policy(None, "plain training now"))
    assert "'plain training'" in route.message
    assert route.to_dict()["phrase"] == "plain training"


@pytest.mark.parametrize("file", [SCHEMA, TEMPLATE])
@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_20_a_missing_or_damaged_file_means_plain_training_that_names_it(skill, file, how):
    path = skill / file
    if how == "removed":
        path.unlink()
    else:
        path.write_text("{: [")
    route = decide_route(load_skill(skill), "train", resolve_policy())
    assert route.kind == DIRECT
    assert "AutoML is enabled but not runnable" in route.message
    assert str(path) in route.message
    with pytest.raises(FileNotFoundError, match="not runnable") as caught:
        demand_runnable(load_skill(skill))
    assert isinstance(caught.value, NotRunnableError)
    assert "\n" not in str(caught.value)


def test_20_gates_are_looked_at_in_order(skill):
    for file in (SCHEMA, TEMPLATE):
        (skill / file).unlink()
    assert check_gates(load_skill(skill)).missing == skill / SCHEMA
    info = skill / "references/skill_info.yaml"
    info.write_text(info.read_text().replace("automl_enabled: true", "automl_enabled: false"))
    gate = check_gates(load_skill(skill))
    assert (gate.is_enabled, gate.missing) == (False, None)
    route = decide_route(load_skill(skill), "train", resolve_policy("on"))
    assert route.kind == DIRECT
    assert "not enabled" in route.message
    with pytest.raises(AutoMLError, match="automl_enabled is not true"):
        demand_runnable(load_skill(skill))


@pytest.mark.parametrize("value", ["false", "'yes'", "1", "null"])
def test_only_a_true_automl_enabled_enables(skill, value):
    info = skill / "references/skill_info.yaml"
    info.write_text(info.read_text().replace("automl_enabled: true", f"automl_enabled: {value}"))
    assert not check_gates(load_skill(skill)).is_enabled


def test_a_folder_that_is_no_skill_is_named_in_full(tmp_path, skill):
    with pytest.raises(FileNotFoundError) as caught:
        open_skill(tmp_path / "nothing")
    assert isinstance(caught.value, SkillFolderError)
    assert str(tmp_path / "nothing/references/skill_info.yaml") in str(caught.value)
    shutil.rmtree(skill / "references")
    with pytest.raises(FileNotFoundError):
        open_skill(str(skill))
