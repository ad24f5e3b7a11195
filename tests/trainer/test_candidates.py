"""What a network could start from: names, folders, what is at hand."""

import json

import pytest
import torch

from trainer.candidates import find_candidates, weights_at_hand
from trainer.errors import CheckpointError, SpecError
from trainer.models.weight_sources import INSTALLED, installed_file

needs_weights = pytest.mark.skipif(
    installed_file("lite0") is None, reason="the extra `weights` is not installed"
)
SIDES = ("model.input_height", "model.input_width")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def models(tmp_path):
    """A folder with a weight file, a note, and a folder of timm's."""
    folder = tmp_path / "models"
    (folder / "mine").mkdir(parents=True)
    for file in (folder / "net.pth", folder / "mine" / "model.bin"):
        torch.save({"weight": torch.zeros(1)}, file)
    (folder / "read me.txt").write_text("about them")
    config = {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 96, 96]}}
    (folder / "mine" / "config.json").write_text(json.dumps(config))
    return folder


def pairs(found):
    return [(c["weights"], c["spec"].get("model.backbone")) for c in found["candidates"]]


@needs_weights
def test_installed_weights_are_at_hand():
    installed = [name for name in INSTALLED if installed_file(name)]
    assert weights_at_hand() == (installed, [])
    found = find_candidates({})
    assert pairs(found) == [(name, None) for name in installed]
    assert all(c["spec"][side] == 160 for c in found["candidates"] for side in SIDES)


@needs_weights
def test_every_weights_meets_every_size():
    found = find_candidates({}, weights=("lite0", "lite0"), sizes=(96, 128, 96))["candidates"]
    assert [c["spec"]["model.input_width"] for c in found] == [96, 128]
    assert [c["name"] for c in found] == ["lite0, 96 px", "lite0, 128 px"]


def test_random_weights_and_files_go_with_every_trunk(models):
    file = str(models / "net.pth")
    found = find_candidates({}, weights=("none", file), trunks=("timm/a", "timm/b"), sizes=(64,))
    assert pairs(found) == [(w, t) for w in ("none", file) for t in ("timm/a", "timm/b")]
    assert found["candidates"][0]["name"] == "timm/a random, 64 px"
    assert pairs(find_candidates({}, trunks=("timm/a",))) == [("none", "timm/a")]


def test_a_folder_stands_for_all_weights_in_it(models):
    found = find_candidates({}, weights=(str(models),), trunks=("timm/test_resnet",), gpus=1)
    assert pairs(found) == [
        (str(models / "net.pth"), "timm/test_resnet"),
        (f"local-dir:{models / 'mine'}", None),
    ]
    assert not any(side in c["spec"] for c in found["candidates"] for side in SIDES)
    inner = find_candidates({}, weights=(str(models / "mine"),))
    assert pairs(inner) == [(f"local-dir:{models / 'mine'}", None)]


def test_what_the_spec_sets_is_taken_where_nothing_is_named(models):
    file = str(models / "net.pth")
    given = {"model": {"backbone": "timm/a", "input_height": 48, "pretrained_trunk_path": file}}
    found = find_candidates(given)
    assert pairs(found) == [(file, "timm/a")]
    assert not any(side in found["candidates"][0]["spec"] for side in SIDES)
    assert pairs(find_candidates({"model.backbone": "timm/a"})) == [("none", "timm/a")]


def test_weights_in_the_cache_that_are_no_models_are_noted(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    snapshot = tmp_path / "hub" / "models--some--words" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"x")
    _, notes = weights_at_hand()
    assert [note.partition(" is left out")[0] for note in notes] == ["hf-hub:some/words"]


@pytest.mark.parametrize(
    ("named", "error", "message"),
    [
        ({"weights": ("{}/net.pth",)}, SpecError, "names no model; name the one"),
        ({"weights": ("{}/gone.pth",)}, CheckpointError, "does not exist"),
        ({"weights": ("lite7",)}, CheckpointError, "did you mean lite"),
        (
            {"weights": ("local-dir:{}/mine",), "trunks": ("timm/a",)},
            SpecError,
            "would not be used",
        ),
    ],
)
def test_names_that_mean_nothing_are_refused(models, named, error, message):
    filled = {key: tuple(v.format(models) for v in values) for key, values in named.items()}
    with pytest.raises(error, match=message):
        find_candidates({}, **filled)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="must hold weight files"):
        find_candidates({}, weights=(str(tmp_path),))
