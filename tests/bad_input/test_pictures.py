"""Folders, archives and pictures that no search can be made of."""

import gzip
import io
import os
import shutil
import struct
import tarfile
import zipfile
import zlib

import pytest

from tests.bad_input.judging import Case
from tests.bad_input.shelf import take_pictures

SEARCH = (
    "hpo search --train train --reference gallery --query val --weights lite0 --in-process --budget 1"
    " --search-over train.optim.trunk.base_lr"  # the whole space takes a second to compile
)


def broken(name, spoil, *says, words=SEARCH):
    """Sound pictures with one thing spoilt."""

    def make(desk):
        spoil(take_pictures(desk))

    return Case(name=name, words=words, make=make, says=says)


def picture(content, name="03.png"):
    """Write something in place of one training picture."""

    def spoil(desk):
        (desk / "train" / "class_01" / "03.png").unlink()
        (desk / "train" / "class_01" / name).write_bytes(
            content(desk) if callable(content) else content
        )

    return spoil


def _cut(desk, part=0.5, source="train/class_00/02.png"):
    whole = (desk / source).read_bytes()
    return whole[: int(len(whole) * part)]


def _as_jpeg(desk):
    from PIL import Image

    out = io.BytesIO()
    Image.open(desk / "train/class_00/02.png").convert("RGB").save(out, "JPEG")
    return out.getvalue()


