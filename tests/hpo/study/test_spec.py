from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.yaml_io import parse_yaml, to_yaml
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import StudySpec, check_sources, load_given_study, load_study, parse_study

FULL = """
schema_version: 1
name: retail
description: shelves
trainer: ml_recog
data: {train: t, reference: r, query: /abs/q, test_query: s3://bucket/q}
spec:
  train.num_epochs: 9
  train: {optim: {lr: 1e-4}}
weights: resnet.pth
budget: 50trials,2h
concurrent: 2
search:
  algorithm: tpe
  seed: 7
  confirm: 2
  over: [train.optim.lr, +train.batch_size]
  ranges: {train.optim.lr: [1e-5, 1e-2], train.margin: {low: 0, high: 1, log: false}}
  options: {train.batch_size: [16, 32]}
  fix: {train.optim.gamma: 0.1}
"""


def test_a_full_study_file(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(FULL)
    study = load_study(path)
    assert (study.name, study.trainer, study.concurrent) == ("retail", "ml_recog", 2)
    assert study.budget == Budget(trials=50, seconds=7200)
    assert study.spec == {"train": {"num_epochs": 9, "optim": {"lr": 1e-4}}}
    assert study.data == DataSources(
        train=str(tmp_path / "t"), reference=str(tmp_path / "r"), query="/abs/q",
        test_query="s3://bucket/q",
    )  # fmt: skip
    assert study.weights == str(tmp_path / "resnet.pth")
    overlay = study.overlay
    assert overlay.hyperparameters == ("train.optim.lr",)
    assert overlay.extra == ("train.batch_size",)
    assert overlay.ranges == {"train.optim.lr": (1e-5, 1e-2, None), "train.margin": (0, 1, False)}
    assert overlay.options == {"train.batch_size": (16, 32)}
    assert overlay.fixed == {"train.optim.gamma": 0.1}


def test_what_is_written_into_a_run_reads_back_the_same(tmp_path):
    (tmp_path / "some.yaml").write_text(FULL)
    study = load_study(tmp_path / "some.yaml")
    kept = tmp_path / "run" / "study.yaml"
    kept.parent.mkdir()
    kept.write_text(to_yaml(study.to_dict()))
    assert load_study(kept) == study
    assert to_yaml(load_study(kept).to_dict()) == kept.read_text()


@pytest.mark.parametrize("stages", ["[heads, full]", "[none]", "[full]", "[mine, full]"])
def test_a_run_goes_by_its_earlier_stages_whatever_stands_beside_them(tmp_path, stages):
    """Earlier releases wrote both, and went by these; a study that is given is refused."""
    file, stage = tmp_path / "study.yaml", {"mine": {"trials": 3}}
    file.write_text(f"schema_version: 1\nsearch: {{earlier_stages: {stage}, stages: {stages}}}\n")
    assert load_study(file).search.earlier_stages == stage
    if stages == "[heads, full]":
        with pytest.raises(SpecError, match="stages: must be mine, full where earlier_stages"):
            load_given_study(file)
    if stages == "[none]":
        assert load_given_study(file).search.earlier_stages == {}


def test_the_least_study(tmp_path):
    path = tmp_path / "least.yaml"
    path.write_text("schema_version: 1\ndata:\nsearch:\nspec:\n")
    study = load_study(path)
    assert study == StudySpec(name="least")
    assert study.data.is_default
    assert study.budget == Budget(trials=20)
    assert study.overlay.hyperparameters is None


def test_paths_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    path = tmp_path / "s.yaml"
    path.write_text("schema_version: 1\ndata: {folder: ~/photos}\nweights: ~/w.pth\n")
    study = load_study(path)
    assert (study.data.folder, study.weights) == ("/home/somebody/photos", "/home/somebody/w.pth")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bugdet: 20", "study: unknown key 'bugdet'; did you mean 'budget'?"),
        ("1: 2", "study: unknown key 1"),
        ("data: {trian: x}", "study: data: unknown key 'trian'; did you mean 'train'?"),
        ("search: {algoritm: tpe}", "study: search: unknown key 'algoritm'; did you mean 'algorithm'?"),
        ("data: [a]", "study: data: must be a mapping, got a list ['a']"),
        ("search: tpe", "study: search: must be a mapping, got 'tpe'"),
        ("spec: 5", "study: spec: must be a mapping, got 5"),
        ("name: 5", "study: name: must be text, got 5"),
        ("name: !!timestamp 2020-01-01", "study: name: must be text, got 2020-01-01"),
        ("name: a/b", "study: name: must be usable as a folder name"),
        ("name: .hidden", "study: name: must be usable as a folder name"),
        ("name: ''", "study: name: must be usable as a folder name"),
        ("name: \"a\\0b\"", "study: name: must be usable as a folder name"),
        ("trainer: null", "study: trainer: must be text, got nothing"),
        ("budget: 5x", "study: budget: '5x' is not understood"),
        ("budget: -3", "study: budget: '-3' is not understood"),
        ("budget: 0", "study: budget: a positive whole number"),
        ("budget: 1.5", "study: budget: must be a budget"),
        ("budget: true", "study: budget: must be a budget"),
        ("budget: [1]", "study: budget: must be a budget"),
        ("concurrent: 0", "study: concurrent: must be at least 1, got 0"),
        ("concurrent: two", "study: concurrent: must be a whole number, got 'two'"),
        ("concurrent: true", "study: concurrent: must be a whole number, got true"),
        ("data: {class_disjoint: 1}", "study: data.class_disjoint: must be true or false, got 1"),
        ("data: {train: 5}", "study: data.train: must be text, got 5"),
        ("search: {seed: 1.5}", "study: search.seed: must be a whole number, got 1.5"),
        ("search: {confirm: -1}", "study: search.confirm: must be at least 0, got -1"),
        ("search: {over: a}", "study: search.over: must be a list of names, got 'a'"),
        ("search: {over: [1]}", "study: search.over: must be a list of names, got 1 in it"),
        ("search: {ranges: [a]}", "study: search.ranges: must be a mapping"),
        ("search: {ranges: {a: 5}}", "search.ranges.a: must be [low, high] or {low, high, log} with two numbers, got 5"),
        ("search: {ranges: {a: [1]}}", "search.ranges.a: must be [low, high]"),
        ("search: {ranges: {a: [x, y]}}", "search.ranges.a: must be [low, high]"),
        ("search: {ranges: {a: {low: 1}}}", "search.ranges.a: must be [low, high]"),
        ("search: {ranges: {a: {low: 1, high: 2, lgo: true}}}", "search.ranges.a: must be [low, high]"),
        ("search: {ranges: {a: {low: 1, high: 2, log: 5}}}", "search.ranges.a: must be [low, high]"),
        ("search: {options: {a: 5}}", "search.options.a: must be a list of values, got 5"),
        ("search: {options: {a: []}}", "search.options.a: must be a list of values"),
        ("spec: {a: 1, a.b: 2}", "spec: a: is a value (1), so nothing can be set below it"),
        ("data: {train: a}", "study: data: reference and query missing"),
        ("data: {train: a, query: b}", "study: data: reference missing"),
        ("data: {train: a, reference: b, query: c, folder: d}", "either one folder to split or the splits"),
        ("data: {folder: d, test_query: c}", "either one folder to split or the splits"),
        ("data: {class_disjoint: true}", "class_disjoint: only applies when one folder is split"),
        ("data: {test_query: q}", "study: data: test_query needs train, reference and query"),
        ("data: {train: a, reference: b, query: c, test_reference: d}", "test_reference needs test_query"),
    ],
)  # fmt: skip
def test_wrong_studies_are_one_line_that_names_the_key(line, said):
    with pytest.raises(SpecError) as caught:
        parse_study(parse_yaml(f"schema_version: 1\n{line}", "x"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "version", ["", "schema_version: 2", "schema_version: '1'", "schema_version:"]
)
def test_the_version_must_be_the_known_one(tmp_path, version):
    path = tmp_path / "s.yaml"
    path.write_text(f"name: x\n{version}\n")
    with pytest.raises(SpecError, match=r"s.yaml: schema_version must be 1, got .* at the top"):
        load_study(path)


@pytest.mark.parametrize("text", ["", "- a", "5", "just words"])
def test_a_file_that_is_no_mapping(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"s.yaml: a study file must be a mapping of keys"):
        load_study(path)


def test_a_file_name_that_cannot_name_a_study(tmp_path):
    path = tmp_path / ".yaml"
    path.write_text("schema_version: 1\n")
    with pytest.raises(SpecError, match="name: must be usable as a folder name"):
        load_study(path)


def test_sources_are_all_or_nothing():
    check_sources(DataSources())
    check_sources(DataSources(folder="f", class_disjoint=True))
    check_sources(DataSources(train="a", reference="b", query="c", test_query="d"))
    with pytest.raises(SpecError, match="^arguments: query missing"):
        check_sources(DataSources(train="a", reference="b"), "arguments")


def test_options_default_to_letting_the_tool_choose():
    assert SearchOptions() == SearchOptions(algorithm="auto", pruner="auto", seed=None, confirm=0)


def test_every_study_that_comes_along_can_be_read():
    studies = sorted((Path(__file__).parents[3] / "studies").glob("*.yaml"))
    assert {"quickstart", "retail_resnet50", "defects"} <= {load_study(p).name for p in studies}


@pytest.mark.parametrize(
    "name", ["001", "yes", "12:30:00", "1e3", "0x1F", "2024-01-01", "1.10", "true", "5"]
)
def test_names_stay_as_they_are_written(tmp_path, name):
    path = tmp_path / "study.yaml"
    path.write_text(
        f"schema_version: 1\nname: {name}\ndescription: {name}\ndata: {{folder: {name}}}\n"
        f"search: {{over: [{name}, x]}}\n"
    )
    study = load_study(path)
    assert (study.name, study.description) == (name, name)
    assert study.data.folder == str(tmp_path / name)
    assert study.search.over == (name, "x")
    kept = tmp_path / "kept.yaml"
    kept.write_text(to_yaml(study.to_dict()))
    assert load_study(kept) == study


@pytest.mark.parametrize("written", ["1:30", "0x10", "1_000", "20.5", "[20, 2h]", "true"])
def test_a_budget_is_what_is_written(tmp_path, written):
    (tmp_path / "s.yaml").write_text(f"schema_version: 1\nbudget: {written}\n")
    with pytest.raises(SpecError, match="budget: .*20"):
        load_study(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text("schema_version: 1\nbudget: 012\n")
    assert load_study(tmp_path / "s.yaml").budget.trials == 12
