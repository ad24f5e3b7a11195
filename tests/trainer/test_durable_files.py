from pathlib import Path
from types import SimpleNamespace

import pytest

from trainer.durable_files import beside, link_or_copy, write_atomically, write_text


def test_a_failed_write_leaves_the_file_before_it(tmp_path):
    path = tmp_path / "deep" / "last.txt"
    write_text(path, "käse")
    assert path.read_bytes() == "käse".encode()

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(path, fail)
    assert path.read_text(encoding="utf-8") == "käse"
    assert [p.name for p in path.parent.iterdir()] == ["last.txt"]


def test_a_file_gets_a_second_name(tmp_path):
    write_text(tmp_path / "a", "one")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    write_text(tmp_path / "a", "two")
    assert (tmp_path / "b").read_text() == "one"


def test_a_folder_takes_its_place_whole_or_not_at_all(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with pytest.raises(OSError, match="no space"), beside(tmp_path / "model", prefix=".") as draft:
        (draft / "half").touch()
        assert draft.name.startswith(".")
        raise OSError("no space left on device")
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["old"]
    with beside(tmp_path / "model") as draft:
        (draft / "new").touch()
        assert [p.name for p in (tmp_path / "model").iterdir()] == ["old"]
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_link_to_a_folder_stays_and_the_folder_is_replaced(tmp_path):
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    for name in ("first", "second"):
        with beside(tmp_path / "link", prefix=".") as draft:
            (draft / name).touch()
        assert [p.name for p in (tmp_path / "disk" / "real").iterdir()] == [name]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "link"]
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["real"]


def test_what_a_kill_left_between_two_renames_is_there_until_it_is_replaced(tmp_path):
    (tmp_path / ".model.old").mkdir()
    (tmp_path / ".model.old" / "old").touch()
    with beside(tmp_path / "model") as draft:
        assert [p.name for p in (tmp_path / "model").iterdir()] == ["old"]
        (draft / "new").touch()
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == [
        "model",
        "model/new",
    ]


@pytest.mark.parametrize("count", [2, 400])
def test_all_of_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, count):
    """Many files at once: waiting for each takes long."""
    steps, rename = [], Path.rename

    def note(descriptor):
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr("os.fsync", note)
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(syncfs=note))
    monkeypatch.setattr(Path, "rename", lambda *a: (steps.append("renamed"), rename(*a))[1])
    with beside(tmp_path / "set") as draft:
        (draft / "sub").mkdir()
        for number in range(count):
            (draft / "sub" / f"{number}.png").touch()
    files = ["set.tmp", "sub", "0.png", "1.png"] if count == 2 else ["set.tmp"]
    assert sorted(steps[:-2]) == sorted(files)
    assert steps[-2:] == ["renamed", tmp_path.name]
