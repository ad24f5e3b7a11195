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
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
