import os
import tempfile
from pathlib import Path

import pytest

from hpo.core.errors import MachineError
from hpo.core.own_cache import own_cache
from tests.nobody import plant_folder


@pytest.fixture(autouse=True)
def _at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ({}, "home/.cache/hpo-recognition"),
        ({"XDG_CACHE_HOME": "caches"}, "home/.cache/hpo-recognition"),  # relative: not looked at
        ({"XDG_CACHE_HOME": "{}/caches"}, "caches/hpo-recognition"),
        ({"XDG_CACHE_HOME": "{}/caches", "HPO_CACHE_DIR": "{}/mine"}, "mine"),
        ({"HPO_CACHE_DIR": "~/mine"}, "home/mine"),
        ({"HPO_CACHE_DIR": "here"}, "here"),
    ],
)
def test_the_folder_is_where_the_users_caches_are(tmp_path, monkeypatch, given, folder):
    for name, value in given.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert own_cache() == tmp_path / folder / "other-trainers"
    assert own_cache().is_dir()


@pytest.mark.parametrize("home", ["file", "/proc/nowhere"])
def test_where_the_usual_one_cannot_be_made_it_is_among_the_temporary_files(
    tmp_path, monkeypatch, home
):
    Path("file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    folder = tmp_path / "scratch" / f"hpo-data-{os.geteuid()}"
    assert own_cache() == folder
    folder.rmdir()
    plant_folder(folder)
    with pytest.raises(MachineError, match="hpo-data-.* must be a folder of yours"):
        own_cache()


def test_one_that_is_named_and_cannot_be_written_is_refused(tmp_path, monkeypatch):
    Path("file").touch()
    for named in ("file", "~nobody-of-that-name"):
        monkeypatch.setenv("HPO_CACHE_DIR", named)
        words = rf"^HPO_CACHE_DIR: must be a folder that can be written, got {named} \("
        with pytest.raises(MachineError, match=words):
            own_cache()
