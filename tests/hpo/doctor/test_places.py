"""Folders that cannot be written or are full, as `hpo doctor` tells of them before a search."""

import tempfile
from types import SimpleNamespace

import pytest

from hpo.doctor import places
from hpo.doctor.places import check_cache, check_runs, check_temporary
from hpo.executors import ray_folder
from hpo.study.trainers import find_trainer
from tests.crashes.driver import on_disk
from tests.quick_trainer import TRAINER

OWN = find_trainer("ml_recog")


def test_a_folder_below_a_file_is_no_place_for_runs(tmp_path):
    (tmp_path / "file").write_text("")
    check = check_runs(tmp_path / "file" / "below")
    assert (check.status, check.advice) == ("error", "choose another --out")
    assert check.text == f"{tmp_path}/file/below cannot be written: {tmp_path}/file is not a folder"


@pytest.mark.parametrize(
    ("free_gib", "status", "text"),
    [(0.05, "error", "51 MiB"), (9.9, "warning", "10 GiB"), (10.1, "ok", "10 GiB")],
)
def test_a_folder_to_be_made_is_judged_by_the_room_on_its_disk(
    tmp_path, monkeypatch, free_gib, status, text
):
    asked = []

    def usage(folder):
        asked.append(folder)
        return SimpleNamespace(free=int(free_gib * 1024**3))

    monkeypatch.setattr(places.shutil, "disk_usage", usage)
    check = check_runs(tmp_path / "not" / "there")
    assert (check.status, asked) == (status, [tmp_path])
    assert check.text == f"{tmp_path}/not/there: {text} free"
    assert bool(check.advice) is (status != "ok")
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(("options", "is_read_only"), [("size=1m", True), ("nr_inodes=1", False)])
def test_disks_that_take_no_file(tmp_path, monkeypatch, options, is_read_only):
    disk = tmp_path / "disk"
    monkeypatch.setenv("HPO_CACHE_DIR", str(disk / "cache"))

    def work():
        return "|".join(f"{c.status}:{c.text}" for c in (check_runs(disk), check_cache(OWN)))

    told = on_disk(disk, options, work, is_read_only=is_read_only)
    if told is None:
        pytest.skip("this machine lets no process mount a file system")
    runs, cache = told.split("|")
    assert runs.startswith(f"error:{disk} cannot be written: ")
    assert cache.startswith("error:HPO_CACHE_DIR: must be a folder that can be written, and ")


def test_a_cache_that_stands_in_for_the_usual_one_deserves_a_look(tmp_path, monkeypatch, caplog):
    for name in ("HPO_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    check = check_cache(OWN)
    assert (check.status, check.advice) == (
        "warning",
        "set HPO_CACHE_DIR to a folder that can be written",
    )
    assert "/proc/nowhere/.cache" in check.text
    assert caplog.messages == []


def test_a_trainer_without_a_cache_has_a_folder_in_that_of_hpo(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path))
    assert check_cache(TRAINER).text.startswith(f"{tmp_path}/other-trainers")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "file"))
    assert check_cache(TRAINER).status == "error"


def test_a_long_folder_for_temporary_files_is_known(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 100)))
    check = check_temporary()
    assert check.status == "warning"
    assert "too long" in check.text
    monkeypatch.setattr(ray_folder, "SHORT", ())
    check = check_temporary()
    assert check.status == "error"
    assert check.text.startswith("TMPDIR: must be")
    monkeypatch.setenv("RAY_TMPDIR", "/proc/nowhere")
    assert check_temporary().text.startswith("RAY_TMPDIR: must be")


def test_no_folder_for_temporary_files(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nowhere"])
    check = check_temporary()
    assert check.status == "error"
    assert "No usable temporary directory" in check.text
