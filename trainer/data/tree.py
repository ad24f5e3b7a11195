"""Folders as they lie on disk: what is a picture, what is not, and where links lead.

Which of the folders are classes is `trainer.data.folder`'s to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainer.data.formats import ending, image_extensions
from trainer.data.origin import origin
from trainer.errors import DataError

_NO_DATA = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
"""What file managers leave behind; never worth a word."""


@dataclass(slots=True)
class Found:
    """What one walk came across; paths are relative to its root, with forward slashes."""

    pictures: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Named like pictures and no files: links that lead nowhere, pipes, devices."""
    others: list[str] = field(default_factory=list)
    """Files that are not named like pictures."""
    hidden: list[str] = field(default_factory=list)
    """Pictures whose names begin with a dot, and folders of that sort that hold pictures."""
    dead_links: list[str] = field(default_factory=list)
    """Links that lead nowhere, or back to themselves."""
    loops: list[str] = field(default_factory=list)
    """Links to a folder that is walked anyway, such as one above."""
    folders: list[str] = field(default_factory=list)
    """Those that were walked."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One folder, without what lies below its sub-folders; names are sorted."""

    folders: tuple[str, ...]
    """Sub-folders; links to folders count, unless to this one or one above."""
    found: Found


def list_folder(folder: Path) -> Listing:
    """Read one folder.

    Raises:
        DataError: it cannot be read.
    """
    above = {*_folders_above(folder), _identity(folder)}
    found, folders = Found(), []
    for entry in _entries(folder, ""):
        if not _leads_to(entry.is_dir):
            _sort_in(entry, entry.name, found)
        elif is_hidden(entry.name):
            found.hidden += [entry.name] * _holds_pictures(entry)
        elif entry.is_symlink() and _identity(entry.path) in above:
            found.loops.append(entry.name)
        else:
            folders.append(entry.name)
    return Listing(tuple(sorted(folders)), found)


def walk(root: Path, inside: str = "") -> Found:
    """Find everything in and below a folder, links followed, each folder once.

    Args:
        root: what the paths that are returned are relative to.
        inside: the folder to walk, relative to the root; default: the root itself.

    Raises:
        DataError: a folder cannot be read.
    """
    found = Found()
    seen = _folders_above(root / inside)
    folders: list[str] = [inside]
    links: list[str] = []
    while folders or links:
        # Folders come before links, so that a link to one of them is what is passed over.
        links.sort(reverse=True)
        here = (folders or links).pop()
        identity = _identity(root / here)
        if identity in seen:
            found.loops.append(here)
            continue
        seen.add(identity)
        found.folders.append(here)
        for entry in _entries(root, here):
            path = f"{here}/{entry.name}" if here else entry.name
            if not _leads_to(entry.is_dir):
                _sort_in(entry, path, found)
            elif is_hidden(entry.name):
                found.hidden += [path] * _holds_pictures(entry)
            else:
                (links if entry.is_symlink() else folders).append(path)
    for paths in (found.pictures, found.broken, found.others, found.hidden, found.dead_links):
        paths.sort()
    return found


def list_pictures(folder: Path) -> list[Path]:
    """All pictures in and below a folder, sorted; links are followed, each folder is read once."""
    found = walk(folder)
    return sorted(folder / path for path in (*found.pictures, *found.broken))


def is_hidden(name: str) -> bool:
    """Whether an entry is passed over: a leading dot, or what macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"


def _sort_in(entry: os.DirEntry[str], path: str, found: Found) -> None:
    """Put what is no folder where it belongs."""
    is_picture = ending(entry.name) in image_extensions()
    is_file = _leads_to(entry.is_file)
    if is_hidden(entry.name):
        if is_picture and is_file and not entry.name.startswith("._"):  # ._x.jpg is macOS's
            found.hidden.append(path)
    elif is_picture:
        (found.pictures if is_file else found.broken).append(path)
    elif entry.is_symlink() and not is_file:
        found.dead_links.append(path)
    elif entry.name.lower() not in _NO_DATA:
        found.others.append(path)


def _holds_pictures(hidden: os.DirEntry[str]) -> bool:
    """Whether pictures lie in a hidden folder itself; only those of macOS are none."""
    try:
        with os.scandir(hidden.path) as entries:
            return any(
                ending(entry.name) in image_extensions() and not is_hidden(entry.name)
                for entry in entries
            )
    except OSError:
        return False  # it is passed over in any case


def _entries(root: Path, inside: str) -> Iterator[os.DirEntry[str]]:
    path = f"{root}/{inside}" if inside else str(root)
    try:
        with os.scandir(path) as entries:
            yield from entries
    except OSError as error:
        raise _unreadable(path, error) from error


def _leads_to(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind; a link is what it leads to."""
    try:
        return kind()
    except OSError:  # a link to itself
        return False


def _folders_above(folder: Path) -> set[tuple[int, int]]:
    """Identities of the folders that a folder lies in."""
    return {_identity(path) for path in Path(os.path.realpath(folder)).parents}


def _identity(path: str | Path) -> tuple[int, int]:
    try:
        facts = os.stat(path)  # noqa: PTH116 - one call per folder
    except OSError as error:
        raise _unreadable(path, error) from error
    return facts.st_dev, facts.st_ino


def _unreadable(path: str | Path, error: OSError) -> DataError:
    return DataError(f"{origin(path)}: cannot be read ({error.strerror})")
