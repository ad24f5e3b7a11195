"""Folders and archives that hold something other than pictures in class folders."""

import os
import shutil
import struct
import tarfile
import unicodedata
import zipfile

import pytest

from tests.bad_input.judging import Case
from tests.bad_input.shelf import take_model, take_pictures
from tests.bad_input.test_models import TOLD
from tests.bad_input.test_pictures import SEARCH, archive, broken

DATA = "hpo search --data . --in-process --budget 1"
TYPE = "type --train "


def splits(name, keep, *says, words=DATA, spoil=None):
    """The shelf's splits, of which some are kept or renamed."""

    def make(desk):
        take_pictures(desk)
        for old in ("train", "gallery", "val"):
            if old not in keep:
                shutil.rmtree(desk / old)
        for old, new in keep.items():
            (desk / new).parent.mkdir(parents=True, exist_ok=True)
            (desk / old).rename(desk / new)
        if spoil:
            spoil(desk)

    return Case(name=name, words=words, make=make, says=says)


TWO = {"train": "train", "val": "val"}
SPLITS = [
    splits("train and val in search", TWO, "train and val", "not classes", "gallery", TYPE),
    splits("train and val in plan", TWO, "not classes", TYPE, words=DATA.replace("search", "plan")),
    splits(
        "train and val split by class", TWO, "--class-disjoint", words=f"{DATA} --class-disjoint"
    ),
    splits("in capitals", {"train": "TRAIN", "val": "Test"}, "TRAIN and Test", TYPE),
    splits("two training sets", {"train": "train", "val": "training"}, "training set", TYPE),
    splits(
        "gallery and queries alone", {"gallery": "index", "val": "query"}, "the training set", TYPE
    ),
    splits("wrapped", {"train": "a/b/train", "val": "a/b/valid"}, "a/b", "--query", TYPE),
    splits(
        "pictures right in the splits",
        TWO,
        "class folders",
        "train and val",
        spoil=lambda d: (
            [
                (shutil.copy(p, d / split / f"{p.parent.name}{p.name}"), p.unlink())
                for split in TWO
                for p in list((d / split).rglob("*.png"))
            ]
            and [shutil.rmtree(p) for split in TWO for p in (d / split).iterdir() if p.is_dir()]
        ),
    ),
    broken(
        "splits as training set",
        lambda d: None,
        "gallery, train and val",
        "name one of them",
        words=SEARCH.replace("--train train", "--train ."),
    ),
    Case(
        name="splits as training set of the trainer",
        words="ml_recog train -e spec.yaml dataset.train_dataset=all",
        make=lambda d: [shutil.copytree(take_model(d) / "train", d / "all" / s) for s in TWO],
        says=("dataset.train_dataset", "train and val", "not classes"),
        told=TOLD,
    ),
    Case(
        name="splits as pictures to label",
        words="ml_recog inference -e spec.yaml inference.input_path=all",
        make=lambda d: [shutil.copytree(take_model(d) / "train", d / "all" / s) for s in TWO],
        says=("train and val", "not classes"),
        told=TOLD,
    ),
]


def _zip_splits(desk, *names, into="photos.zip"):
    with zipfile.ZipFile(desk / into, "w") as packed:
        for name in names:
            for path in sorted((desk / name).rglob("*.png")):
                packed.write(path, f"ds/{path.relative_to(desk)}")


def _tar_of(desk, spoil=None, into="train.tar.gz"):
    with tarfile.open(desk / into, "w:gz") as tar:
        tar.add(desk / "train", "a/b/train")
        if spoil:
            spoil(tar)


def _add_link(tar, name, to):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    tar.addfile(info)


