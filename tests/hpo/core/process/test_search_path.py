"""The order of folders."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hpo.core.process.search_path import NEEDED, ROOT, hidden_by, holds_another_hpo, ordered

STANDARD = str(Path(os.__file__).parent)
SITE = str(Path(np.__file__).parents[1])


def test_the_working_directory_comes_last_and_the_standard_library_first(tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(other), STANDARD, SITE])
    assert ordered() == [STANDARD, str(other), SITE, str(tmp_path)]
    monkeypatch.setattr(sys, "path", [".", str(other), SITE, STANDARD])
    assert ordered() == [STANDARD, str(other), SITE, str(tmp_path)]


def test_a_link_to_the_working_directory_is_the_working_directory(tmp_path, monkeypatch):
    here, link = tmp_path / "here", tmp_path / "link"
    here.mkdir()
    link.symlink_to(here)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [str(link), SITE])
    assert ordered() == [SITE, str(link)]


def test_a_folder_that_hides_a_package_comes_behind_the_packages(tmp_path, monkeypatch):
    bad, good = tmp_path / "bad", tmp_path / "good"
    for folder, name in ((bad, "numpy.py"), (good, "numpy_tools.py")):
        folder.mkdir()
        (folder / name).write_text("")
    (good / "timm").mkdir()  # a checkout that is meant to be used
    monkeypatch.setattr(sys, "path", [str(bad), str(good), SITE, str(tmp_path / "missing")])
    assert ordered() == [str(good), SITE, str(tmp_path / "missing"), str(bad)]
    assert hidden_by(str(bad)) == ["numpy"]


@pytest.mark.parametrize("name", ["hpo.py", "hpo/__init__.py"])
def test_a_folder_with_another_hpo_comes_behind_ours(name, tmp_path, monkeypatch):
    other = tmp_path / "other"
    (other / name).parent.mkdir(parents=True)
    (other / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(other), SITE, ROOT])
    assert ordered() == [SITE, ROOT, str(other)]


def test_a_folder_named_hpo_without_modules_hides_nothing(tmp_path):
    (tmp_path / "hpo" / "runs").mkdir(parents=True)
    assert not holds_another_hpo(str(tmp_path))


def test_a_removed_working_directory_is_no_fault(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(sys, "path", ["", SITE, STANDARD])
    assert ordered() == [STANDARD, SITE]


def test_no_needed_package_is_a_single_file():
    """Or the folder of packages would be taken for one that hides them."""
    assert hidden_by(SITE) == []
    assert {name for name in NEEDED if (Path(SITE) / name / "__init__.py").is_file()} >= {
        "numpy", "torch", "ray", "mlflow", "yaml", "PIL", "onnx",
    }  # fmt: skip
