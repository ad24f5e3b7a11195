"""`hpo init`, as a person uses it."""

import shlex
from pathlib import Path

import pytest
import yaml

from hpo.study.spec import load_study


def test_a_study_to_begin_with(hpo, tmp_path):
    code, out, err = hpo(
        "init",
        "my shop.yaml",
        "--train",
        "t x",
        "--reference",
        "g",
        "--query",
        "q",
        "--budget",
        "3h",
    )
    assert (code, err) == (0, "")
    assert shlex.split(out.splitlines()[-1]) == ["hpo", "search", "my shop.yaml"]
    study = load_study(tmp_path / "my shop.yaml")
    assert study.name == "my shop"
    assert study.budget.seconds == 3 * 3600
    assert Path(study.data.train) == tmp_path / "t x"


def test_a_study_in_another_folder_finds_the_same_pictures(hpo, tmp_path):
    (tmp_path / "deep/er").mkdir(parents=True)
    assert hpo("init", "deep/er/s.yaml", "--data", "photos", "--class-disjoint")[0] == 0
    assert Path(load_study(tmp_path / "deep/er/s.yaml").data.folder) == tmp_path / "photos"


def test_a_spec_to_begin_with(hpo, tmp_path):
    assert hpo("init", "--spec", "--train", "t", "--reference", "g", "--query", "q")[0] == 0
    spec = yaml.safe_load((tmp_path / "spec.yaml").read_text())
    assert spec["dataset"]["train_dataset"] == "t"
    assert spec["dataset"]["val_dataset"] == {"reference": "g", "query": "q"}


def test_nothing_is_written_over_unless_asked(hpo, fails, tmp_path):
    (tmp_path / "study.yaml").write_text("mine")
    assert "study.yaml: exists already; name another file, or give --force" in fails("init")
    assert (tmp_path / "study.yaml").read_text() == "mine"
    assert hpo("init", "--force")[0] == 0
    assert load_study(tmp_path / "study.yaml").name == "study"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("none/s.yaml",), "none: no such folder"),
        (("--budget", "soon"), "soon"),
        (("--spec", "--data", "d"), "--data: a spec has no place for it"),
        (("--spec", "--budget", "3"), "--budget: a spec has no place for it"),
        (("a/../../\0.yaml",), ""),
    ],
)
def test_what_cannot_be(fails, argv, said):
    assert said in fails("init", *argv)
