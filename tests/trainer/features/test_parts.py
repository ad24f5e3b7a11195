"""Parts of a set that several compute: threads stand for processes, as each opens locks anew."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from trainer.data.cached_sets import _remove_leftovers, parts_path
from trainer.features.parts import Parts


def make(folder, count, fill):
    """Parts of three rows each."""
    return Parts(folder, [slice(3 * n, 3 * n + 3) for n in range(count)], fill, 2)


def expected(count):
    return np.repeat(np.arange(count, dtype=np.float32), 3)[:, None] * np.ones(2, np.float32)


@pytest.mark.parametrize(("count", "helpers"), [(1, 1), (2, 1), (7, 1), (9, 3)])
def test_each_part_is_computed_once_by_all_who_are_there(tmp_path, count, helpers):
    seen, out = [], np.full((3 * count, 2), np.nan, np.float32)
    at_once = threading.Barrier(min(count, helpers + 1))
    is_built = threading.Event()

    def fill(number, rows, num_ready):
        seen.append((number, threading.get_ident(), num_ready))
        if number == 0 or number > count - 1 - helpers:
            at_once.wait(30)  # comes to its end only where so many are at work
        rows[:] = number

    def help_to_the_end():
        while not is_built.is_set():
            make(tmp_path / "parts", count, fill).help()

    with ThreadPoolExecutor(helpers) as pool:
        asked = [pool.submit(help_to_the_end) for _ in range(helpers)]
        try:
            make(tmp_path / "parts", count, fill).build(out)
        finally:
            is_built.set()
    assert [one.result() for one in asked] == [None] * helpers
    assert sorted(number for number, _, _ in seen) == list(range(count))
    assert len({thread for _, thread, _ in seen}) >= min(count, helpers + 1)
    assert all(0 <= ready <= 3 * (count - 1) for _, _, ready in seen)
    np.testing.assert_array_equal(out, expected(count))
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_a_helper_left_is_computed_by_the_builder(tmp_path):
    out, begun = np.empty((6, 2), np.float32), []

    def fail(number, rows, num_ready):
        begun.append(number)
        raise RuntimeError("on purpose")

    def fill(number, rows, num_ready):
        if number == 0:
            with pytest.raises(RuntimeError, match="on purpose"):
                make(tmp_path / "parts", 2, fail).help()
        rows[:] = number

    make(tmp_path / "parts", 2, fill).build(out)
    assert begun == [1]
    np.testing.assert_array_equal(out, expected(2))


def test_a_part_that_cannot_be_kept_is_computed_by_the_builder(tmp_path):
    out, begun = np.empty((6, 2), np.float32), []

    def fill(number, rows, num_ready):
        begun.append(number)
        if begun == [0, 1]:  # the folder is lost, as room on a full disk is
            (tmp_path / "parts").rename(tmp_path / "elsewhere")
            (tmp_path / "parts").touch()
        elif begun == [0]:
            assert make(tmp_path / "parts", 2, fill).help() is False
            (tmp_path / "parts").unlink()
            (tmp_path / "elsewhere").rename(tmp_path / "parts")
        rows[:] = number

    make(tmp_path / "parts", 2, fill).build(out)
    assert begun == [0, 1, 1]
    np.testing.assert_array_equal(out, expected(2))


def test_what_a_kill_leaves_of_parts_that_are_removed_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path))
    place = parts_path(tmp_path / "features", "0" * 32)
    left = [place, place.with_name(f"{place.name}.tmp")]
    for folder in left:
        folder.mkdir(parents=True)
    _remove_leftovers(tmp_path)
    assert not [folder for folder in left if folder.exists()]


def test_a_helper_computes_nothing_once_the_builder_has_ended(tmp_path, monkeypatch):
    claimed, filled = Parts._claimed, []

    @contextmanager
    def claim_late(parts, number, *, waits):
        """The set becomes whole once the helper has the lock."""
        with claimed(parts, number, waits=waits) as is_ours:
            parts.folder.rename(tmp_path / "gone")
            yield is_ours

    (tmp_path / "parts").mkdir()
    monkeypatch.setattr(Parts, "_claimed", claim_late)
    assert make(tmp_path / "parts", 1, lambda *words: filled.append(words)).help() is False
    assert filled == []


def test_where_nobody_builds_there_is_nothing_to_do(tmp_path):
    parts = make(tmp_path / "parts", 2, None)
    assert parts.help() is False
    assert list(tmp_path.iterdir()) == []
