"""The command line and Python lay what is given over a study alike."""

import argparse
from pathlib import Path

import pytest

from hpo.algorithms.registry import canonical_name, check_options
from hpo.cli.search import add_arguments
from hpo.cli.study_flags import study_from_args
from hpo.core.errors import SpecError
from hpo.study.arguments import study_of_arguments

FILE = """
schema_version: 1
name: shelves
trials_per_gpu: 2
data: {folder: photos, class_disjoint: true}
spec: {model.feat_dim: 32, train.num_epochs: 9}
search:
  fix: {train.optim.gamma: 0.1, train.batch_size: 8}
  ranges: {train.optim.trunk.base_lr: [0.001, 0.1]}
  options: {train.loss.name: [triplet, arcface]}
  algorithm: asha
  algorithm_options: {reduction_factor: 4}
  stages: [heads, full]
  earlier_stages: {heads: {over: [train.optim.gamma], trials: 4}}
"""


def of_call(study=None, *, options=None, spec=None, data=None, name=None, **fields):
    fields |= {"name": name}
    return study_of_arguments(study, data, None, spec, None, options, fields, named=canonical_name)


def of_words(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return study_from_args(parser.parse_args([str(word) for word in words]))


@pytest.fixture(autouse=True)
def _with_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(FILE)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("--fix model.feat_dim=64", {"options": {"fix": {"model.feat_dim": 64}}}),
        (
            "--range train.optim.gamma=0.2..0.4",
            {"options": {"ranges": {"train.optim.gamma": [0.2, 0.4]}}},
        ),
        (
            "--options train.batch_size=4,16 --fix train.loss.name=triplet",
            {
                "options": {
                    "options": {"train.batch_size": [4, 16]},
                    "fix": {"train.loss.name": "triplet"},
                }
            },
        ),
        ("--set train.optim.gamma=0.5", {"spec": {"train.optim": {"gamma": 0.5}}}),
        (
            "--set train.num_epochs=4 --fix train.num_epochs=5",
            {"spec": {"train.num_epochs": 4}, "options": {"fix": {"train.num_epochs": 5}}},
        ),
        (
            "--algorithm-option automl_max_trials=9",
            {"options": {"algorithm_options": {"automl_max_trials": 9}}},
        ),
        ("--stages none", {"options": {"stages": ["none"]}}),
        ("--stages full", {"options": {"stages": ["full"]}}),
        ("--concurrent 3", {"concurrent": 3}),
        (
            "--trials-per-gpu auto --keep all --disk-quota 3GB",
            {"trials_per_gpu": "auto", "keep": "all", "disk_quota": "3GB"},
        ),
        ("--data shop", {"data": "shop"}),
        (
            "--data shop --class-disjoint --group-by (.*)_",
            {"data": {"folder": "shop", "class_disjoint": True, "group_by": "(.*)_"}},
        ),
        ("--group-by shelf", {"data": {"group_by": "shelf"}}),
        (
            "--train a --reference b --query c",
            {"data": {"train": "a", "reference": "b", "query": "c"}},
        ),
    ],
)
def test_flags_and_a_call_make_one_study(words, call):
    made = of_call("s.yaml", **call)
    assert made == of_words("s.yaml", *words.split())
    assert made != of_words("s.yaml")


def test_what_a_call_leaves_out_stays():
    search = of_call("s.yaml", options={"fix": {"model.feat_dim": 64}}).search
    assert search.fix == {
        "train.optim.gamma": 0.1, "train.batch_size": 8, "model.feat_dim": 64,
    }  # fmt: skip
    moved = of_call("s.yaml", options={"ranges": {"train.optim.gamma": [0.2, 0.4]}}).search
    assert "train.optim.gamma" not in moved.fix
    assert set(moved.ranges) == {"train.optim.trunk.base_lr", "train.optim.gamma"}
    merged = of_call("s.yaml", options={"algorithm_options": {"a": 1}}).search
    assert merged.algorithm_options == {"reduction_factor": 4, "a": 1}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"algorithm": "random"}, {}),
        ({"algorithm": "random", "algorithm_options": {}}, {}),
        ({"algorithm": "auto"}, {}),
        (
            {"algorithm": "bohb", "algorithm_options": {"reduction_factor": 3}},
            {"reduction_factor": 3},
        ),
        ({"algorithm": "ASHA"}, {"reduction_factor": 4}),
        ({"pruner": "none"}, {"reduction_factor": 4}),
    ],
)
def test_options_go_with_their_algorithm(options, kept):
    search = of_call("s.yaml", options=options).search
    assert search.algorithm_options == kept
    check_options(search.algorithm, search.algorithm_options)  # as a search does at its start


