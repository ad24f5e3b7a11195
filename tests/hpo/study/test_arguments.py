"""What a Python call gives is checked as a study file is."""

from pathlib import Path

import numpy as np
import pytest

from hpo.core.errors import SpecError
from hpo.core.yaml_io import to_yaml
from hpo.study.arguments import place_of, study_of_arguments

NOTHING = dict.fromkeys(["study", "data", "budget", "spec", "weights", "options"])


def study_of(**given):
    return study_of_arguments(**{**NOTHING, **given})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"study": 5}, "study: must be text or a Path, got 5"),
        ({"data": 5}, "data: must be text or a Path, got 5"),
        ({"data": {"train": ["a"]}}, "data.train: must be text or a Path, got a list ['a']"),
        ({"data": {3: "a"}}, "data: unknown key 3; it may hold train, reference"),
        ({"weights": ["lite0"]}, "weights: must be text or a Path, got a list ['lite0']"),
        ({"spec": [1]}, "spec: must be a mapping of keys to values, got a list [1]"),
        ({"options": "tpe"}, "options: must be a mapping of keys to values, got 'tpe'"),
        ({"settings": {"name": 5}}, "hpo.search: name: must be text, got 5"),
        ({"options": {"algorythm": "tpe"}}, "options: unknown key 'algorythm'; did you mean"),
        ({"options": {"algorithm": None}}, "options: algorithm: must be text, got nothing"),
        ({"options": {"seed": -1}}, "options.seed: must be at least 0, got -1"),
        ({"options": {"seed": "4"}}, "options: seed: must be a whole number, got '4'"),
        ({"options": {"over": "train.lr"}}, "options: over: must be a list of names"),
        ({"options": {"max_latency": 5}}, "options: max_latency: must be text, got 5"),
        ({"options": {"warm_start": Path("a")}}, "options: warm_start: must be a list of names"),
        ({"options": {"average": 1}}, "options: average: must be true or false, got 1"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(given, says):
    with pytest.raises(SpecError) as caught:
        study_of(**given)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_paths_and_numbers_of_numpy_are_taken():
    options = {"seed": np.int64(7), "warm_start": [Path("/runs/a")], "until_converged": 2.5}
    study = study_of(spec={"train": {"num_epochs": np.int32(3)}}, options=options)
    assert study.search.seed == 7
    assert study.search.warm_start == ("/runs/a",)
    assert not study.search.memory  # as a seed is named
    assert study.spec["train"]["num_epochs"] == 3
    assert "num_epochs: 3" in to_yaml(study.to_dict())


def test_a_tilde_is_the_home_folder_everywhere_but_in_addresses(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "s.yaml").write_text("schema_version: 1\nname: home\n")
    assert study_of(study="~/s.yaml").name == "home"
    assert study_of(data="~/photos").data.folder == f"{tmp_path}/photos"
    assert study_of(data="s3://lot/~/photos").data.folder == "s3://lot/~/photos"
    assert place_of("out", Path("~/runs")) == f"{tmp_path}/runs"
