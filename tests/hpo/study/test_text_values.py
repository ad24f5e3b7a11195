"""Values of keys that hold text, and of keys that do not."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hpo.cli import search
from hpo.cli.main import main
from hpo.cli.study_flags import study_from_args
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten
from hpo.searching.make_plan import check_text_options
from hpo.study.arguments import study_of_arguments
from hpo.study.skill import load_skill
from hpo.study.spec import SearchOptions, StudySpec, load_given_study
from hpo.study.text_values import read_assignments
from tests.trainer.tiny import make_splits, train_spec
from trainer.session import TRAINER

SKILL = Path(__file__).resolve().parents[3] / "trainer" / "skill"
ODD = ["1e3", "yes", "007", "12:30", "2024-01-01", "0x1F", "1_000", ".5", "Off", "-3", "1.0"]
TEXT, NUMBER = "wandb.name", "train.optim.trunk.base_lr"


def skill():
    return load_skill(SKILL)


@pytest.mark.parametrize("word", ODD)
def test_text_is_kept_as_it_is_written(word):
    given = read_assignments([f"{TEXT}={word}", f"model.backbone={word}"], skill)
    assert given == {TEXT: word, "model.backbone": word}


def test_numbers_truths_and_nothing_are_what_they_are():
    given = read_assignments(
        [f"{NUMBER}=1e3", "train.num_epochs=30", "train.train_trunk=no", f"{TEXT}=null",
         "train.optim.steps=[1e1, 20]", "wandb.entity='007'"],
        skill,
    )  # fmt: skip
    assert given == {
        NUMBER: 1000.0, "train.num_epochs": 30, "train.train_trunk": False, TEXT: None,
        "train.optim.steps": [10.0, 20], "wandb.entity": "007",
    }  # fmt: skip
    assert isinstance(given[NUMBER], float)


WORDS = {
    "/data/lot #5/names.yaml": "/data/lot #5/names.yaml", "#7": "#7", "a: b": "a: b",
    "*.jpg": "*.jpg", "@home": "@home", " 1e3 #x ": "1e3 #x", '"#7" # a comment': "#7",
    "'it''s'": "it's", "~": None,
}  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_a_key_that_holds_text_is_taken_whole(word):
    assert read_assignments([f"{TEXT}={word}"], skill) == {TEXT: WORDS[word]}
    study = study_from_args(parsed("--fix", f"{TEXT}={word}", "--set", f"wandb.group={word}"))
    assert study.search.fix == {TEXT: WORDS[word]}
    assert flatten(study.spec) == {"wandb.group": WORDS[word]}


def test_a_word_of_another_key_is_read_as_yaml():
    given = read_assignments(["train.num_epochs=3 # of 9", "a.free=lot #5", "a.list=[1, 2]"], skill)
    assert given == {"train.num_epochs": 3, "a.free": "lot #5", "a.list": [1, 2]}
    with pytest.raises(SpecError, match=r"--set wandb.name .*is not valid YAML"):
        read_assignments([f"{TEXT}='a"], skill)


def test_sections_hold_text_too():
    given = read_assignments(["wandb={name: 1e3, enable: yes}"], skill)
    assert given == {"wandb": {"name": "1e3", "enable": True}}


def test_the_schema_is_not_read_where_nothing_depends_on_it():
    def find():
        raise AssertionError("read")

    assert read_assignments(["a.b=text", "c="], find) == {"a.b": "text", "c": ""}


def parsed(*words):
    parser = argparse.ArgumentParser()
    search.add_arguments(parser)
    return parser.parse_args([*words, "--data", "pictures"])


def test_flags_of_a_search(tmp_path):
    study = study_from_args(
        parsed("--set", f"{TEXT}=007", "--set", "train.num_epochs=7", "--fix", "model.backbone=1e3",
               "--options", "train.loss.name=yes,no", "--options", "train.batch_size=8,16")
    )  # fmt: skip
    assert flatten(study.spec) == {TEXT: "007", "train.num_epochs": 7}
    assert study.search.fix == {"model.backbone": "1e3"}
    assert study.search.options == {"train.loss.name": ["yes", "no"], "train.batch_size": [8, 16]}


def test_a_study_file_on_every_way_in(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "schema_version: 1\nspec:\n  wandb: {name: 1e3, enable: no}\n  wandb.group: 0o17\n"
        "search:\n  fix: {model.backbone: 2e2, train.batch_size: 8}\n"
        "  options: {train.loss.name: [on, 1e3]}\n"
    )
    for study in (load_given_study(file), study_of_arguments(file, *[None] * 5)):
        assert flatten(study.spec) == {
            "wandb.name": "1e3", "wandb.enable": False, "wandb.group": "0o17",
        }  # fmt: skip
        assert study.search.fix == {"model.backbone": "2e2", "train.batch_size": 8}
        assert study.search.options == {"train.loss.name": ["on", "1e3"]}


def test_a_job(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("train", "reference", "query"):
        (tmp_path / name / "a").mkdir(parents=True)
    words = [
        *("wandb.name=1e3", "num_epochs=3", "dataset.train_dataset=train", "model_name=007"),
        *("dataset.val_dataset.reference=reference", "dataset.val_dataset.query=query"),
    ]
    sets = [part for word in words for part in ("--set", word)]
    assert main(["job", "train", "--dry-run", "--json", *sets]) == 0
    spec = json.loads(capsys.readouterr().out)["spec"]
    assert (spec["wandb"]["name"], spec["model_name"]) == ("1e3", "007")
    assert spec["train"]["num_epochs"] == 3
    assert yaml.safe_load(yaml.safe_dump(spec)) == spec


def test_texts_that_a_search_would_try_are_looked_at_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    splits = make_splits(tmp_path, classes=2, images=2)
    key = "model.pretrained_trunk_path"
    study = StudySpec(search=SearchOptions(options={key: ["none", "/no/such.pth"]}))
    base = TRAINER.validate(train_spec(splits, tmp_path, train__batch_size=8))
    with pytest.raises(SpecError, match=f"^search.options.{key}: .*/no/such.pth does not exist"):
        check_text_options(study, TRAINER, base, TRAINER.inspect_data)
    fine = replace(study, search=SearchOptions(options={key: ["none"], "train.batch_size": [8]}))
    check_text_options(fine, TRAINER, base, TRAINER.inspect_data)