@pytest.mark.parametrize(
    ("before", "now", "is_kept"),
    [("gp", "b", True), ("B", "bayesian", True), ("bayesian", "tpe", False), ("gp", "h", False)],
)
def test_another_name_of_the_same_algorithm_keeps_its_options(before, now, is_kept):
    text = FILE.replace("asha", before).replace("reduction_factor", "max_recommendations")
    Path("s.yaml").write_text(text)
    flags = of_words("s.yaml", "--algorithm", now).search
    call = of_call("s.yaml", options={"algorithm": now}).search
    assert (
        flags.algorithm_options
        == call.algorithm_options
        == ({"max_recommendations": 4} if is_kept else {})
    )
    assert flags.algorithm == call.algorithm == now


def test_options_stand_in_a_file_that_leaves_its_algorithm_to_the_call():
    text = FILE.replace("  algorithm: asha\n", "")
    Path("s.yaml").write_text(text)
    search = of_words("s.yaml", "--algorithm", "asha").search
    assert search.algorithm_options == {"reduction_factor": 4}


def test_stages_that_are_named_take_the_place_of_those_of_the_file():
    assert of_call("s.yaml", options={"seed": 3}).search.earlier_stages
    assert not of_call("s.yaml", options={"stages": ["none"]}).search.earlier_stages


@pytest.mark.parametrize(
    ("data", "words", "name"),
    [
        ("photos.csv", "--data photos.csv", "photos"),
        ("photos/train", "--data photos/train", "photos"),
        ({"train": "a/b/train", "reference": "r", "query": "q"},
         "--train a/b/train --reference r --query q", "b"),
        ("x" * 250, f"--data {'x' * 250}", "x" * 200),
        ("shop/.shots", "--data shop/.shots", "shop"),
    ],
)  # fmt: skip
def test_a_study_is_named_after_its_data_in_one_way(data, words, name):
    assert of_call(data=data).name == of_words(*words.split()).name == name
    assert of_call(data=data, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"data": {"folder": "d", "train": "t"}}, "data: give either one folder to split"),
        ({"data": {"folder": "d", "class_disjoint": 1}}, "data: class_disjoint: must be true or"),
        ({"data": {"folder": ""}}, "data.folder: must name a folder"),
        ({"concurrent": 0}, "concurrent: must be at least 1, got 0"),
        ({"concurrent": "2"}, "hpo.search: concurrent: must be a whole number, got '2'"),
        ({"concurrent": 2, "trials_per_gpu": 2}, "trials_per_gpu: cannot stand beside `concurrent`"),
        ({"concurrent": 2, "executor": "inprocess"}, "concurrent: must be 1 where this process"),
        ({"keep": "some"}, "keep: must be"),
        ({"disk_quota": "much"}, "disk_quota: "),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(call, says):
    with pytest.raises(SpecError) as caught:
        of_call(**call)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "--in-process --concurrent 4",
            "--concurrent: must be 1 where this process trains the trials",
        ),
        ("--in-process --trials-per-gpu auto", "--trials-per-gpu: must be 1 where this"),
        ("--search-over ,", "--search-over: must be a list of names, got an empty one"),
        ("--search-over +train.lr,", "--search-over: must be a list of names, got an empty one"),
        ("--data d --train t", "data: give either one folder to split"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(words, says):
    with pytest.raises(SpecError) as caught:
        of_words(*words.split())
    assert str(caught.value).startswith(says)


def test_one_at_a_time_is_no_contradiction():
    assert of_words("--in-process", "--concurrent", 1).concurrent == 1
    assert of_words("s.yaml", "--in-process").trials_per_gpu == 2  # of a file for any machine
