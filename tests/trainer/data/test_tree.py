import os
import tempfile
from pathlib import Path

import pytest

from tests.nobody import as_nobody
from trainer.data.tree import list_folder, list_pictures, walk
from trainer.errors import DataError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_everything_is_sorted_into_its_kind(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/b/2.JPEG", "a/b/3.jfif", "a/x.xyz", "a/Thumbs.db", "a/._1.jpg")
    touch(tmp_path, "a/.4.png", "a/.hidden/5.png", "a/.git/config", "a/noend", "a/6.png ")
    (tmp_path / "a/gone.png").symlink_to("nowhere.png")
    (tmp_path / "a/gone").symlink_to("nowhere")
    (tmp_path / "a/self").symlink_to("self")
    (tmp_path / "a/7.png").symlink_to("b/2.JPEG")
    os.mkfifo(tmp_path / "a/8.png")
    found = walk(tmp_path, "a")
    assert found.pictures == ["a/1.jpg", "a/6.png ", "a/7.png", "a/b/2.JPEG", "a/b/3.jfif"]
    assert found.others == ["a/noend", "a/x.xyz"]
    assert found.hidden == ["a/.4.png", "a/.hidden"]
    assert found.broken == ["a/8.png", "a/gone.png"]
    assert found.dead_links == ["a/gone", "a/self"]
    assert found.loops == []


def test_links_to_folders_are_followed_and_no_folder_is_read_twice(tmp_path):
    touch(tmp_path, "elsewhere/deep/1.png", "root/a/2.png", "root/a/b/3.png", "root/other/4.png")
    (tmp_path / "root/a/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/again").symlink_to("b")
    (tmp_path / "root/a/up").symlink_to("..")
    (tmp_path / "root/a/b/back").symlink_to(tmp_path / "root/a")
    (tmp_path / "elsewhere/deep/home").symlink_to(tmp_path / "root/a")
    found = walk(tmp_path / "root", "a")
    assert found.pictures == ["a/2.png", "a/b/3.png", "a/out/deep/1.png"]
    assert sorted(found.loops) == ["a/again", "a/b/back", "a/out/deep/home", "a/up"]


def test_many_links_between_folders_end(tmp_path):
    for i in range(12):
        touch(tmp_path, f"r/{i}/{i}.png")
        for j in range(12):
            (tmp_path / f"r/{i}/to{j}").symlink_to(tmp_path / f"r/{j}")
    found = walk(tmp_path, "r/0")
    assert len(found.pictures) == 12


def test_a_listing_leaves_out_links_to_folders_above(tmp_path):
    touch(tmp_path, "root/a/1.png", "root/2.png", "elsewhere/3.png")
    for name, target in (("here", "."), ("above", ".."), ("b", "../elsewhere"), ("self", "self")):
        (tmp_path / "root" / name).symlink_to(target)
    listing = list_folder(tmp_path / "root")
    assert listing.folders == ("a", "b")
    assert sorted(listing.found.loops) == ["above", "here"]
    assert listing.found.dead_links == ["self"]
    assert listing.found.pictures == ["2.png"]


def test_a_folder_that_may_not_be_read_is_named():
    with (
        as_nobody(),
        tempfile.TemporaryDirectory() as scratch,
    ):  # below no folder that is root's alone
        root = Path(scratch)
        touch(root, "a/1.png")
        (root / "a").chmod(0)
        with pytest.raises(DataError, match=r"a: cannot be read \(Permission denied\)"):
            walk(root, "a")
        (root / "a").chmod(0o700)


def test_a_folder_that_has_gone_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone: cannot be read \(No such file"):
        walk(tmp_path, "gone")


def test_pictures_behind_links_are_listed_once(tmp_path):
    shots = tmp_path / "shots"
    touch(shots, "a/1.png", "a/2.JPG", "a/.hidden.png", "a/notes.txt")
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "a").symlink_to(shots / "a")
    (shots / "a" / "loop").symlink_to(folder)
    assert [p.name for p in list_pictures(folder)] == ["1.png", "2.JPG"]
