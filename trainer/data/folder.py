"""Folders in ImageNet layout (`<root>/<class>/<image>`): the images and their classes.

A list of pictures (`trainer.data.lists`) gives the same, wherever its pictures lie.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.layout import SplitLayout, find_splits
from trainer.data.names import name_key, name_text
from trainer.data.notes import Note, and_list, by_ending, counted, name_list, skipped_notes
from trainer.data.origin import origin
from trainer.data.tree import Found, Listing, list_folder, walk
from trainer.errors import DataError, ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_WRAPPERS = 32
_INNER_NAMES = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "jpg", "rgb"})
"""Names of a folder between a class and its images, as in `<class>/images/<image>`, in whatever
case."""
_TREE_NAMES = 4
"""Folders of a level that a refusal shows."""
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images of one split, in a fixed order (by class, then by path)."""

    root: Path
    classes: tuple[str, ...]
    """Names of the class folders that hold images, sorted; as they are written, and what cannot
    be printed spelt out."""
    paths: tuple[str, ...]
    """Image files relative to `root`, with forward slashes."""
    labels: NDArray[np.int64]
    """Index into `classes` of each image, shape (N,)."""
    notes: tuple[Note, ...] = ()
    """What was passed over, and what else is odd."""
    source: str = ""
    """The list that names the images, as its user knows it; empty for a folder."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further columns of that list by name, an entry per image."""

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.source or origin(self.root)

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """What two splits share that are one: the folder, or the files of a list."""
        return str(self.root.resolve()), self.paths if self.source else ()

    def counts(self) -> NDArray[np.int64]:
        """Images per class, in the order of `classes`."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    def summary(self) -> dict[str, int]:
        """Numbers of images and classes, and the fewest and most images of a class."""
        counts = self.counts()
        return {
            "images": len(self.paths),
            "classes": len(self.classes),
            "per_class_min": int(counts.min()),
            "per_class_max": int(counts.max()),
        }

    def folder_of(self, name: str) -> Path:
        """The folder of a class, the first one where several spell its name; of a list its file."""
        first = self.root / self.paths[int(np.searchsorted(self.labels, self.classes.index(name)))]
        return first if self.source else self.root / first.relative_to(self.root).parts[0]


def scan_folder(path: str | Path) -> ImageFolder:
    """List the images of a folder whose sub-folders are the classes.

    Single folders that wrap the class folders, as archives often have them, are stepped into.
    Hidden entries are ignored, images may lie deeper inside their class folder, links are followed.
    Folders whose names differ in the spelling of Unicode alone are one class.

    Args:
        path: the folder.

    Returns:
        The images, sorted by class and path: the same on every machine.

    Raises:
        DataError: no such folder, no class folder in it, splits in place of classes, no image in
            any class, or classes that cannot be told from folders around them.
        ImageError: what is named like a picture is a broken link, a pipe or a device.
    """
    root, listing, passed = _find_class_folders(path)
    if (layout := find_splits(root, listing)) is not None:
        raise DataError(
            f"{origin(root)}: holds splits ({layout.names}), not classes; "
            f"name one of them, such as {origin(root / listing.folders[0])}"
        )
    walks = {name: walk(root, name) for name in listing.folders}
    _refuse_broken(root, walks.values())
    filled = {name: found for name, found in walks.items() if found.pictures}
    if not filled:
        raise DataError(_no_images(root, listing, walks))
    _refuse_nesting(root, filled)
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in filled:
        spellings[name_key(name)].append(name)
    ordered = [spellings[key] for key in sorted(spellings)]
    members = [sorted(p for name in names for p in filled[name].pictures) for names in ordered]
    classes = _class_names(root, ordered)
    skipped = skipped_notes(
        [*passed, (root, listing.found), *((root, found) for found in walks.values())],
        sum(map(len, members)),
    )
    return ImageFolder(
        root,
        classes,
        tuple(path for paths in members for path in paths),
        np.repeat(np.arange(len(classes), dtype=np.int64), [len(paths) for paths in members]),
        (*_class_notes(root, listing, filled), *_twin_notes(root, ordered), *skipped),
    )


def _find_class_folders(path: str | Path) -> tuple[Path, Listing, list[tuple[Path, Found]]]:
    """Step through the folders that wrap the class folders.

    Args:
        path: the folder that was named.

    Returns:
        The folder that holds the class folders (or splits), what is directly in it, and what was
        found in each folder on the way.

    Raises:
        DataError: no such folder, or no folder in it.
    """
    root = Path(path)
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        what = "not a folder" if os.path.exists(root) else "no such folder"  # noqa: PTH110
        raise DataError(
            f"{origin(root)}: {what}; expected {name_text(root.name) or origin(root)}"
            "/<class>/<image>"
        )
    listing, passed = list_folder(root), []
    for _ in range(_MOST_WRAPPERS):
        inner = _wrapped(root, listing)
        if inner is None:
            break
        below = list_folder(inner)
        if below.found.pictures or not below.folders:
            break
        passed.append((root, listing.found))
        root, listing = inner, below
    if not listing.folders:
        found = len(listing.found.pictures)
        text = f", but {counted(found, 'picture')}" if found else _archives_in(listing.found)
        raise DataError(f"{origin(root)}: no class folders in it{text}; expected <class>/<image>")
    return root, listing, passed


def splits_in(path: str | Path) -> SplitLayout | None:
    """Recognise a folder that holds splits in place of classes, wrapped or not.

    Raises:
        DataError: no such folder, or no folder in it.
    """
    root, listing, _ = _find_class_folders(path)
    return find_splits(root, listing)


def _class_names(root: Path, ordered: Sequence[Sequence[str]]) -> tuple[str, ...]:
    names = tuple(name_text(spellings[0]) for spellings in ordered)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{origin(root)}: two class folders are shown as {twice!r}; rename one")
    return names


def _wrapped(root: Path, listing: Listing) -> Path | None:
    """The only folder of a folder without pictures; links to it do not count beside it."""
    real = {(root / name).resolve(): name for name in reversed(listing.folders)}
    if listing.found.pictures or len(real) != 1:
        return None
    return root / next(iter(real.values()))


def _refuse_broken(root: Path, walks: Iterable[Found]) -> None:
    broken = sorted(path for found in walks for path in found.broken)
    if broken:
        more = f" (and {len(broken) - 1} more such)" if len(broken) > 1 else ""
        raise ImageError(
            f"{origin(root / broken[0])}: must be a file, and is a broken link, pipe or "
            f"device{more}; mend or remove it"
        )


def _no_images(root: Path, listing: Listing, walks: Mapping[str, Found]) -> str:
    """Say that there are none, and what there is."""
    found = Found(others=[p for walked in walks.values() for p in walked.others])
    found.others += listing.found.others
    text = f"{origin(root)}: no pictures in its {counted(len(listing.folders), 'class folder')}"
    if not found.others:
        return f"{text}; pictures have endings such as .jpg, .png and .webp"
    text += f"; {by_ending([root / path for path in found.others])}"
    return text + _archives_in(found)


def _archives_in(found: Found) -> str:
    packed = [p for p in found.others if p.lower().endswith(_ARCHIVES)]
    return f"; {name_list(packed, shown=1)} is an archive: unpack it, or name it" if packed else ""


def _refuse_nesting(root: Path, filled: Mapping[str, Found]) -> None:
    """Refuse classes that may be groups of classes: taking them for one would mix products."""
    inner = {name: _inner_folders(found) for name, found in filled.items()}
    names = {name for names in inner.values() for name in names}
    has_direct = any(_direct(found) for found in filled.values())
    is_one_group = len(filled) == 1 and len(names) > 1
    usual = {name.casefold() for name in names}
    is_usual = len(usual) == 1 and usual <= _INNER_NAMES
    if (has_direct and not is_one_group) or is_usual:
        return
    why = "holds pictures and folders of pictures" if has_direct else "holds pictures directly"
    who = "its only class folder" if has_direct else "no class folder in it"
    raise DataError(
        f"{origin(root)}: {who} {why}, so the classes cannot be told; it holds "
        f"{_tree(inner)}; expected <class>/<image>, so name the folder whose folders are "
        "the classes"
    )


def _direct(found: Found) -> bool:
    """Whether a picture lies in the class folder itself."""
    return any(path.count("/") == 1 for path in found.pictures)


def _inner_folders(found: Found) -> list[str]:
    """Folders of a class folder with pictures in or below them."""
    parts = (path.split("/", 2) for path in found.pictures)
    return sorted({part[1] for part in parts if len(part) > 2})


def _tree(inner: Mapping[str, Sequence[str]]) -> str:
    """Two levels of folders, on one line."""
    names = sorted(inner)
    words = []
    for name in names[:_TREE_NAMES]:
        below = [f"{name}/" for name in inner[name]]
        words.append(f"{name_text(name)}/ ({name_list(below, shown=_TREE_NAMES)})")
    rest = len(names) - len(words)
    return and_list([*words, *([f"{rest} more"] if rest else [])])


def _class_notes(root: Path, listing: Listing, filled: Mapping[str, Found]) -> list[Note]:
    notes = []
    empty = [name for name in listing.folders if name not in filled]
    if empty:
        hold = "hold" if len(empty) > 1 else "holds"
        text = f"{counted(len(empty), 'class folder')} {hold} no picture: {name_list(empty)}"
        notes.append(_note("empty_class", text, (root / name for name in empty)))
    stray = listing.found.pictures
    if stray:
        text = f"not used: {counted(len(stray), 'picture')} beside the class folders"
        notes.append(_note("stray_picture", text, (root / name for name in stray)))
    inner = {name: _inner_folders(found) for name, found in filled.items() if not _direct(found)}
    mixed = {name: folders for name, folders in inner.items() if len(folders) > 1}
    if mixed and len(inner) < len(filled):
        text = f"folders in a class folder count as one class: {_tree(mixed)}"
        notes.append(_note("nested_class", text, (root / name for name in sorted(mixed))))
    return notes


def _twin_notes(root: Path, ordered: Sequence[Sequence[str]]) -> list[Note]:
    """Folders of one name in two spellings of Unicode."""
    twins = [names for names in ordered if len(names) > 1]
    if not twins:
        return []
    text = (
        f"{counted(len(twins), 'class', 'classes')} in two folders whose names are one name in "
        f"two spellings of Unicode (NFC and NFD): {name_list([names[0] for names in twins])}"
    )
    return [_note("same_name", text, (root / name for names in twins for name in names))]


def _note(kind: str, text: str, paths: Iterable[Path]) -> Note:
    return Note(kind=kind, severity="warning", text=text, paths=tuple(paths))


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
    """Give the query images labels in the reference's class index; names are compared by NFC.

    Args: reference: the gallery. query: the images that will be looked up in it. ignore_unmatched:
        drop (and count) query classes that the reference lacks, instead of refusing them.

    Returns:
        The kept positions and their labels.

    Raises:
        DataError: a query class is not in the reference, or no class is in both.
    """
    index = {name_key(name): i for i, name in enumerate(reference.classes)}
    numbers = [index.get(name_key(name), -1) for name in query.classes]
    missing = tuple(n for n, number in zip(query.classes, numbers, strict=True) if number < 0)
    if len(missing) == len(query.classes):
        raise DataError(
            f"{query.shown}: no class in common with the reference {reference.shown} "
            f"({counted(len(query.classes), 'query class', 'query classes')} such as "
            f"{query.classes[0]}, {len(reference.classes)} in the reference such as "
            f"{reference.classes[0]})"
        )
    to_reference = np.array(numbers, dtype=np.int64)
    labels = to_reference[query.labels]
    keep = np.flatnonzero(labels >= 0)
    dropped = len(labels) - len(keep)
    if missing and not ignore_unmatched:
        raise DataError(
            f"{query.shown}: {len(missing)} of {len(query.classes)} query classes "
            f"({counted(dropped, 'picture')}) are not in the reference {reference.shown}: "
            f"{name_list(missing)}; "
            "add them there, or leave them out by dataset.ignore_unmatched=true"
        )
    return MatchedQuery(
        keep=keep, labels=labels[keep], dropped_classes=missing, dropped_images=dropped
    )
