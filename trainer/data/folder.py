"""Folders in ImageNet layout (`<root>/<class>/<image>`): the images and their classes."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.errors import DataError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm"}
)

_NAMES_SHOWN = 8

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images of one split, in a fixed order (by class, then by path)."""

    root: Path
    classes: tuple[str, ...]
    """Names of the class folders that hold images, sorted."""
    paths: tuple[str, ...]
    """Image files relative to `root`, with forward slashes."""
    labels: NDArray[np.int64]
    """Index into `classes` of each image, shape (N,)."""

    def counts(self) -> NDArray[np.int64]:
        """Images per class, in the order of `classes`."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)


def scan_folder(path: str | Path) -> ImageFolder:
    """List the images of a folder whose sub-folders are the classes.

    One single folder that wraps the class folders, as archives often have it, is stepped into.
    Hidden entries are ignored, images may lie deeper inside their class folder, a class folder
    without images is warned about.

    Args:
        path: the folder.

    Returns:
        The images, sorted by class and path: the same on every machine.

    Raises:
        DataError: no such folder, no class folder in it, or no image in any of them.
        ImageError: what is named like a picture is a broken link, a pipe or a device.
    """
    root = Path(path)
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}; expected {root.name or root}/<class>/<image>")
    root = _unwrap(root)
    names = [entry.name for entry in _visible(root) if entry.is_dir()]
    if not names:
        raise DataError(f"{root}: no class folders in it; expected <class>/<image>")
    found = {name: _images_of(root / name, root) for name in names}
    empty = [name for name in names if not found[name]]
    classes = tuple(name for name in names if found[name])
    if not classes:
        known = " ".join(sorted(IMAGE_EXTENSIONS))
        raise DataError(f"{root}: no images in its {len(names)} class folders (looked for {known})")
    if empty:
        _logger.warning(
            "%s: %d class folders hold no image: %s", root, len(empty), name_list(empty)
        )
    sizes = [len(found[name]) for name in classes]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), sizes)
    return ImageFolder(root, classes, tuple(p for name in classes for p in found[name]), labels)


def name_list(names: list[str] | tuple[str, ...], *, shown: int = _NAMES_SHOWN) -> str:
    """The first names, and how many more there are: for messages of one line."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def empty_classes(path: str | Path) -> tuple[str, ...]:
    """Class folders without any image, sorted; for findings, where `scan_folder` only warns."""
    root = _unwrap(Path(path))
    names = (entry.name for entry in _visible(root) if entry.is_dir())
    return tuple(name for name in names if not _images_of(root / name, root))


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedQuery:
    """Which query images can be judged, with labels that index the reference's classes."""

    keep: NDArray[np.int64]
    """Positions of the kept images in the query folder."""
    labels: NDArray[np.int64]
    """One label per kept image, an index into the reference's classes."""
    dropped_classes: tuple[str, ...]
    dropped_images: int


def match_classes(
    reference: ImageFolder, query: ImageFolder, *, ignore_unmatched: bool = False
) -> MatchedQuery:
    """Give the query images labels in the reference's class index.

    Args: reference: the gallery. query: the images that will be looked up in it. ignore_unmatched:
        drop (and count) query classes that the reference lacks, instead of refusing them.

    Returns:
        The kept positions and their labels.

    Raises:
        DataError: a query class is not in the reference, or no class is in both.
    """
    index = {name: i for i, name in enumerate(reference.classes)}
    missing = tuple(name for name in query.classes if name not in index)
    if len(missing) == len(query.classes):
        raise DataError(
            f"{query.root}: no class in common with the reference {reference.root} "
            f"({len(query.classes)} query classes such as {query.classes[0]}, "
            f"{len(reference.classes)} reference classes such as {reference.classes[0]})"
        )
    to_reference = np.array([index.get(name, -1) for name in query.classes], dtype=np.int64)
    labels = to_reference[query.labels]
    keep = np.flatnonzero(labels >= 0)
    dropped = len(labels) - len(keep)
    if missing and not ignore_unmatched:
        raise DataError(
            f"{query.root}: {len(missing)} of {len(query.classes)} query classes "
            f"({dropped} images) are not in the reference {reference.root}: {name_list(missing)}; "
            "add them there, or leave them out by dataset.ignore_unmatched=true"
        )
    return MatchedQuery(
        keep=keep, labels=labels[keep], dropped_classes=missing, dropped_images=dropped
    )


def _unwrap(root: Path) -> Path:
    """Step into a single wrapping folder: `root/only/<class>/<image>`."""
    entries = _visible(root)
    if len(entries) != 1 or not entries[0].is_dir():
        return root
    inner = _visible(Path(entries[0].path))
    wraps = bool(inner) and all(entry.is_dir() for entry in inner)
    return Path(entries[0].path) if wraps else root


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not _is_hidden(e.name)), key=lambda e: e.name)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _images_of(folder: Path, root: Path) -> list[str]:
    found: list[str] = []
    odd: list[str] = []
    todo = [folder.relative_to(root).as_posix()]
    while todo:
        inside = todo.pop()
        with os.scandir(f"{root}/{inside}") as entries:
            for entry in entries:
                if _leads_to(entry.is_dir):
                    if not (_is_hidden(entry.name) or entry.is_symlink()):
                        todo.append(f"{inside}/{entry.name}")
                elif _is_image(entry.name):
                    (found if _leads_to(entry.is_file) else odd).append(f"{inside}/{entry.name}")
    if odd:
        more = f" (and {len(odd) - 1} more such)" if len(odd) > 1 else ""
        raise ImageError(
            f"{root}/{min(odd)}: must be a file, and is a broken link, pipe or device{more}; "
            "mend or remove it"
        )
    return sorted(found)


def _leads_to(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind; a link is what it leads to."""
    try:
        return kind()
    except OSError:  # a link to itself
        return False


def list_pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted; folders behind links are walked too, each once."""
    found: list[Path] = []
    seen: set[str] = set()
    for directory, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        folders[:] = [] if real in seen else [name for name in folders if not _is_hidden(name)]
        if real not in seen:
            found += [Path(directory, name) for name in files if _is_image(name)]
        seen.add(real)
    return sorted(found)


def _is_image(name: str) -> bool:
    return not _is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122 - hot loop
