"""A bare schema in place of a skill folder, and other names of the caller that become paths."""

import json
import shutil
from pathlib import Path

import pytest

from hpo import AutoML
from hpo.automl.schema_skill import write_skill
from hpo.automl.settings import read_settings
from hpo.automl.workspace import read_facts
from hpo.core.errors import RunError
from tests.hpo.automl.watching import bytes_of

SETTINGS = {"algorithm": "random", "metric": "accuracy", "automl_max_recommendations": 3}


def schema_to(high):
    leaf = {"type": "number", "minimum": 0.25, "maximum": high, "default": 0.5,
            "automl_enabled": True}  # fmt: skip
    return {"type": "object", "default": {"rate": 0.5}, "properties": {"rate": leaf}}


def train(automl):
    rates = []
    with automl:
        while not automl.is_complete():
            for rec in automl.next_recommendation():
                rates.append(rec.specs["rate"])
                automl.report_result(rec.id, 0.5)
    return rates


@pytest.fixture
def opened(tmp_path):
    def go(name, high, network="forest", **more):
        return AutoML(
            tmp_path / name, network, {}, SETTINGS | more, search_schema=schema_to(high)
        )  # fmt: skip

    return go


@pytest.mark.parametrize("name", ["{skill}", "../forest", "a/b", "..", "", ".hidden"])
@pytest.mark.parametrize("which", ["network", "action"])
def test_a_name_that_is_a_path_is_refused_and_nothing_is_written(skill, tmp_path, which, name):
    before = bytes_of(tmp_path)
    names = {"network": "forest", "action": "train"} | {which: name.format(skill=skill)}
    with pytest.raises(ValueError, match=f"{which}: must be"):
        AutoML(
            tmp_path / "ws", train_specs={}, settings=SETTINGS, **names,
            search_schema=skill / "schemas" / "train.schema.json",
        )  # fmt: skip
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("name", ["session_id", "experiment_id"])
@pytest.mark.parametrize("value", ["../facts", "/etc/x", "a/b", ".x", "x" * 300, "a\nb"])
def test_the_ids_of_a_search_name_files_inside_its_workspace(name, value):
    with pytest.raises(ValueError, match=rf"automl_settings\.{name}: must be usable as a folder"):
        read_settings(SETTINGS | {name: value})


@pytest.mark.parametrize("value", ["facts", "jobs"])
def test_a_session_does_not_take_the_place_of_a_workspaces_own_file(value):
    with pytest.raises(ValueError, match="a file of the workspace itself"):
        read_settings(SETTINGS | {"session_id": value})
    assert read_settings(SETTINGS | {"experiment_id": value}).values["experiment_id"] == value


def test_each_schema_has_a_folder_of_its_own(opened, tmp_path):
    first = opened("one", 1.0)
    first.next_recommendation()
    first.finish()
    train(opened("two", 100.0))
    rates = train(opened("one", 1.0))
    assert len(rates) == 3
    assert max(rates) <= 1.0
    folders = {name: Path(read_facts(tmp_path / name).skill_dir) for name in ("one", "two")}
    highs = {
        name: json.loads((folder / "schemas/train.schema.json").read_text())["properties"]["rate"]
        for name, folder in folders.items()
    }
    assert {name: leaf["maximum"] for name, leaf in highs.items()} == {"one": 1.0, "two": 100.0}


def test_another_schema_is_refused_for_a_workspace_that_is_there(opened):
    opened("one", 1.0).finish()
    with pytest.raises(RunError, match="search space has changed") as caught:
        opened("one", 2.0)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="was begun with the skill folder"):
        opened("one", 1.0, network="tree")
    assert len(train(opened("one", 1.0))) == 3


def test_a_workspace_of_before_whose_schema_another_one_has_replaced_is_gone_on_with(
    opened, tmp_path
):
    opened("one", 1.0).finish()
    new = Path(read_facts(tmp_path / "one").skill_dir)
    old = new.with_name("forest")
    new.rename(old)
    for file in ("study.yaml", ".automl/controller/facts.json"):
        path = tmp_path / "one" / file
        path.write_text(path.read_text().replace(str(new), str(old)))
    other = write_skill(tmp_path / "elsewhere", "forest", "train", schema_to(100.0))
    shutil.copytree(other, old, dirs_exist_ok=True)
    before = bytes_of(old)
    with pytest.raises(RunError, match="search space has changed"):
        opened("one", 2.0)
    assert len(train(opened("one", 1.0))) == 3
    assert read_facts(tmp_path / "one").skill_dir == str(new)
    assert bytes_of(old) == before
