"""Which way a request goes: gates in order, messages."""

import shutil

import pytest

from hpo.automl.errors import AutoMLError, NotRunnableError, SkillFolderError
from hpo.automl.policy import resolve_policy
from hpo.automl.routing import (
    AUTOML,
    DIRECT,
    check_gates,
    decide_route,
    demand_runnable,
    open_skill,
)
from hpo.study.skill import load_skill

SCHEMA, TEMPLATE = "schemas/train.schema.json", "references/spec_template_train.yaml"


def test_19_train_becomes_a_search_and_nothing_else_does(skill):
    found = load_skill(skill)
    assert decide_route(found, "train", resolve_policy()).route == AUTOML
    assert decide_route(found, "train", resolve_policy("off")).route == DIRECT
    for action in ("evaluate", "inference", "export", "gen_trt_engine"):
        for policy in ("on", "off", "auto"):
            routed = decide_route(found, action, resolve_policy(policy))
            assert (routed.route, routed.action) == (DIRECT, action)
            assert "straight to the trainer" in routed.message


def test_19_the_message_names_the_deciding_phrase(skill):
    routed = decide_route(load_skill(skill), "train", resolve_policy(None, "plain training now"))
    assert "'plain training'" in routed.message
    assert routed.phrase == "plain training"


@pytest.mark.parametrize("file", [SCHEMA, TEMPLATE])
@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_20_a_missing_or_damaged_file_means_plain_training_that_names_it(skill, file, how):
    path = skill / file
    if how == "removed":
        path.unlink()
    else:
        path.write_text("{: [")
    routed = decide_route(load_skill(skill), "train", resolve_policy())
    assert routed.route == DIRECT
    assert "AutoML is enabled but not runnable" in routed.message
    assert str(path) in routed.message
    if (file, how) == (TEMPLATE, "removed"):
        demand_runnable(load_skill(skill))  # the schema's defaults are the spec
        return
    with pytest.raises(FileNotFoundError, match="not runnable") as caught:
        demand_runnable(load_skill(skill))
    assert isinstance(caught.value, NotRunnableError)
    assert "\n" not in str(caught.value)


def test_20_gates_are_looked_at_in_order(skill):
    for file in (SCHEMA, TEMPLATE):
        (skill / file).unlink()
    assert check_gates(load_skill(skill)).problem == f"{skill / SCHEMA} is missing"
    info = skill / "references/skill_info.yaml"
    info.write_text(info.read_text().replace("automl_enabled: true", "automl_enabled: false"))
    gate = check_gates(load_skill(skill))
    assert not gate.is_enabled
    assert "missing" not in gate.problem
    routed = decide_route(load_skill(skill), "train", resolve_policy("on"))
    assert routed.route == DIRECT
    assert "not enabled" in routed.message
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
