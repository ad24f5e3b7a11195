import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpo.cli.cache import parse_age
from hpo.core.errors import SpecError
from tests.decoded import open_cache
from trainer.data.decode import ImageSize
from trainer.data.folder import scan_folder
from trainer.data.split import split_folder


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Two caches of 3 and 2 pictures; the second was used ten days ago."""
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    roots = []
    for name, count in (("new", 3), ("old", 2)):
        folder = tmp_path / name / "a"
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(folder / f"{i}.png")
        open_cache(scan_folder(folder.parent), ImageSize(height=12, width=10))
        roots.append(folder.parent)
    for meta in (tmp_path / "cache").glob("images/*/meta.json"):
        if str(roots[1]) in meta.read_text():
            os.utime(meta, (time.time() - 10 * 86400,) * 2)
    return roots


def test_the_table_tells_size_count_pixels_use_and_source(hpo, caches):
    code, out, err = hpo("cache")
    assert (code, err) == (0, "")
    header, new, old, _, total = out.splitlines()
    assert header.split() == [
        *("NAME", "SIZE", "IMAGES", "PIXELS", "WHAT", "LAST", "USED", "IMAGES", "OF")
    ]
    assert "  3  12x10   pictures  just now" in new
    assert new.endswith(str(caches[0]))
    assert "10 d ago" in old
    assert total.endswith("/cache")
    assert "of 20.0 GB (HPO_CACHE_GB) in" in total


def test_clear_by_age_and_by_folder(hpo, json_of, caches, monkeypatch):
    assert hpo("cache", "clear", "--older-than", "7d", "--yes")[1].startswith("removed 1 set, ")
    (left,) = json_of("cache", "ls")["caches"]
    assert (left["source"], left["images"], left["in_use"]) == (str(caches[0]), 3, False)
    monkeypatch.chdir(caches[0].parent)
    found = json_of("cache", "clear", "new", "--yes")
    assert [row["source"] for row in found["removed"]] == [str(caches[0])]
    code, out, _ = hpo("cache", "ls")
    assert code == 0
    assert out.startswith("nothing is kept in ")


def test_a_split_is_shown_and_cleared_by_the_folder_of_its_user(
    hpo, json_of, tmp_path, monkeypatch
):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    shots = tmp_path / "my shots"
    for number in range(20):
        (shots / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(
            shots / "ab"[number % 2] / f"{number}.png"
        )
    sources = split_folder(shots, tmp_path / "cache" / "splits" / "s", seed=0)
    open_cache(scan_folder(Path(sources["train"])), ImageSize(height=12, width=10))
    assert hpo("cache")[1].splitlines()[1].endswith(f"  {shots}")
    (row,) = json_of("cache")["caches"]
    assert (row["images_of"], row["source"]) == (str(shots), sources["train"])
    assert len(json_of("cache", "clear", shots, "--yes")["removed"]) == 1


def test_an_unpacked_archive_is_shown_and_cleared_by_its_file(
    hpo, json_of, caches, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    key = "3f" * 16
    record = {"source": str(tmp_path / "shots.zip"), "files": 7, "bytes": 1_200_000}
    (tmp_path / "cache" / "staged" / key / "files").mkdir(parents=True)
    (tmp_path / "cache" / "staged" / key / "staging.json").write_text(json.dumps(record))
    (tmp_path / "shots.zip").touch()
    row = next(row for row in hpo("cache")[1].splitlines() if row.startswith(key[:12]))
    assert row.split()[1:6] == ["1.2", "MB", "7", "-", "unpacked"]
    assert row.endswith(record["source"])
    (gone,) = json_of("cache", "clear", "shots.zip", "--yes")["removed"]
    assert (gone["kind"], gone["bytes"]) == ("staged", 1_200_000)
    assert len(json_of("cache")["caches"]) == 2


def test_what_is_in_use_is_shown_and_left(hpo, caches):
    images = open_cache(scan_folder(caches[0]), ImageSize(height=12, width=10))
    assert "in use" in hpo("cache", "ls")[1]
    code, out, _ = hpo("cache", "clear", "--yes")
    assert code == 0
    assert out.splitlines()[1] == "left 1 set that a running program uses"
    assert images.shape == (3, 12, 10, 3)


def test_wrong_use_is_one_line(fails, caches):
    assert "--yes" in fails("cache", "clear")
    assert "nothing: no decoded pictures, features or unpacked files of that" in fails(
        "cache", "clear", "nothing", "--yes"
    )
    assert "as 7d, got '7'" in fails("cache", "clear", "--older-than", "7", "--yes")
    assert "belong to `hpo cache clear`" in fails("cache", "ls", "x")
    assert "keeps nothing of pictures" in fails(
        "cache", "--trainer", "tests.benchmarks.noop_trainer:TRAINER"
    )


def test_a_person_is_asked(hpo, caches, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, words in (("", "nothing removed"), ("y", "removed 2 sets, ")):
        monkeypatch.setattr("builtins.input", lambda answer=answer: answer)
        code, out, err = hpo("cache", "clear")
        assert code == 0
        assert out.startswith(words)
        assert err.startswith("remove all 2 sets (")


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("1.5h", 5400), ("7d", 604800)])
def test_ages(text, seconds):
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "7", "nanh", "infd", "7w"])
def test_ages_that_are_none(text):
    with pytest.raises(SpecError, match=r"--older-than"):
        parse_age(text)
