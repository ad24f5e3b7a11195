import argparse
from pathlib import Path

import pytest

from hpo.cli.search import add_arguments
from hpo.cli.study_flags import study_from_args
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.study.packaged import find_study
from hpo.study.sections import DataSources

FILE = """
schema_version: 1
name: shelves
budget: 9
data: {train: t, reference: r, query: q, test_query: x}
spec: {train.num_epochs: 9, model.backbone: timm/resnet18}
weights: w.pth
search: {seed: 3, fix: {train.a: 1}, ranges: {train.b: [0, 1]}}
"""


@pytest.fixture
def study_of(tmp_path, monkeypatch):
    """The study of `hpo search ARGS`, called in a folder with `studies/s.yaml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/s.yaml").write_text(FILE)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return lambda *argv: study_from_args(parser.parse_args([str(word) for word in argv]))


def test_nothing_at_all_is_the_embedded_study(study_of):
    study = study_of()
    assert study.name == "quickstart"
    assert study.data.is_default
    assert find_study("quickstart.yaml").is_file()
    with pytest.raises(SpecError, match="is missing from this installation"):
        find_study("nothing.yaml")


def test_flags_stand_over_the_file(study_of, tmp_path):
    plain = study_of("studies/s.yaml")
    assert (plain.name, plain.budget, plain.search.seed) == ("shelves", Budget(trials=9), 3)
    study = study_of(
        "studies/s.yaml", "--budget", "2h", "--name", "n", "--seed", 5, "--algorithm", "random",
        "--pruner", "none", "--confirm", 2, "--concurrent", 3, "--weights", "mine.pth",
        "--set", "train.num_epochs=5", "--set", "train.lr=1e-4",
    )  # fmt: skip
    assert (study.name, study.budget, study.concurrent) == ("n", Budget(seconds=7200), 3)
    assert (study.search.seed, study.search.algorithm, study.search.pruner) == (5, "random", "none")
    assert study.search.confirm == 2
    assert study.spec == {
        "train": {"num_epochs": 5, "lr": 1e-4}, "model": {"backbone": "timm/resnet18"},
    }  # fmt: skip
    assert study.weights == str(tmp_path / "mine.pth")
    assert study.search.fix == {"train.a": 1}


@pytest.mark.parametrize("address", ["timm://resnet18", "hf-hub:a/b", "lite0", "none"])
def test_addresses_of_weights_are_kept_to_the_letter(study_of, address):
    assert study_of("--weights", address).weights == address
    assert study_of("studies/s.yaml", "--weights", address).weights == address


def test_weights_over_the_embedded_study_bring_their_own_model(study_of):
    embedded = study_of()
    assert embedded.weights == "lite0"
    assert embedded.spec["train"]["train_trunk"] is False
    other = study_of("--weights", "lite1")
    assert (other.weights, other.spec) == ("lite1", embedded.spec)
    own = study_of("--weights", "x.pth", "--set", "model.backbone=timm/resnet18").spec
    assert own["model"]["backbone"] == "timm/resnet18"
    assert own["train"]["train_trunk"] is False


@pytest.mark.parametrize(
    ("flags", "weights"),
    [(["--weights", "none"], "none"), (["--set", "model.backbone=timm/resnet18"], "")],
)
def test_a_network_without_weights_over_the_embedded_study_has_a_trunk_that_learns(
    study_of, flags, weights
):
    study = study_of(*flags)
    assert study.weights == weights
    assert "train_trunk" not in study.spec["train"]
    assert study.spec["model"]["input_height"] == study_of().spec["model"]["input_height"]


def test_a_study_file_keeps_its_network_under_other_weights(study_of):
    assert study_of("studies/s.yaml", "--weights", "lite0").spec["model"]["backbone"]


def test_paths_in_the_file_are_beside_it_and_flags_are_here(study_of, tmp_path):
    study = study_of("studies/s.yaml", "--test-query", "y")
    assert study.data == DataSources(
        train=str(tmp_path / "studies/t"), reference=str(tmp_path / "studies/r"),
        query=str(tmp_path / "studies/q"), test_query=str(tmp_path / "y"),
    )  # fmt: skip
    assert study.weights == str(tmp_path / "studies/w.pth")


def test_a_split_of_its_own_takes_the_place_of_one(study_of, tmp_path):
    data = study_of("studies/s.yaml", "--train", "mine").data
    assert data.train == str(tmp_path / "mine")
    assert data.reference == str(tmp_path / "studies/r")


def test_whole_data_take_the_place_of_the_files(study_of, tmp_path):
    splits = study_of("studies/s.yaml", "--train", "a", "--reference", "b", "--query", "c").data
    assert (splits.train, splits.test_query) == (str(tmp_path / "a"), "")
    folder = study_of("studies/s.yaml", "--data", "d", "--class-disjoint").data
    assert folder == DataSources(folder=str(tmp_path / "d"), class_disjoint=True)
    listed = study_of("studies/s.yaml", "--data", "d.csv", "--group-by", "(.*)_").data
    assert listed == DataSources(folder=str(tmp_path / "d.csv"), group_by="(.*)_")


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("--data", "photos"), "photos"),
        (("--data", "shop/train"), "shop"),
        (("--train", "shop/known_classes/train.tar.gz"), "shop"),
        (("--data", "photos", "--name", "mine"), "mine"),
    ],
)
def test_a_study_is_named_after_its_data(study_of, argv, name):
    more = () if "--data" in argv else ("--reference", "r", "--query", "q")
    assert study_of(*argv, *more).name == name


def test_the_folder_one_stands_in_has_a_name_too(study_of, tmp_path):
    assert study_of("--data", ".").name == tmp_path.name


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--budget", "5x"), "budget: '5x' is not understood"),
        (("--budget", ""), "budget: a limit must be given, got nothing"),
        (("--budget", "2h,3h"), "limits seconds twice"),
        (("--train", "a"), "reference and query missing"),
        (("--train", "a", "--query", "b"), "reference missing"),
        (("--test-query", "a"), "test_query needs train, reference and query"),
        (("--test-reference", "a"), "test_reference needs test_query"),
        (("--data", "d", "--train", "t"), "either one folder to split or the splits"),
        (("--data", "d", "--test-query", "t"), "either one folder to split or the splits"),
        (("--class-disjoint",), "only applies when one folder is split"),
        (("--group-by", "near-duplicates"), "data.group_by: needs pictures of your own"),
        (
            ("--train", "a", "--reference", "b", "--query", "c", "--class-disjoint"),
            "only applies when one folder is split",
        ),
        (("--concurrent", "0"), "--concurrent: must be at least 1, got 0"),
        (("--confirm", "-1"), "--confirm: must be at least 0, got -1"),
        (("--name", "../up"), "--name: must be usable as a folder name"),
        (("--name", ""), "--name: must be usable as a folder name"),
        (("--name", ".x"), "--name: must be usable as a folder name"),
        (("--set", "train.lr"), "--set: key=value must be given"),
        (("--set", "a=[1"), "is not valid YAML"),
        (("--set", "train=5"), "train: is a section of keys, so it cannot be set to 5"),
        (("--set", "train.num_epochs.x=5"), "train.num_epochs: is a value"),
        (("none.yaml",), "none.yaml: no such file"),
        (
            ("studies",),
            "studies: must be a study file, and is a folder; pictures are given by --data studies",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(study_of, argv, said):
    with pytest.raises(SpecError) as caught:
        study_of(*argv)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_file_is_left_alone(study_of):
    study_of("studies/s.yaml", "--set", "train.num_epochs=5")
    assert Path("studies/s.yaml").read_text() == FILE


def test_flags_of_the_search_itself(study_of, tmp_path):
    run = tmp_path / "runs" / "retail" / "20260101-000000"
    run.mkdir(parents=True)
    (run / "study.yaml").write_text("schema_version: 1\nname: retail\n")
    (run / "ledger.db").touch()
    search = study_of(
        "--algorithm", "asha", "--algorithm-option", "reduction_factor=4", "--algorithm-option",
        "automl_max_trials=9", "--until-converged", "--warm-start", "retail", "--priors",
        "--no-portfolio",
        "--out", str(tmp_path / "runs"),
    ).search  # fmt: skip
    assert search.algorithm_options == {"reduction_factor": 4, "automl_max_trials": 9}
    assert (search.until_converged, search.priors, search.portfolio) == (0.0, True, False)
    assert search.warm_start == (str(run),)
    assert study_of("--until-converged", "30").search.until_converged == 30.0
    plain = study_of().search
    assert (plain.until_converged, plain.priors, plain.warm_start) == (None, False, ())
    assert plain.portfolio


@pytest.mark.parametrize(
    ("flags", "is_on"),
    [
        ("", True), ("--seed 4", False), ("--seed 4 --memory", True), ("--no-memory", False),
        ("studies/s.yaml", False), ("studies/s.yaml --memory", True),
        ("studies/s.yaml --algorithm random", False), ("retail_resnet50 --budget 9", True),
    ],
)  # fmt: skip
def test_a_named_seed_gives_the_same_search_whatever_was_found_before(study_of, flags, is_on):
    assert study_of(*flags.split()).search.memory is is_on


def test_minutes_below_zero_are_refused(study_of):
    with pytest.raises(
        SpecError, match="--until-converged: must be a number of minutes, 0 or more, got -1"
    ):
        study_of("--until-converged", "-1")


def test_a_flag_takes_the_place_of_the_files_value_whether_set_or_fixed(study_of):
    study = study_of("studies/s.yaml", "--set", "train.a=2", "--fix", "train.num_epochs=3")
    assert study.search.fix == {"train.a": 2, "train.num_epochs": 3}
    assert study.spec["train"] == {"a": 2, "num_epochs": 3}
    assert study.spec["model"] == {"backbone": "timm/resnet18"}


def test_two_flags_for_one_key_stay_two(study_of):
    study = study_of("studies/s.yaml", "--set", "train.c=2", "--fix", "train.c=3")
    assert (study.spec["train"]["c"], study.search.fix["train.c"]) == (2, 3)  # refused by the space
