import os
from pathlib import Path

import pytest

from hpo.core.durable_files import rename_durably, write_atomically


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "sub" / "f.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["f.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.fixture
def steps(monkeypatch):
    """What is synced and renamed, in order: names, and `-> name` for a rename."""
    found, fsync, rename = [], os.fsync, os.replace

    def note_sync(descriptor):
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.split("-")[0])
        fsync(descriptor)

    def note_rename(source, target, *rest, **more):
        found.append(f"-> {Path(target).name}")
        rename(source, target, *rest, **more)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    monkeypatch.setattr(os, "rename", note_rename)
    return found


def test_a_file_and_its_name_are_on_the_disk_before_the_next_step(tmp_path, steps):
    (folder := tmp_path / "run").mkdir()
    write_atomically(folder / "study.yaml", "name: shelf")
    assert steps == [".study.yaml", "-> study.yaml", "run"]
    steps.clear()
    write_atomically(folder / "state.json", "{}", is_durable=False)
    assert steps == ["-> state.json"]


def test_a_folder_gets_its_name_when_all_in_it_is_on_the_disk(tmp_path, steps):
    (tmp_path / "new" / "sub").mkdir(parents=True)
    (tmp_path / "new" / "a").touch()
    (tmp_path / "new" / "sub" / "b").touch()
    rename_durably(tmp_path / "new", tmp_path / "best")
    assert sorted(steps[:4]) == ["a", "b", "new", "sub"]
    assert steps[4:] == ["-> best", tmp_path.name.split("-")[0]]
