"""Unpacks untrusted archives within the target folder and a size limit."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING

from trainer.errors import DataError, InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")

_MAX_RATIO = 200
"""Unpacked over packed size; images hardly shrink, a file of zeros shrinks a thousandfold."""
_RATIO_FREE_BYTES = 100_000_000
"""Below this size the ratio is not looked at: small drawings on white may shrink a lot."""
_MAX_MEMBERS = 10_000_000
_MAX_DEPTH = 32
_KEEP_FREE_BYTES = 64_000_000
_CHUNK = 1 << 20
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    OSError,
    RuntimeError,
    NotImplementedError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    is_folder: bool = False
    content: IO[bytes] | None = None
    refusal: str = ""
    """Why this member is not taken, empty where it is."""


def archive_suffix(name: str) -> str | None:
    """The known suffix that a file name ends with, in lower case."""
    return next((s for s in ARCHIVE_SUFFIXES if name.lower().endswith(s)), None)


def extract(archive: Path, target: Path) -> tuple[int, int]:
    """Unpack regular files and folders below `target`; links inside the archive become copies.

    Args:
        archive: a .tar.gz, .tgz, .tar or .zip file.
        target: an existing, empty folder.

    Returns:
        Number of files and of bytes written.

    Raises: DataError: damaged, or with a member that is absolute, leaves the target, links out of
        it or is a device, or
            with more data than an archive of this size can honestly hold.
        InfrastructureError: the disk is too small.
    """
    budget = _Budget(archive, target)
    read = _zip_members if archive_suffix(archive.name) == ".zip" else _tar_members
    try:
        for member in read(archive):
            _write(member, target, budget)
    except _DAMAGE as error:
        raise DataError(
            f"{archive}: damaged or not an archive ({_why(error, archive)}); fetch or pack it again"
        ) from error
    return budget.num_files, budget.num_bytes


def _why(error: BaseException, archive: Path) -> str:
    if archive.stat().st_size == 0:
        return "it is empty"
    text = " ".join(str(error).split())
    return "of no known format" if "could not be opened" in text else text


class _Budget:
    """Counts what was written and stops what cannot be honest or does not fit."""

    def __init__(self, archive: Path, target: Path) -> None:
        self.archive = archive
        self.num_files = 0
        self.num_bytes = 0
        self._num_members = 0
        self._most = max(_RATIO_FREE_BYTES, archive.stat().st_size * _MAX_RATIO)
        self._room = shutil.disk_usage(target).free - _KEEP_FREE_BYTES

    def add_member(self, *, is_file: bool) -> None:
        self._num_members += 1
        self.num_files += is_file
        if self._num_members > _MAX_MEMBERS:
            raise DataError(f"{self.archive}: more than {_MAX_MEMBERS} members; refused")

    def add_bytes(self, count: int) -> None:
        self.num_bytes += count
        if self.num_bytes > self._most:
            raise DataError(
                f"{self.archive}: unpacks to over {self._most / 1e6:.0f} MB, more than "
                f"{_MAX_RATIO} times its size; refused as a decompression bomb"
            )
        if self.num_bytes > self._room:
            raise InfrastructureError(
                f"{self.archive}: the disk of the cache is full after "
                f"{self.num_bytes / 1e9:.1f} GB; set HPO_CACHE_DIR to a larger one"
            )


def _write(member: _Member, target: Path, budget: _Budget) -> None:
    refusal = member.refusal or _refuse_name(member.name)
    if refusal:
        raise DataError(f"{budget.archive}: member {member.name!r} {refusal}; nothing was unpacked")
    path = target.joinpath(*PurePosixPath(member.name).parts)
    budget.add_member(is_file=not member.is_folder)
    if member.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.content is None:
        raise DataError(
            f"{budget.archive}: member {member.name!r} has no content; nothing was unpacked"
        )
    with member.content as source, path.open("wb") as file:
        while chunk := source.read(_CHUNK):
            budget.add_bytes(len(chunk))
            file.write(chunk)


def _refuse_name(name: str) -> str:
    """Why a member of this name would not stay inside; empty where it does."""
    path = PurePosixPath(name)
    if path.is_absolute() or PureWindowsPath(name).drive or "\\" in name:
        return "has an absolute path"
    if ".." in path.parts:
        return "leaves the target folder"
    return "lies too deep" if len(path.parts) > _MAX_DEPTH else ""


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as tar:
        for info in tar:
            if info.isdir():
                yield _Member(name=info.name, is_folder=True)
            elif info.isfile():
                yield _Member(name=info.name, content=tar.extractfile(info))
            elif info.issym() or info.islnk():
                yield _linked(tar, info)
            else:
                yield _Member(name=info.name, refusal="is a device or pipe")


def _linked(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    """A link as the file that it points to, if that is in the archive."""
    base = PurePosixPath(info.name).parent if info.issym() else PurePosixPath()
    depth = len(base.parts)
    for part in PurePosixPath(info.linkname).parts:
        depth += -1 if part == ".." else 1
        if depth < 0 or part == "/":
            return _Member(
                name=info.name, refusal=f"links out of the target folder (to {info.linkname!r})"
            )
    try:
        content = tar.extractfile(info)
    except KeyError:
        content = None
    return _Member(
        name=info.name,
        content=content,
        refusal="" if content else "links to nothing in the archive",
    )


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                yield _Member(name=info.filename, is_folder=True)
            elif kind not in {0, stat.S_IFREG}:
                yield _Member(name=info.filename, refusal="is a link or device")
            else:
                yield _Member(name=info.filename, content=packed.open(info))