ARCHIVES = [
    broken(
        "train and val in one archive",
        lambda d: _zip_splits(d, "train", "val"),
        "photos.zip",
        "unpack it",
        "--train ds/train",
        words=DATA.replace("--data .", "--data photos.zip"),
    ),
    archive(
        "splits as training archive",
        lambda d: _zip_splits(d, "train", "val", into="train.zip"),
        "train and val",
        file="train.zip",
    ),
    archive(
        "an archive within an archive",
        lambda d: (
            _tar_of(d, into="inner.tar.gz"),
            zipfile.ZipFile(d / "train.zip", "w").write(d / "inner.tar.gz", "x/inner.tar.gz"),
        ),
        "inner.tar.gz is an archive",
        file="train.zip",
    ),
    archive("a looped link", lambda d: _tar_of(d, lambda t: _add_link(t, "a/l", "l")), "itself"),
    archive("a dangling link", lambda d: _tar_of(d, lambda t: _add_link(t, "a/l", "x")), "nothing"),
    archive(
        "a 7z archive",
        lambda d: (d / "train.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(90)),
        "which is not read",
        file="train.7z",
    ),
    archive(
        "a zstd archive",
        lambda d: (d / "train.tar.zst").write_bytes(struct.pack("<I", 0xFD2FB528) + bytes(90)),
        "which is not read",
        file="train.tar.zst",
    ),
    archive(
        "one part of several",
        lambda d: (d / "train.zip.001").write_bytes(b"PK\x03\x04" + bytes(90)),
        "join them first",
        file="train.zip.001",
    ),
    archive(
        "a name longer than a file system takes",
        lambda d: _tar_of(d, lambda t: t.add(d / "train/class_00/00.png", "a/" + "x" * 300)),
        "too long",
    ),
]


def _regroup(desk, pattern):
    """Put a group between the training set and its classes."""
    for number, path in enumerate(sorted((desk / "train").iterdir())):
        for i in range(2):
            group = desk / "train" / pattern.format(number)
            shutil.copytree(path, group / f"p{i}", dirs_exist_ok=True)
        shutil.rmtree(path)


GROUPS = [
    broken(
        "groups of classes",
        lambda d: _regroup(d, "group{}"),
        "no class folder in it holds pictures directly",
        "group0/ (p0/, p1/) and group1/ (p0/, p1/)",
    ),
    broken(
        "groups of classes to be split",
        lambda d: _regroup(d, "group{}"),
        "group0/ (p0/, p1/)",
        words="hpo search --data train --in-process",
    ),
    broken(
        "one class with classes in it",
        lambda d: (_regroup(d, "g"), shutil.copy(d / "val/class_00/00.png", d / "train/g")),
        "its only class folder holds pictures and folders of pictures",
    ),
    Case(
        name="groups of classes as reference of the trainer",
        words="ml_recog evaluate -e spec.yaml dataset.val_dataset.reference=all",
        make=lambda d: [
            shutil.copytree(take_model(d) / "train" / c, d / "all" / g / c)
            for g in ("x", "y")
            for c in ("class_00", "class_01")
        ],
        says=("dataset.val_dataset.reference", "holds pictures directly"),
        told=TOLD,
    ),
]


def _only_twin(desk):
    """Leave one class, in both spellings of Unicode."""
    for split in ("train", "gallery", "val"):
        for number, form in enumerate(("NFC", "NFD")):
            name = unicodedata.normalize(form, "café")
            (desk / split / f"class_0{number}").rename(desk / split / name)


NAMES = [
    broken("two spellings of one class", _only_twin, "caf", "alone"),
    broken(
        "a query class in bytes that the gallery lacks",
        lambda d: (d / "val/class_01").rename(d / "val" / os.fsdecode(b"caf\xe9")),
        r"caf\xe9",
        "gallery",
    ),
    broken(
        "a class of one picture with a line break",
        lambda d: (
            (d / "train" / "new\nline").mkdir(),
            shutil.copy(d / "train/class_00/00.png", d / "train" / "new\nline" / "1.png"),
        ),
        r"new\nline",
    ),
    broken(
        "a folder of bytes that is empty",
        lambda d: (d / os.fsdecode(b"d\xff")).mkdir(),
        r"d\xff",
        "no class folders",
        words=("hpo", "search", "--data", os.fsdecode(b"d\xff"), "--in-process"),
    ),
    broken(
        "a broken picture in a folder of bytes",
        lambda d: (
            (d / "train/class_01").rename(d / "train" / os.fsdecode(b"caf\xe9")),
            (d / "train" / os.fsdecode(b"caf\xe9") / "x\x1b[1m.png").write_bytes(b"x"),
        ),
        r"caf\xe9/x\x1b[1m.png",
    ),
    broken(
        "a name that is too long",
        lambda d: None,
        "no such folder",
        words="hpo search --data " + "x" * 300 + " --in-process",
    ),
]

CASES = [*SPLITS, *ARCHIVES, *GROUPS, *NAMES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_layouts_that_cannot_be_used_are_one_line(case, answered, tmp_path):
    line = answered(case)
    assert all(word in line for word in case.says)
    assert "\x1b" not in line
    assert not list(tmp_path.glob("desk/runs/*/*"))
