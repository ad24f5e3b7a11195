"""Keys that a search sets itself: refused in one line, with what to give in their place."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from hpo.core.errors import SpecError
from hpo.study.owned_keys import refuse_owned_keys, refuse_searched
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import StudySpec
from search_spaces import Overlay
from tests.search_spaces.building import number, space_of
from trainer.session import TRAINER


def told(spec=None, **changes):
    """The refusal of a study, or an empty string."""
    study = replace(StudySpec(spec=spec or {}), **changes)
    try:
        refuse_owned_keys(study, TRAINER)
    except SpecError as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("results_dir", "--out"),
        ("train.results_dir", "--out"),
        ("evaluate.results_dir", "--out"),
        ("train.resume_training_checkpoint_path", "hpo resume"),
        ("evaluate.checkpoint", "hpo job evaluate --parent"),
        ("export.checkpoint", "hpo job export --parent"),
        ("export.onnx_file", "hpo job export --parent"),
        ("dataset.train_dataset", "--train"),
        ("dataset.val_dataset.reference", "--reference"),
        ("dataset.val_dataset.query", "--query"),
    ],
)
@pytest.mark.parametrize("how", ["set", "nested", "fixed"])
def test_a_key_that_would_be_overwritten_names_what_does_the_same(key, says, how):
    if how == "fixed":
        line = told(search=SearchOptions(fix={key: "/somewhere"}))
    else:
        first, _, rest = key.partition(".")
        line = told(
            {key: "/somewhere"} if how == "set" or not rest else {first: {rest: "/somewhere"}}
        )
    assert line.startswith(f"{key}: ")
    assert says in line
    assert told({key: ""}) == "", "an empty value asks for nothing"


@pytest.mark.parametrize("key", ["results_dir", "train.results_dir"])
@pytest.mark.parametrize(
    "search",
    [
        lambda key: SearchOptions(over=(f"+{key}",)),
        lambda key: SearchOptions(over=(key,)),
        lambda key: SearchOptions(options={key: [1, 2]}),
        lambda key: SearchOptions(ranges={key: [1, 2]}),
        lambda key: SearchOptions(earlier_stages={"heads": {"options": {key: [1, 2]}}}),
        lambda key: SearchOptions(custom_param_ranges={key: {"valid_options": [1, 2]}}),
    ],
)
def test_what_is_each_trial_s_own_cannot_be_searched(key, search):
    assert told(search=search(key)).startswith(f"{key}: ")


@pytest.mark.parametrize("key", ["train.seed", "train.num_epochs"])
def test_a_space_does_not_vary_what_is_alike_in_all_trials(key):
    nodes = {
        "train.lr": number(1e-4, 1.0, 0.01, "> 0.0"),
        key: {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
    }
    keys = {"seed_key": TRAINER.seed_key, "epochs_key": TRAINER.epochs_key}
    elsewhere = SimpleNamespace(**keys, is_elsewhere=True)
    for overlay in (
        {"options": {key: (4,)}},
        {"fixed": {key: 4}},
        {"ranges": {key: (3.5, 4.5, None)}},
    ):
        assert refuse_searched(space_of(nodes, overlay=Overlay(**overlay)), TRAINER) is None
    for overlay in ({}, {"options": {key: (1, 3)}}, {"ranges": {key: (1, 3, None)}}):
        space = space_of(nodes, overlay=Overlay(**overlay))
        with pytest.raises(SpecError, match=f"^{key}: cannot be searched, as trials "):
            refuse_searched(space, TRAINER)
        assert refuse_searched(space, elsewhere) is None


@pytest.mark.parametrize("value", [None, [], 5, "x"])
@pytest.mark.parametrize("how", ["set", "fixed"])
def test_a_value_in_place_of_a_section_is_refused(value, how):
    below, trains = "set the keys below it, such as train.num_epochs", {"train": value}
    fixed = {"search": SearchOptions(fix=trains)}
    said = told(trains) if how == "set" else told(**fixed)
    assert said.startswith("train: is a section of keys, so it cannot be set to ")
    assert said.endswith(below)
    assert told({"train": {}}) == told({"train": {"num_epochs": None}}) == ""
    assert told({"train.seed": 7}) == ""


def test_sources_that_are_given_twice(tmp_path):
    data = DataSources(train=str(tmp_path / "a"), reference="/r", query="/q")
    key = "dataset.train_dataset"
    line = told({key: "/other"}, data=data)
    assert line == (
        f"{key}: is '/other' in the spec and would be overwritten by {str(tmp_path / 'a')!r}; "
        "give it with --train alone"
    )
    assert told({key: str(tmp_path / "b" / ".." / "a")}, data=data) == "", "the same place"
    assert "--data alone" in told({key: "/other"}, data=DataSources(folder="/photos"))
    assert "the embedded pictures" in told({key: "/other"})


def test_weights_that_are_given_twice():
    key = "model.pretrained_trunk_path"
    assert told({key: "/w.pth"}) == ""
    assert told({key: "/w.pth"}, weights="/w.pth") == ""
    assert "give it with --weights alone" in told({key: "/w.pth"}, weights="/v.pth")


def test_every_wrong_key_is_told_at_once():
    line = told({"results_dir": "/a", "train.results_dir": "/b", "evaluate.checkpoint": "/c"})
    assert [part.partition(":")[0] for part in line.split("; ") if ": must" in part] == [
        "results_dir", "train.results_dir", "evaluate.checkpoint",
    ]  # fmt: skip


def test_the_same_at_the_command_line(fails_to_search):
    assert "results_dir: must be left out" in fails_to_search("--set", "results_dir=/tmp/x")


@pytest.fixture
def fails_to_search(tmp_path, capsys, monkeypatch):
    from hpo.cli.main import main

    monkeypatch.chdir(tmp_path)

    def call(*words):
        assert main(["search", "--budget", "1", "--in-process", "--yes", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert not list(tmp_path.iterdir())
        return line

    return call
