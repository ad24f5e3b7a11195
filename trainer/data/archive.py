"""Unpacks untrusted archives: nothing is written outside the target folder or beyond a limit."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from trainer.amounts import size_text
from trainer.data.archive_formats import Member, parts_of, read_members, refuse_path
from trainer.data.names import name_bytes, name_text
from trainer.errors import DataError, InfrastructureError

_MAX_RATIO = 200
"""Unpacked over packed size; images hardly shrink, a file of zeros shrinks a thousandfold."""
_RATIO_FREE_BYTES = 100_000_000
"""Below this size the ratio is not looked at: small drawings on white may shrink a lot."""
_MAX_MEMBERS = 10_000_000
_MAX_DEPTH = 32
_MAX_LINKS = 40
"""Links behind one another, as in Linux."""
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
_NAME_PROBLEMS = {
    errno.ENAMETOOLONG: "has a name that is too long for this file system",
    errno.ENOTDIR: "lies in a folder that is a file as well",
    **dict.fromkeys((errno.EISDIR, errno.EEXIST), "is there as a folder and as a file or link"),
    **dict.fromkeys((errno.EILSEQ, errno.EINVAL), "has a name that this file system does not take"),
}

_Parts = tuple[str, ...]


def extract(archive: Path, target: Path) -> tuple[int, int]:
    """Unpack regular files and folders below `target`.

    A link to a file in the archive becomes that file again, one to a folder a link to it.

    Args:
        archive: of any format that `read_members` knows, whatever its ending.
        target: an existing, empty folder.

    Returns:
        Number of files and of bytes written.

    Raises:
        DataError: damaged, encrypted, or of a format that is not read; or with a member that is
            absolute, leaves the target, is a device or a link that leads out or nowhere; or with
            more data than an archive of this size can honestly hold.
        InfrastructureError: the disk is too small or cannot be written.
    """
    unpacking = _Unpacking(archive, target)
    try:
        for member in read_members(archive):
            unpacking.add(member)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine refuses to read or write
        raise DataError(
            f"{archive}: damaged or not an archive ({_why(error)}); fetch or pack it again"
        ) from error
    unpacking.add_links()
    if unpacking.num_files == 0:
        raise DataError(f"{archive}: holds no file")
    return unpacking.num_files, unpacking.num_bytes


def _why(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "it is compressed, and no tar archive" if "could not be opened" in text else text


class _Unpacking:
    """Writes members, and stops what cannot be honest or does not fit."""

    def __init__(self, archive: Path, target: Path) -> None:
        self.num_files = 0
        self.num_bytes = 0
        self._archive = archive
        self._target = target
        self._num_members = 0
        self._most = max(_RATIO_FREE_BYTES, archive.stat().st_size * _MAX_RATIO)
        self._room = shutil.disk_usage(target).free - _KEEP_FREE_BYTES
        self._links: dict[_Parts, Member] = {}

    def add(self, member: Member) -> None:
        """Write a file or folder; links wait until all files are there."""
        refusal = member.refusal or refuse_path(member.name, _MAX_DEPTH)
        if refusal:
            raise self._refused(member, refusal)
        self._num_members += 1
        if self._num_members > _MAX_MEMBERS:
            raise DataError(f"{self._archive}: more than {_MAX_MEMBERS} members; refused")
        parts = parts_of(member.name)
        if member.link or member.hard_link:
            self._links[parts] = member
            return
        path = self._place(parts)
        self._links.pop(parts, None)  # the last entry of a name is the one that counts
        try:
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not os.path.lexists(path)
            file = path.open("wb")
        except OSError as error:
            raise self._cannot_write(member, error) from error
        self.num_files += is_new
        if member.content is None:
            raise self._refused(member, "has no content")
        with member.content as source, file:
            while chunk := source.read(_CHUNK):
                self._count(len(chunk))
                try:
                    file.write(chunk)
                except OSError as error:
                    raise self._cannot_write(member, error) from error

    def add_links(self) -> None:
        """Make what the links lead to, which must be in the archive, appear in their places."""
        for parts, member in self._links.items():
            folder = self._follow(member, "/".join(parts[:-1]))
            place = self._place((*folder, parts[-1]))
            source = self._place(self._target_of(parts, folder, member, frozenset()))
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                if place.is_file():  # an earlier entry of this name
                    place.unlink()
                    self.num_files -= 1
                if source.is_file():
                    _link(source, place)
                    self.num_files += 1
                elif source.is_dir():
                    place.symlink_to(os.path.relpath(source, place.parent))
                else:
                    words = member.hard_link or member.link
                    raise self._refused(member, f"links to nothing in the archive ({words!r})")
            except OSError as error:
                raise self._cannot_write(member, error) from error

    def _target_of(
        self, link: _Parts, folder: _Parts, member: Member, passed: frozenset[_Parts]
    ) -> _Parts:
        """Where a link that lies in a folder leads; `member` and `passed` as in `_follow`."""
        if link in passed or len(passed) >= _MAX_LINKS:
            raise self._refused(member, "links to itself, perhaps through others")
        entry, passed = self._links[link], passed | {link}
        if entry.hard_link:
            return self._follow(member, entry.hard_link, (), passed)
        return self._follow(member, entry.link, folder, passed)

    def _follow(
        self,
        member: Member,
        words: str,
        start: _Parts = (),
        passed: frozenset[_Parts] = frozenset(),
    ) -> _Parts:
        """Follow a path and the links on it within the archive, as a file system would.

        Args:
            member: the link that all this is for.
            words: the path.
            start: the folder that it begins in, itself without links.
            passed: links that were followed on the way.
        """
        here = start
        for part in PurePosixPath(words).parts:
            if part == "/" or (part == ".." and not here):
                to = member.hard_link or member.link
                raise self._refused(member, f"links out of the target folder (to {to!r})")
            here = here[:-1] if part == ".." else (*here, part)
            if here in self._links:
                here = self._target_of(here, here[:-1], member, passed)
        return here

    def _place(self, parts: _Parts) -> Path:
        return self._target.joinpath(*(os.fsdecode(name_bytes(part)) for part in parts))

    def _count(self, number: int) -> None:
        self.num_bytes += number
        if self.num_bytes > self._most:
            raise DataError(
                f"{self._archive}: unpacks to over {size_text(self._most)}, more than "
                f"{_MAX_RATIO} times its size; refused as a decompression bomb"
            )
        if self.num_bytes > self._room:
            raise InfrastructureError(
                f"{self._archive}: cannot be unpacked into the cache, which is full after "
                f"{size_text(self.num_bytes)} ({os.strerror(errno.ENOSPC)}); make room, or set "
                "HPO_CACHE_DIR to a larger disk"
            )

    def _refused(self, member: Member, why: str) -> DataError:
        name = name_text(member.name)
        return DataError(f"{self._archive}: member {name!r} {why}; nothing was unpacked")

    def _cannot_write(self, member: Member, error: OSError) -> DataError | InfrastructureError:
        if error.errno in _NAME_PROBLEMS:
            return self._refused(member, _NAME_PROBLEMS[error.errno])
        return InfrastructureError(
            f"{self._archive}: cannot be unpacked into the cache ({error.strerror}); make room, or "
            "set HPO_CACHE_DIR to another folder"
        )


def _link(source: Path, place: Path) -> None:
    """Give a file a second name."""
    try:
        os.link(source, place)
    except OSError:  # a file system without hard links, or too many of them
        place.symlink_to(os.path.relpath(source, place.parent))
