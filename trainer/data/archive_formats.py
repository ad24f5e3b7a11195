"""What an archive is, by its content, and its members, whatever tool packed it."""

from __future__ import annotations

import logging
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trainer.amounts import size_text
from trainer.errors import DataError

_READABLE = ".zip, .tar, .tar.gz, .tar.bz2, .tar.xz"

_MAGIC_BYTES = 512
_UNREAD: tuple[tuple[bytes, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", ".7z"),
    (b"Rar!\x1a\x07", ".rar"),
    (b"\x28\xb5\x2f\xfd", ".zst"),
    (b"\x04\x22\x4d\x18", ".lz4"),
    (b"\x1f\x9d", ".Z"),
    (b"LZIP", ".lz"),
    (b"MSCF", ".cab"),
    (b"!<arch>\n", ".ar"),
    (b"ustar\x00cpio", ".cpio"),
)
"""Beginnings of archives that nothing here reads."""
_PACKED_TAR = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"]\x00\x00")
_PARTS = re.compile(r"\.(\d{3}|z\d\d|part\d+(\.rar)?|r\d\d|a[a-z])$", re.IGNORECASE)
"""Endings of one part of several."""
_LONGEST_LINK = 4096
_HEADERS = {
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
}
_LONGEST_HEADER = 1_000_000
"""Bytes of a name, or of a record of names and times, before a member of a tar archive."""
_MOST_PADDING = 1 << 22
"""Bytes that are looked at behind the end of a tar archive."""
_LONGEST_ZIP_END = 65_557
"""A zip file ends with a record of 22 bytes and a comment of up to 64 KiB."""
_IS_UTF_8 = 0x800
_UNICODE_PATH = 0x7075
"""Extra field of a zip member with its name in UTF-8."""
_MULTI_VOLUME, _VOLUME_LABEL = b"M", b"V"
_READ_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
_DRIVE = re.compile(r"[A-Za-z]:(/|$)")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of an archive."""

    name: str
    """Its path within the archive, with forward slashes."""
    is_folder: bool = False
    link: str = ""
    """Where a symbolic link leads, relative to its folder; empty for anything else."""
    hard_link: str = ""
    """Path within the archive of a file that this is another name of."""
    content: IO[bytes] | None = None
    """Of a file."""
    refusal: str = ""
    """Why this member is not taken, empty where it is."""


def read_members(archive: Path) -> Iterator[Member]:
    """Yield an archive's members in their order; what it is, its content decides.

    Raises:
        DataError: it is no archive, or one that is not read here, with the reason.
        OSError, RuntimeError, EOFError and the errors of tarfile, zipfile and zlib: it is damaged.
    """
    return _reader_of(archive)(archive)


def _reader_of(archive: Path) -> Callable[[Path], Iterator[Member]]:
    with archive.open("rb") as file:
        head = file.read(_MAGIC_BYTES)
    if not head:
        raise _refused(archive, "it is empty")
    if head.startswith(b"PK"):
        return _zip_members
    for magic, name in _UNREAD:
        if head.startswith(magic):
            raise DataError(
                f"{archive}: is a {name} archive, which is not read; unpack it, or pack it as one "
                f"of {_READABLE}"
            )
    if head.startswith(_PACKED_TAR) or _is_tar(head):
        return _tar_members
    if zipfile.is_zipfile(archive):  # behind a program that unpacks it
        return _zip_members
    if _PARTS.search(archive.name):
        raise _refused(archive, "it is one part of several; join them first")
    is_picture = head.startswith(_PICTURES)
    raise _refused(archive, "it is a picture" if is_picture else "of no known format")


def _refused(archive: Path, why: str) -> DataError:
    return DataError(
        f"{archive}: damaged or not an archive ({why}); must be a folder, one of {_READABLE}, or a "
        "list (.csv, .parquet)"
    )


def _is_tar(head: bytes) -> bool:
    """Whether this is the header of a member, by its checksum, or the end of an empty archive."""
    if len(head) == _MAGIC_BYTES and not any(head):
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


class _Entry(tarfile.TarInfo):
    """A header of a tar archive; what it says of the next one is read into memory at once."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > _LONGEST_HEADER:
            name = os.fsdecode(archive.name or "")
            raise DataError(
                f"{name}: holds a header of {size_text(self.size)}; refused as a decompression bomb"
            )
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, "r:*", tarinfo=_Entry) as tar:
        for info in tar:
            yield _tar_member(tar, info)
        _demand_whole(tar, archive)


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    name = _unix_path(info.name)
    if info.isdir() or info.type == _VOLUME_LABEL:
        return Member(name=name if info.isdir() else ".", is_folder=True)
    if info.isfile():
        return Member(name=name, content=tar.extractfile(info))
    if info.issym():
        return Member(name=name, link=info.linkname)
    if info.islnk():
        return Member(name=name, hard_link=_unix_path(info.linkname))
    if info.type == _MULTI_VOLUME:
        return Member(name=name, refusal="begins in another volume; join the volumes first")
    return Member(name=name, refusal="is a device or pipe")


