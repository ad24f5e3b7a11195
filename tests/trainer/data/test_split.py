import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from trainer.data.folder import scan_folder
from trainer.data.sources import open_source
from trainer.data.split import split_folder
from trainer.errors import DataError

NAMES = ["train", "reference", "query", "test_reference", "test_query"]


def sources(split, name):
    """The original files behind a split."""
    folder = scan_folder(split[name])
    return {(folder.root / path).resolve() for path in folder.paths}


def test_every_image_has_one_place(make_folder, tmp_path):
    root = make_folder("all", {f"c{i}": 20 for i in range(4)})
    split = split_folder(root, tmp_path / "out", seed=1)
    assert list(split) == NAMES
    parts = [sources(split, name) for name in ("train", "reference", "query", "test_query")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 80
    assert [len(part) for part in parts] == [4 * 13, 4 * 3, 4 * 2, 4 * 2]
    assert split["test_reference"] == split["reference"]


def test_every_class_is_in_every_part(make_folder, tmp_path):
    root = make_folder("all", {"a": 5, "b": 6, "c": 30})
    split = split_folder(root, tmp_path / "out", seed=1)
    for name in NAMES:
        assert scan_folder(split[name]).classes == ("a", "b", "c")
    assert scan_folder(split["train"]).counts().min() >= 2


def test_disjoint_classes_are_not_trained_on(make_folder, tmp_path):
    root = make_folder("all", {f"c{i:02d}": 6 for i in range(10)})
    split = split_folder(root, tmp_path / "out", seed=1, class_disjoint=True)
    classes = {name: set(scan_folder(split[name]).classes) for name in NAMES}
    assert classes["reference"] == classes["query"]
    assert classes["test_reference"] == classes["test_query"]
    unions = [classes["train"], classes["query"], classes["test_query"]]
    assert [len(names) for names in unions] == [6, 2, 2]
    assert len(set().union(*unions)) == 10
    parts = [sources(split, name) for name in NAMES]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 60


@pytest.mark.parametrize("class_disjoint", [False, True])
def test_the_same_seed_repeats_and_another_differs(make_folder, tmp_path, class_disjoint):
    root = make_folder("all", {f"c{i}": 9 for i in range(7)})

    def train(out, seed):
        split = split_folder(root, tmp_path / out, seed=seed, class_disjoint=class_disjoint)
        return sources(split, "train")

    assert train("one", 3) == train("two", 3) != train("three", 4)


def test_the_same_call_finds_its_split_again(make_folder, tmp_path):
    root = make_folder("all", {"a": 6, "b": 6})
    first = split_folder(root, tmp_path / "out", seed=3)
    stamp = Path(first["train"]).stat().st_mtime_ns
    assert split_folder(root, tmp_path / "out", seed=3) == first
    assert Path(first["train"]).stat().st_mtime_ns == stamp


def test_another_folder_of_the_same_name_gets_its_own(make_folder, tmp_path):
    one, two = make_folder("x/all", {"a": 6, "b": 6}), make_folder("y/all", {"a": 6, "b": 6})
    first, second = (split_folder(root, tmp_path / "out", seed=3) for root in (one, two))
    assert sources(first, "train").isdisjoint(sources(second, "train"))


def test_a_class_keeps_its_split_when_others_come(make_folder, tmp_path):
    root = make_folder("all", {"b": 9, "c": 9})
    before = sources(split_folder(root, tmp_path / "out", seed=3), "train")
    make_folder("all/a", {"": 0})
    for i in range(9):
        (root / "a" / f"{i}.png").write_bytes((root / "b" / f"{i}.png").read_bytes())
    after = sources(split_folder(root, tmp_path / "out", seed=3), "train")
    assert before < after


@pytest.fixture
def splits(make_folder, tmp_path):
    """`photos` with the usual four splits in it."""
    for name, count in (("train", 6), ("gallery", 2), ("val", 3), ("test", 4)):
        make_folder(f"photos/{name}", {"a": count, "b": count})
    return tmp_path / "photos"


def test_a_folder_of_splits_is_used_as_it_is(splits, tmp_path, caplog):
    assert split_folder(splits, tmp_path / "out", seed=1) == {
        "train": f"{splits}/train",
        "reference": f"{splits}/gallery",
        "query": f"{splits}/val",
        "test_query": f"{splits}/test",
    }
    assert f"{splits}: holds splits, used as --train {splits}/train --reference" in caplog.text
    assert not (tmp_path / "out").exists()


def test_an_archive_of_splits_is_used_as_it_is(splits, tmp_path, caplog):
    archive = shutil.make_archive(str(tmp_path / "shots"), "zip", splits.parent, "photos")
    found = split_folder(Path(archive), tmp_path / "out", seed=1)
    counts = {name: len(scan_folder(path).paths) for name, path in found.items()}
    assert counts == {"train": 12, "reference": 4, "query": 6, "test_query": 8}
    assert f"{archive}: holds splits, used as --train photos/train" in caplog.text


def test_splits_in_doubt_are_refused_with_what_to_type(splits, tmp_path):
    shutil.rmtree(splits / "gallery")
    with pytest.raises(DataError) as caught:
        split_folder(splits, tmp_path / "out", seed=1)
    assert f"{splits}: holds splits (test, train and val), not classes" in str(caught.value)
    assert f"type --train {splits}/train --reference {splits}/train" in str(caught.value)
    archive = shutil.make_archive(str(tmp_path / "shots"), "gztar", splits.parent, "photos")
    with pytest.raises(DataError, match=r"shots.tar.gz: unpack it first.*--query photos/val"):
        split_folder(Path(archive), tmp_path / "out", seed=1)


def test_splits_cannot_be_split_by_class(splits, tmp_path):
    with pytest.raises(DataError, match="leave out --class-disjoint"):
        split_folder(splits, tmp_path / "out", seed=1, class_disjoint=True)


def test_a_folder_of_any_name_is_split(make_folder, tmp_path):
    names = {os.fsdecode(name): 6 for name in (b"caf\xe9", b"new\nline", b" x ")}
    (tmp_path / os.fsdecode(b"d\xff")).mkdir()
    root = make_folder(os.fsdecode(b"all"), names)
    root = root.rename(tmp_path / os.fsdecode(b"d\xff") / "all")
    split = split_folder(root, tmp_path / "out", seed=1)
    assert scan_folder(split["query"]).classes == (" x ", r"caf\xe9", r"new\nline")


def test_a_class_of_another_spelling_keeps_its_split(make_folder, tmp_path):
    found = []
    for form in ("NFC", "NFD"):
        root = make_folder(f"{form}/all", {unicodedata.normalize(form, "é"): 9, "b": 9})
        train = scan_folder(split_folder(root, tmp_path / "out", seed=3)["train"])
        found.append([path.rsplit("/", 1)[1] for path in train.paths])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("counts", "class_disjoint", "message"),
    [
        (
            {"a": 5, "b": 4, "c": 1},
            False,
            r"needs 5 pictures or more.*2 of 3 have fewer: b \(4\), c .*which takes 2$",
        ),
        (
            {f"c{i}": 1 + i for i in range(8)},
            True,
            r"needs 2 pictures.*c0 \(1\); add pictures, or leave these classes out$",
        ),
        ({f"c{i}": 9 for i in range(5)}, True, "needs 6 classes or more, got 5"),
    ],
)
def test_too_small_sets_are_refused_by_name(make_folder, tmp_path, counts, class_disjoint, message):
    root = make_folder("all", counts)
    with pytest.raises(DataError, match=message):
        split_folder(root, tmp_path / "out", seed=1, class_disjoint=class_disjoint)
    assert not (tmp_path / "out").exists()


def test_a_picture_that_goes_after_the_split_is_named_without_a_row_of_a_list_nobody_wrote(
    make_folder, tmp_path
):
    make_folder("all", {"b": 6, "a": 6})
    rows = [f"all/{label}/{i}.png,{label}" for label in "ba" for i in range(6)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    split = split_folder(tmp_path / "list.csv", tmp_path / "out", seed=1)
    rows = Path(split["train"]).read_text().splitlines()[1:]
    first, other = (Path(rows[i].partition(",")[0]) for i in (1, 3))
    first.unlink()
    other.unlink()
    with pytest.raises(DataError) as told:
        open_source(split["train"])
    assert str(told.value) == (
        f"{tmp_path}/list.csv: no such picture: {first}; 1 more row with errors"
    )
