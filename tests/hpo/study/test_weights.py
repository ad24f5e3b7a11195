"""Addresses of weights stay to the letter; paths of files become absolute."""

from pathlib import Path

import pytest

from hpo.core.errors import SpecError
from hpo.study.weights import anchored_weights, check_weights, is_address

ADDRESSES = [
    "timm://resnet18", "timm://resnet50.a1_in1k", "hf-hub:timm/resnet18", "hf-hub:org/name@main",
    "torchvision://ResNet50_Weights.IMAGENET1K_V2", "s3://bucket/x.pth", "lite0", "none",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_stays_to_the_letter(address, tmp_path):
    assert is_address(address)
    assert anchored_weights(address, tmp_path) == address
    assert check_weights(address, "weights", "name a file") == address


def test_paths_are_made_absolute(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    folder = tmp_path / "studies"
    for text, wanted in {
        "w.pth": folder / "w.pth", "./lite0": folder / "lite0", "sub/w": folder / "sub" / "w",
        "../w.pth": tmp_path / "w.pth", "~/w.pth": home / "w.pth", "/a/w.pth": Path("/a/w.pth"),
    }.items():  # fmt: skip
        assert anchored_weights(text, folder) == str(wanted)
        assert not is_address(anchored_weights(text, folder))
    assert anchored_weights("local-dir:saved", folder) == f"local-dir:{folder}/saved"
    assert anchored_weights("local-dir:/saved", folder) == "local-dir:/saved"
    assert anchored_weights("", folder) == ""


def test_a_file_without_an_ending_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "lite0").touch()
    assert anchored_weights("lite0", tmp_path) == str(tmp_path / "lite0")
    monkeypatch.chdir(tmp_path)
    assert check_weights("lite0", "weights", "") == str(tmp_path / "lite0")


def test_a_file_that_is_a_link_keeps_its_ending(tmp_path, monkeypatch):
    (tmp_path / "3f2a").touch()
    (tmp_path / "model.safetensors").symlink_to("3f2a")
    monkeypatch.chdir(tmp_path)
    assert check_weights("model.safetensors", "weights", "") == str(tmp_path / "model.safetensors")
    assert anchored_weights("model.safetensors", tmp_path) == str(tmp_path / "model.safetensors")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(SpecError, match=r"^weights: .*/no\.pth does not exist; name another$"):
        check_weights(str(tmp_path / "no.pth"), "weights", "name another")
    with pytest.raises(SpecError, match="is a folder; name another"):
        check_weights(str(tmp_path), "weights", "name another")