def _demand_whole(tar: tarfile.TarFile, archive: Path) -> None:
    """Refuse an archive that has a damaged header, or goes on behind its end.

    tarfile takes both for the end, so that pictures would be missing without a word.
    """
    file = tar.fileobj
    assert file is not None  # noqa: S101 - it is open
    file.seek(tar.offset)
    mark = file.read(tarfile.BLOCKSIZE)
    if not mark:
        _logger.warning("%s: ends without a mark; it may have been cut off", archive)
    if mark.strip(b"\0") or 0 < len(mark) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"the header at byte {tar.offset} is damaged or cut off")
    try:
        rest = file.read(_MOST_PADDING)
    except (OSError, EOFError, zlib.error):
        return  # what follows a complete archive is not a part of it
    if rest.strip(b"\0"):
        raise tarfile.ReadError("it goes on behind its end; pack joined archives anew, as one")


def _zip_members(archive: Path) -> Iterator[Member]:
    _demand_zip_end(archive)
    try:
        packed = zipfile.ZipFile(archive)
    except UnicodeDecodeError as error:
        raise zipfile.BadZipFile("a name in it is marked as UTF-8 and is not") from error
    with packed:
        unmarked = False
        for info in packed.infolist():
            yield _zip_member(packed, info)
            unmarked |= not (info.filename.isascii() or info.flag_bits & _IS_UTF_8)
    if unmarked:
        _logger.info("%s: names that are not marked as UTF-8 were read as code page 437", archive)


def _demand_zip_end(archive: Path) -> None:
    """Refuse a part of a zip file: the list of members stands at the end of the last one."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(0, size - _LONGEST_ZIP_END))
        end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0 and not _PARTS.search(archive.name):
        raise zipfile.BadZipFile("it is cut off, or one part of several")
    if at < 0 or end[at + 4 : at + 6] not in {b"\0\0", b"\xff\xff"}:
        raise zipfile.BadZipFile("it is one part of several; join them first")


def _zip_member(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    name = _unix_path(_zip_name(info), is_from_windows=info.create_system == 0)
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system != 0 else 0
    if name.endswith("/") or kind == stat.S_IFDIR:
        return Member(name=name, is_folder=True)
    if info.flag_bits & 0x1:
        return Member(name=name, refusal="is encrypted; unpack the archive with its password first")
    if info.compress_type not in _READ_METHODS:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        return Member(
            name=name, refusal=f"is compressed by {method}, which is not read; pack it anew"
        )
    if kind == stat.S_IFLNK:
        if info.file_size > _LONGEST_LINK:
            return Member(name=name, refusal="is a link whose target is too long")
        return Member(name=name, link=packed.read(info).decode("utf-8", "surrogateescape"))
    if kind not in {0, stat.S_IFREG}:
        return Member(name=name, refusal="is a device or pipe")
    return Member(name=name, content=packed.open(info))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A member's name: many tools write UTF-8 without saying so, others add it in a field."""
    name = info.orig_filename.split("\0", 1)[0]
    if info.flag_bits & _IS_UTF_8 or name.isascii():
        return name
    raw = name.encode("cp437")  # which zipfile has read it by, as the format says
    for given in (raw, _unicode_path(info.extra, raw)):
        try:
            return given.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return name


def _unicode_path(extra: bytes, raw: bytes) -> bytes:
    """The name in UTF-8 that some tools keep beside one in another encoding; else that one."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field = extra[4 : 4 + size]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BI", 1, zlib.crc32(raw)):
            return field[5:]
        extra = extra[4 + size :]
    return raw


def _unix_path(name: str, *, is_from_windows: bool = False) -> str:
    """A name with the separators of this system: some tools write those of Windows."""
    if "\\" in name and (is_from_windows or "/" not in name):
        return name.replace("\\", "/")
    return name


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a member's path."""
    return tuple(part for part in name.split("/") if part not in {"", "."})


def refuse_path(name: str, most_parts: int) -> str:
    """Why a member of this name would not stay inside the target; empty where it does."""
    if name.startswith("/") or _DRIVE.match(name):
        return "has an absolute path"
    if "\0" in name:
        return "has a name that no file system takes"
    parts = parts_of(name)
    depth = 0
    for part in parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return "leaves the target folder"
    if ".." in parts:
        return "has '..' in its path"
    return "lies too deep" if len(parts) > most_parts else ""