def _png(width, height, data=b""):
    """A PNG that claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def _folder_for(desk):
    for path in (desk / "train/class_01").glob("*.png"):
        path.unlink()
        path.mkdir()


def _link(desk, target):
    path = desk / "train/class_01/03.png"
    path.unlink()
    path.symlink_to(target)


def _pipe(desk):
    path = desk / "train/class_01/03.png"
    path.unlink()
    os.mkfifo(path)


PICTURES = [
    broken("empty picture", picture(b""), "03.png", "empty"),
    broken("text as png", picture(b"hello"), "03.png"),
    broken("random bytes as png", picture(os.urandom(300)), "03.png"),
    broken("png cut in half", picture(_cut), "03.png"),
    broken("png head alone", picture(lambda d: _cut(d)[:20]), "03.png"),
    broken("jpeg cut in half", picture(lambda d: _as_jpeg(d)[:400], "03.jpg"), "03.jpg"),
    broken("png of 1e9 pixels", picture(_png(40_000, 30_000)), "03.png", "pixels"),
    broken("png of 4e18 pixels", picture(_png(2**31 - 1, 2**31 - 1)), "03.png"),
    broken("png of no pixels", picture(_png(0, 0)), "03.png"),
    broken("png without data", picture(_png(32, 32)), "03.png"),
    broken("svg as png", picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "03.png"),
    broken("pdf as jpg", picture(b"%PDF-1.4\n%%EOF", "03.jpg"), "03.jpg"),
    broken("web page as jpg", picture(b"<!DOCTYPE html><html>404</html>", "03.jpg"), "03.jpg"),
    broken("a folder named like a picture", _folder_for, "train"),
    broken("a link to nothing", lambda d: _link(d, "gone.png"), "03.png"),
    broken("a link to itself", lambda d: _link(d, "03.png"), "03.png"),
    broken("a pipe as picture", _pipe, "03.png"),
    broken("a device as picture", lambda d: _link(d, "/dev/zero"), "03.png"),
]


def _keep(folder, names):
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _rename_classes(desk, split, to):
    for path in sorted((desk / split).iterdir()):
        path.rename(path.with_name(path.name.replace("class", to)))


FOLDERS = [
    broken("train missing", lambda d: shutil.rmtree(d / "train"), "train"),
    broken("query missing", lambda d: shutil.rmtree(d / "val"), "val"),
    broken(
        "train is a file",
        lambda d: (shutil.rmtree(d / "train"), (d / "train").write_text("x")),
        "train",
    ),
    broken("train is empty", lambda d: _keep(d / "train", ()), "train", "class folders"),
    broken(
        "train has empty classes",
        lambda d: [_keep(f, ()) for f in (d / "train").iterdir()],
        "train",
        "no pictures",
    ),
    broken("train has one class", lambda d: shutil.rmtree(d / "train/class_01"), "train", "class"),
    broken(
        "train has pictures without classes",
        lambda d: (
            [shutil.copy(p, d / "train") for p in (d / "train/class_00").iterdir()]
            and [shutil.rmtree(d / "train" / c) for c in ("class_00", "class_01")]
        ),
        "train",
        "<class>/<image>",
    ),
    broken(
        "a class with one image", lambda d: _keep(d / "train/class_01", ("00.png",)), "class_01"
    ),
    broken(
        "no picture has a known ending",
        lambda d: [p.rename(p.with_suffix(".xyz")) for p in (d / "train").rglob("*.png")],
        "train",
    ),
    broken(
        "gallery without a query class",
        lambda d: shutil.rmtree(d / "gallery/class_01"),
        "class_01",
        "gallery",
    ),
    broken(
        "gallery with other classes",
        lambda d: _rename_classes(d, "gallery", "thing"),
        "no class in common",
    ),
    broken("query is empty", lambda d: _keep(d / "val", ()), "val"),
    broken(
        "one folder with one class",
        lambda d: shutil.rmtree(d / "train/class_01"),
        "train",
        words="hpo search --data train --in-process",
    ),
    broken(
        "one folder, too few for a split by class",
        lambda d: None,
        "class",
        words="hpo search --data train --class-disjoint --in-process",
    ),
    broken(
        "one folder that is empty",
        lambda d: _keep(d / "train", ()),
        "train",
        words="hpo search --data train --in-process",
    ),
    broken(
        "one folder that is missing",
        lambda d: None,
        "nowhere",
        words="hpo search --data nowhere --in-process",
    ),
    broken(
        "one folder is a picture",
        lambda d: None,
        "02.png",
        words="hpo search --data train/class_00/02.png --in-process",
    ),
    broken(
        "a bucket that cannot be reached",
        lambda d: None,
        "s3://",
        words="hpo search --train s3://nobody/train --reference gallery --query val --in-process",
    ),
    broken(
        "an address of another kind",
        lambda d: None,
        "gopher://",
        words="hpo search --train gopher://x/train --reference gallery --query val --in-process",
    ),
    broken(
        "test queries of another class",
        lambda d: (shutil.copytree(d / "val", d / "test"), _rename_classes(d, "test", "new")),
        "test",
        words=SEARCH + " --test-query test",
    ),
]


def _tar(desk, members, name="train.tar.gz", mode="w:gz"):
    with tarfile.open(desk / name, mode) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if content is not None else None)


def _member(name, content=b"x", **facts):
    info = tarfile.TarInfo(name)
    info.size = len(content) if content is not None else 0
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def archive(name, spoil, *says, file="train.tar.gz"):
    words = SEARCH.replace("--train train", f"--train {file}")
    return broken(name, spoil, file, *says, words=words)


def _packed(desk, name="train.tar.gz"):
    with tarfile.open(desk / name, "w:gz") as tar:
        tar.add(desk / "train", "train")
    return desk / name


def _truncate(path, part):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


def _zip_with(desk, *names):
    with zipfile.ZipFile(desk / "train.zip", "w") as file:
        for name in names:
            file.writestr(name, "x")


def _bomb(desk):
    with (
        (desk / "train.tar.gz").open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as out,
    ):
        info, _ = _member("train/class_00/0.png", None)
        info.size = 101_000_000
        out.write(info.tobuf())
        block = bytes(1_000_000)
        for _ in range(101):
            out.write(block)
        out.write(bytes(1024))


def _zip_bomb(desk):
    with zipfile.ZipFile(desk / "train.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("train/class_00/0.png", bytes(101_000_000))


def _locked(desk):
    """A zip whose member is marked as encrypted."""
    _zip_with(desk, "a/b.png")
    data = bytearray((desk / "train.zip").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (desk / "train.zip").write_bytes(bytes(data))


LINK, HARD, CHAR, FIFO = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE
ARCHIVES = [
    archive("archive missing", lambda d: None, "no such"),
    archive("archive empty", lambda d: (d / "train.tar.gz").write_bytes(b"")),
    archive("archive of text", lambda d: (d / "train.tar.gz").write_text("hello")),
    archive("archive cut in half", lambda d: _truncate(_packed(d), 0.5), "damaged"),
    archive("archive cut at the end", lambda d: _truncate(_packed(d), 0.98), "damaged"),
    archive(
        "archive of random bytes",
        lambda d: (d / "train.tar.gz").write_bytes(b"\x1f\x8b\x08" + os.urandom(500)),
    ),
    archive("archive with nothing in it", lambda d: _tar(d, [])),
    archive(
        "archive with ..",
        lambda d: _tar(d, [_member("../../evil.png")]),
        "'../../evil.png'",
        "leaves",
    ),
    archive(
        "archive with an absolute path",
        lambda d: _tar(d, [_member("/srv/evil.png")]),
        "'/srv/evil.png'",
        "absolute",
    ),
    archive(
        "archive with an absolute link",
        lambda d: _tar(d, [_member("a/b.png", None, type=LINK, linkname="/etc/passwd")]),
        "/etc/passwd",
    ),
    archive(
        "archive with a link out of it",
        lambda d: _tar(d, [_member("a/b.png", None, type=LINK, linkname="../../../etc/passwd")]),
        "links out",
    ),
    archive(
        "archive with a hard link out of it",
        lambda d: _tar(d, [_member("a/b.png", None, type=HARD, linkname="../../etc/passwd")]),
        "links out",
    ),
    archive(
        "archive with a link to nothing",
        lambda d: _tar(d, [_member("a/b.png", None, type=LINK, linkname="c.png")]),
        "a/b.png",
    ),
    archive(
        "archive with a device",
        lambda d: _tar(d, [_member("a/b.png", None, type=CHAR, devmajor=1, devminor=5)]),
        "device",
    ),
    archive(
        "archive with a pipe", lambda d: _tar(d, [_member("a/b.png", None, type=FIFO)]), "pipe"
    ),
    archive("archive with a backslash", lambda d: _tar(d, [_member("a\\..\\b.png")])),
    archive("archive a bomb", _bomb, "bomb"),
    archive("zip a bomb", _zip_bomb, "bomb", file="train.zip"),
    archive("zip with ..", lambda d: _zip_with(d, "../evil.png"), "leaves", file="train.zip"),
    archive(
        "zip with an absolute path",
        lambda d: _zip_with(d, "/evil.png"),
        "absolute",
        file="train.zip",
    ),
    archive(
        "zip cut in half",
        lambda d: (_zip_with(d, "a/b.png", "a/c.png"), _truncate(d / "train.zip", 0.5)),
        file="train.zip",
    ),
    archive("zip with a password", _locked, file="train.zip"),
    archive(
        "rar",
        lambda d: (d / "train.rar").write_bytes(b"Rar!\x1a\x07\x00"),
        ".tar.gz",
        file="train.rar",
    ),
    archive("archive that is a folder", lambda d: (d / "train.tar.gz").mkdir(), "class folders"),
    archive(
        "archive of pictures without classes",
        lambda d: _tar(d, [_member("a.png"), _member("b.png")]),
        "class",
    ),
]


CASES = [*PICTURES, *FOLDERS, *ARCHIVES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pictures_that_cannot_be_used_are_one_line(case, answered, tmp_path):
    line = answered(case)
    assert all(word in line for word in case.says)
    assert not list(tmp_path.rglob("evil*"))
    assert not list(tmp_path.glob("desk/runs/*/*"))
