import gzip
import os
import struct
import zipfile
import zlib

import pytest

from tests.trainer.data.packing import files_below, tar_member, write_tar
from trainer.data.archive import extract
from trainer.errors import DataError


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_of_any_usual_method(write_zip, target, method):
    assert extract(write_zip(("a/1.png", "one"), method=method), target) == (1, 3)


@pytest.mark.parametrize("create_system", [0, 3])
@pytest.mark.parametrize("name", ["ds\\cat\\1.png", "ds\\cat\\", "ds\\dog\\2.png"])
def test_backslashes_of_windows_separate_folders(write_zip, target, create_system, name):
    info = zipfile.ZipInfo(name)
    info.create_system = create_system
    extract(write_zip((info, "x" * (not name.endswith("\\"))), ("other/3.png", "y")), target)
    assert (target / name.replace("\\", "/")).exists()


def test_a_backslash_in_a_name_of_unix_stays(tmp_path, target):
    extract(write_tar(tmp_path / "a.tar", tar_member("a\\b/1.png"), mode="w"), target)
    assert files_below(target) == {"a\\b/1.png"}


RAW = "café 梨".encode()


def renamed_zip(path, raw, flag=0, extra=b""):
    """A zip file whose only member has this name in bytes, with or without the mark of UTF-8."""
    info = zipfile.ZipInfo("#" * len(raw) + "/1.png")
    info.extra = extra
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(info, "x")
    data = path.read_bytes().replace(b"#" * len(raw), raw)
    head, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    marked = bytearray(data)
    for at in (head + 6, central + 8):
        marked[at : at + 2] = struct.pack("<H", flag)
    path.write_bytes(bytes(marked))
    return path


@pytest.mark.parametrize(
    ("raw", "flag", "name"),
    [
        (RAW, 0x800, "café 梨"),
        (RAW, 0, "café 梨"),  # as macOS writes it
        ("café".encode("cp437"), 0, "café"),  # as the format says
        ("苹果".encode("gbk"), 0, "苹果".encode("gbk").decode("cp437")),
    ],
)
def test_zip_names_in_any_encoding(tmp_path, target, raw, flag, name):
    extract(renamed_zip(tmp_path / "a.zip", raw, flag), target)
    assert files_below(target) == {f"{name}/1.png"}


def test_a_zip_name_that_is_kept_in_utf_8_beside_another(tmp_path, target):
    raw = "苹果".encode("gbk")
    body = struct.pack("<BI", 1, zlib.crc32(raw + b"/1.png")) + "苹果/1.png".encode()
    extra = struct.pack("<HH", 0x7075, len(body)) + body
    extract(renamed_zip(tmp_path / "a.zip", raw, extra=extra), target)
    assert files_below(target) == {"苹果/1.png"}


def test_a_zip_name_marked_as_utf_8_that_is_none(tmp_path, target):
    with pytest.raises(DataError, match="a name in it is marked as UTF-8 and is not"):
        extract(renamed_zip(tmp_path / "a.zip", b"caf\xe9", 0x800), target)


def test_a_tar_name_in_latin_1_stays_as_it_is(tmp_path, target):
    name = os.fsdecode(b"caf\xe9/1.png")
    extract(write_tar(tmp_path / "a.tar", tar_member(name), mode="w"), target)
    assert [os.fsencode(path.name) for path in target.iterdir()] == [b"caf\xe9"]


def test_an_encrypted_zip_is_called_so(write_zip, target):
    archive = write_zip(("a/1.png", "x"))
    data = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"a/1.png' is encrypted; unpack the archive with its pass"):
        extract(archive, target)


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (98, "PPMd"), (77, "method 77")])
def test_a_zip_of_a_method_that_is_not_read_names_it(write_zip, target, method, name):
    archive = write_zip(("a/1.png", "x"))
    data = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = data.index(mark) + at
        data[start : start + 2] = struct.pack("<H", method)
    archive.write_bytes(bytes(data))
    with pytest.raises(DataError, match=f"is compressed by {name}, which is not read"):
        extract(archive, target)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.7z",
            b"7z\xbc\xaf\x27\x1c" + bytes(40),
            "is a .7z archive, which is not read; unpack it",
        ),
        ("a.rar", b"Rar!\x1a\x07\x01\x00", "is a .rar archive, which is not read"),
        ("a.zip", b"Rar!\x1a\x07\x00", "is a .rar archive, which is not read"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(40), "is a .zst archive, which is not read"),
        ("a.zip", b"PK\x03\x04" + bytes(90), "it is cut off, or one part of several"),
        ("a.zip.001", b"PK\x03\x04" + bytes(90), "it is one part of several; join them first"),
        ("a.z01", bytes(range(1, 91)), "it is one part of several; join them first"),
        ("a.tar.gz.aa", b"\x1f\x8b\x08" + bytes(90), "damaged"),
        ("a.zip", b"PK\x05\x06\x02\x00" + bytes(16), "it is one part of several; join them first"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "holds no file"),
        ("a.tar", bytes(10240), "holds no file"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(90), "it is a picture"),
        ("a.tar.gz", gzip.compress(b"no tar" * 200), "it is compressed, and no tar archive"),
    ],
)
def test_what_is_not_read_is_called_what_it_is(tmp_path, target, name, content, message):
    archive = tmp_path / name
    archive.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        extract(archive, target)
    assert str(caught.value).startswith(str(archive))
    assert "\n" not in str(caught.value)


def test_a_zip_behind_a_program_is_read(write_zip, target):
    archive = write_zip(("a/1.png", "one"))
    archive.write_bytes(b"MZ" + bytes(5000) + archive.read_bytes())
    assert extract(archive, target) == (1, 3)


@pytest.mark.parametrize("spoil", ["header", "joined", "cut in a header"])
def test_a_tar_that_would_end_too_early_is_refused(tmp_path, target, spoil):
    archive = write_tar(
        tmp_path / "a.tar", *(tar_member(f"a/{i}.png", b"x" * 600) for i in range(3)), mode="w"
    )
    data = bytearray(archive.read_bytes())
    second = 512 + 1024  # where the second member's header begins
    if spoil == "header":
        data[second + 150] ^= 0xFF
    data = data + data if spoil == "joined" else data
    archive.write_bytes(data[: second + 100] if spoil == "cut in a header" else data)
    with pytest.raises(DataError, match=r"is damaged or cut off|goes on behind its end"):
        extract(archive, target)
