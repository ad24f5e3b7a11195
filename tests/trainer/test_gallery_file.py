"""Changes of a gallery on disk: one at a time, whole or not at all, and undone."""

import errno
import multiprocessing

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.gallery import GalleryIndex
from trainer.gallery_file import KEPT, begin, changing, stamp, undo
from trainer.vectors import Vectors


def index_of(*names):
    return GalleryIndex(
        vectors=Vectors.of(np.random.default_rng(len(names)).normal(size=(len(names), 3))),
        labels_G=np.arange(len(names)), class_names=names, paths=names,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    index_of("a").save(tmp_path / "gallery.npz")
    return tmp_path / "gallery.npz"


def add(path, name):
    with changing(path) as change:
        change.index = change.index.extended(index_of(name))


def names(path):
    return "".join(GalleryIndex.load(path).class_names)


def test_changes_are_undone_one_by_one_and_so_many_are_kept(path):
    for name in "bcdefgh":
        before = stamp(path)
        add(path, name)
        assert stamp(path) != before
    for expected in ("abcdefg", "abcdef", "abcde", "abcd", "abc")[:KEPT]:
        assert "".join(undo(path).class_names) == expected == names(path)
    with pytest.raises(DataError, match="no change to undo; the last 5 are kept"):
        undo(path)
    add(path, "z")
    assert names(path) == "abcz"
    undo(path)
    assert names(path) == "abc"


def test_what_a_kill_left_of_a_change_goes_with_the_next_one(path):
    add(path, "b")
    left = [".gallery.npz.7.7.tmp", "gallery.history/.000002.npz.7.7.tmp", ".winner.onnx.7.7.tmp"]
    for name in left:
        (path.parent / name).write_bytes(b"half")
    add(path, "c")
    assert [(path.parent / name).exists() for name in left] == [False, False, True]


def test_what_changes_nothing_or_fails_leaves_file_and_history(path):
    before = path.read_bytes(), stamp(path)
    with changing(path):
        pass
    with pytest.raises(RuntimeError, match="midway"), changing(path) as change:
        change.index = change.index.extended(index_of("b"))
        raise RuntimeError("midway")
    assert (path.read_bytes(), stamp(path)) == before
    with pytest.raises(DataError, match="no change to undo"):
        undo(path)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("fit", [0, 2])
def test_a_change_that_could_not_be_saved_is_none_to_undo(path, monkeypatch, links, fit):
    """A disk that is full at a step of a change costs no way back.

    Each of its two files waits for the disk twice, with its folder.
    """

    def full(*_):
        raise OSError(errno.ENOSPC, "the disk is full")

    def add_in_vain():
        rest = iter(range(fit))
        with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
            patch.setattr("os.fsync", lambda file: full() if next(rest, None) is None else None)
            add(path, "z")

    if not links:
        monkeypatch.setattr("os.link", full)
    for name in "bcdef":
        add(path, name)
    for _ in range(3):
        add_in_vain()
    add(path, "g")
    folder = path.with_name("gallery.history")
    assert all(file.suffix == ".npz" for file in folder.iterdir())
    for expected in ("abcdef", "abcde", "abcd", "abc", "ab"):
        add_in_vain()
        assert "".join(undo(path).class_names) == expected == names(path)
    with pytest.raises(DataError, match="no change to undo"):
        undo(path)


def test_a_change_that_a_kill_cut_short_is_none_to_undo(path):
    """Between its two steps the present gallery has a second name among those that are kept."""
    for name in "bc":
        add(path, name)
    for name in ("000003.npz", "000004.npz"):
        (path.with_name("gallery.history") / name).hardlink_to(path)
    assert undo(path).class_names == ("a", "b")
    assert undo(path).class_names == ("a",)
    with pytest.raises(DataError, match="no change to undo"):
        undo(path)


def test_a_change_to_the_same_content_is_one_to_undo(path):
    for _ in range(2):
        with changing(path) as change:
            change.index = change.index.matched_by("prototypes")
    for expected in ("prototypes", "nearest"):
        assert undo(path).matching == expected


def test_what_may_not_be_put_back_stays_in_the_history(path):
    add(path, "b")

    def refuse(index):
        raise DataError(f"not {index.class_names}")

    with pytest.raises(DataError, match=r"not \('a',\)"):
        undo(path, refuse)
    assert names(path) == "ab"
    assert undo(path).class_names == ("a",)


def test_a_new_gallery_forgets_the_changes_of_the_one_before(path):
    add(path, "b")
    begin(path, index_of("x"))
    assert names(path) == "x"
    with pytest.raises(DataError, match="no change to undo"):
        undo(path)


def test_a_missing_gallery_is_one_line(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="no such gallery index"), changing(folder / "g.npz"):
            pass
    assert stamp(tmp_path / "g.npz") is None


def add_many(path, letter):
    for number in range(6):
        add(path, f"{letter}{number}")


def test_processes_that_change_one_gallery_lose_nothing(path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add_many, args=(path, letter)) for letter in "xyz"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    expected = {"a"} | {f"{letter}{number}" for letter in "xyz" for number in range(6)}
    assert set(GalleryIndex.load(path).class_names) == expected
