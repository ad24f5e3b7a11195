"""Lists, extends, merges and shrinks the gallery of an export, without training and without torch.

Each change is whole or not at all, waits for those of other processes, and can be undone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.actions.predict import GALLERY, check_model, embed_readable, open_model
from trainer.config.names import nearest
from trainer.data.names import alike, name_key, told_alike
from trainer.data.origin import origin
from trainer.data.sources import open_source
from trainer.errors import DataError
from trainer.gallery import GalleryIndex, build_gallery, picture_digest
from trainer.gallery_file import Change, changing, stamp, undo
from trainer.matching import MATCHINGS
from trainer.retrieval import Floats, UnitGallery, search
from trainer.vectors import KINDS

if TYPE_CHECKING:
    from trainer.data.folder import ImageFolder

ADDED = "added//"
"""Stands before the paths of pictures that no export has put there; no real one holds `//`."""
REPORTED = "reported"
"""Column of a list whose labels are classes as results call them."""
_SAME = 1e-5
"""Distance up to which two embeddings are of the same picture, where there is no digest to ask."""


def list_gallery(folder: Path) -> dict[str, int]:
    """Return class -> number of pictures of an export's gallery, by name; read once per change.

    Raises:
        DataError: the gallery is missing or damaged.
    """
    return dict(_counts(folder.absolute(), stamp(folder / GALLERY)))


@lru_cache(maxsize=1)
def _counts(folder: Path, _stamp: Any) -> dict[str, int]:
    gallery = GalleryIndex.load(folder / GALLERY)
    counts = np.bincount(gallery.labels_G, minlength=len(gallery.class_names))
    return dict(sorted(zip(gallery.class_names, counts.tolist(), strict=True)))


def add_classes(folder: Path, images: str | Path) -> dict[str, Any]:
    """Add the pictures of a folder of class folders to an export's gallery, without training.

    Pictures that are there already, as the network sees them, are not added again. One that is
    there under another class is refused, and so is one that cannot be read; the others are added.

    Args:
        folder: holds `model.onnx` and `gallery.npz`; the gallery is replaced.
        images: `<class>/<picture>`; classes that are known get more pictures. A class that the
            export's `dataset.class_map` names gets that name; in a list with a column `reported`
            they have it already.

    Returns:
        `classes` and `pictures` in the gallery now, `new_classes`, `new_pictures`,
        `known_pictures` (there already), `errors`: `image` and `error` of each that is refused, and
        `notes`: what was passed over in the folder.

    Raises:
        CheckpointError, DataError: as `trainer.actions.predict.predict`.
    """
    model, digest = open_model(folder)
    found = open_source(str(images))
    names, labels_N = _reported(found, model.facts.get("class_map") or {})
    files = [found.root / path for path in found.paths]
    reasons: dict[int, str] = {}
    parts = [
        (places, emb_ND, [picture_digest(pixels) for pixels in pixels_NHWC])
        for places, emb_ND, pixels_NHWC in embed_readable(model, files, reasons)
    ]
    with _changing(folder, digest) as change:
        if not parts:
            return _grown(change.index, change.index, 0, _errors(files, reasons), _notes(found))
        places = np.concatenate([part[0] for part in parts])
        new = build_gallery(
            np.concatenate([part[1] for part in parts]),
            labels_N[places],
            names,
            [files[place] for place in places],
            digests=[digest for _, _, own in parts for digest in own],
            model=digest,
        )
        before = change.index
        change.index, num_known, conflicts = _joined(before, new)
        reasons |= {int(places[row]): reason for row, reason in conflicts.items()}
        errors = _errors(files, reasons)
        return _grown(before, change.index, num_known, errors, _notes(found))


def merge_gallery(folder: Path, other: Path) -> dict[str, Any]:
    """Add all pictures of another gallery of the same model to an export's gallery.

    Args:
        folder: holds `model.onnx` and `gallery.npz`; the gallery is replaced.
        other: a gallery's file, or a folder with a `gallery.npz`.

    Returns:
        As `add_classes`.

    Raises:
        DataError: either gallery is missing or damaged, or another model made the other one.
    """
    _, digest = open_model(folder)
    file = other / GALLERY if other.is_dir() else other
    new = GalleryIndex.load(file)
    if new.model != digest:
        made = f"was made by another model (sha256 {new.model[:12]}, not {digest[:12]})"
        unsaid = "does not say which model made it; export it again"
        raise DataError(
            f"{file}: {made if new.model else unsaid}: embeddings of two models do not compare"
        )
    with _changing(folder, digest) as change:
        before = change.index
        change.index, num_known, conflicts = _joined(before, new)
        files = [path.removeprefix(ADDED) for path in new.paths]
        errors = [{"image": files[row], "error": conflicts[row]} for row in sorted(conflicts)]
        return _grown(before, change.index, num_known, errors, [])


def remove_classes(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Take classes out of an export's gallery.

    Args:
        folder: holds `model.onnx` and `gallery.npz`; the gallery is replaced.
        names: of classes as results call them, or as folders of the export's class map.

    Returns:
        `classes` and `pictures` in the gallery now, `removed_classes` and `removed_pictures`.

    Raises:
        CheckpointError, DataError: as `trainer.actions.predict.predict`; a name is no class of the
            gallery, or no class would be left. Nothing is changed.
    """
    model, digest = open_model(folder)
    class_map = model.facts.get("class_map") or {}
    with _changing(folder, digest) as change:
        gallery = change.index
        numbers = {name_key(name): number for number, name in enumerate(gallery.class_names)}
        gone: set[int] = set()
        for name in names:
            own = name if name_key(name) in numbers else class_map.get(name_key(name), name)
            if name_key(own) not in numbers:
                guesses = nearest(name, gallery.class_names, {})
                hint = f"; did you mean {guesses[0]}?" if guesses else ""
                raise DataError(f"{name}: no such class in the gallery{hint}")
            gone.add(numbers[name_key(own)])
        if len(gone) == len(gallery.class_names):
            raise DataError("the gallery must keep a class: add others before the last are removed")
        change.index = gallery.taken(np.flatnonzero(~np.isin(gallery.labels_G, sorted(gone))))
        return {
            **_size(change.index),
            "removed_classes": len(gone),
            "removed_pictures": len(gallery) - len(change.index),
        }


def set_gallery(
    folder: Path, *, kind: str | None = None, matching: str | None = None
) -> dict[str, Any]:
    """Keep and search an export's gallery in another way.

    Args:
        folder: holds the gallery.
        kind: one of `trainer.vectors.KINDS`.
        matching: `nearest` (all pictures) or `prototypes` (a mean per class).

    Returns:
        `classes`, `pictures`, `kind`, `matching` and `bytes` of the gallery now.

    Raises:
        CheckpointError, DataError: as `trainer.actions.predict.predict`, or there is no such kind
            or matching.
    """
    for name, value, legal in (("kind", kind, KINDS), ("matching", matching, MATCHINGS)):
        if value is not None and value not in legal:
            raise DataError(f"{name}: must be one of {', '.join(legal)}, got {value!r}")
    with _changing(folder, open_model(folder)[1]) as change:
        if kind is not None and kind != change.index.kind:
            change.index = change.index.kept_as(kind)
        if matching is not None and matching != change.index.matching:
            change.index = change.index.matched_by(matching)
        now = change.index
    facts = {"kind": now.kind, "matching": now.matching}
    return {**_size(now), **facts, "bytes": (folder / GALLERY).stat().st_size}


def undo_change(folder: Path) -> dict[str, Any]:
    """Put an export's gallery back to what it was before its last change.

    Returns:
        `classes` and `pictures` in the gallery now.

    Raises:
        CheckpointError, DataError: as `trainer.actions.predict.predict`, or no change is kept.
    """
    _, digest = open_model(folder)
    return _size(undo(folder / GALLERY, lambda index: check_model(index, folder, digest)))


@contextlib.contextmanager
def _changing(folder: Path, digest: str) -> Iterator[Change]:
    """Hold the gallery of a model for a change; that of another model is refused."""
    with changing(folder / GALLERY) as change:
        check_model(change.index, folder, digest)
        yield change


def _joined(gallery: GalleryIndex, new: GalleryIndex) -> tuple[GalleryIndex, int, dict[int, str]]:
    """Add those entries of `new` that are not there yet.

    Returns:
        The gallery then, how many were there already, and why others were refused, by entry.
    """
    known, conflicts = _Known(gallery), dict[int, str]()
    fresh: list[int] = []
    num_known = 0
    own_names = new.names_of(np.arange(len(new), dtype=np.int64))
    for entry, (digest, name) in enumerate(zip(new.digests, own_names, strict=True)):
        there = known.class_of(digest, new.emb_GD[entry])
        if there is None:
            if digest:
                known.by_digest[digest] = str(name)
            fresh.append(entry)
        elif name_key(there) == name_key(str(name)):
            num_known += 1
        else:
            conflicts[entry] = f"is in the gallery as {there}; remove one of the two"
    if not fresh:
        return gallery, num_known, conflicts
    added = new.taken(np.array(fresh))
    # Beside the reference folder's own picture of that name it would be taken for it.
    paths = tuple(path if path.startswith(ADDED) else f"{ADDED}{path}" for path in added.paths)
    return gallery.extended(replace(added, paths=paths)), num_known, conflicts


def _reported(
    found: ImageFolder, class_map: Mapping[str, str]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the classes as results call them, and each picture's place among them."""
    own = {} if REPORTED in found.columns else class_map
    reported = [own.get(name_key(name), name) for name in found.classes]
    names: dict[str, str] = {}
    for name in reported:
        names.setdefault(name_key(name), name)
    place = {key: i for i, key in enumerate(names)}
    places = np.array([place[name_key(name)] for name in reported], dtype=np.int64)
    return list(names.values()), places[found.labels]


def _size(gallery: GalleryIndex) -> dict[str, int]:
    return {"classes": len(gallery.class_names), "pictures": len(gallery)}


def _grown(
    before: GalleryIndex,
    after: GalleryIndex,
    num_known: int,
    errors: list[dict[str, str]],
    notes: list[str],
) -> dict[str, Any]:
    known = set(before.class_names)
    groups = [names for names in alike(after.class_names) if not known.issuperset(names)]
    notes = [*notes, *map(told_alike, groups)]
    return {
        **_size(after),
        "new_classes": len(after.class_names) - len(before.class_names),
        "new_pictures": len(after) - len(before),
        "known_pictures": num_known,
        "errors": errors,
        "notes": notes,
    }


def _errors(files: Sequence[Path], reasons: Mapping[int, str]) -> list[dict[str, str]]:
    return [{"image": origin(files[place]), "error": reasons[place]} for place in sorted(reasons)]


def _notes(found: ImageFolder) -> list[str]:
    return [note.text for note in found.notes if note.severity == "warning"]


class _Known:
    """The pictures of a gallery, to be found again by content.

    Those that `ml_recog inference` keeps hold no digests: pictures are known by their embeddings.
    """

    def __init__(self, gallery: GalleryIndex) -> None:
        self._names = gallery.names_of(np.arange(len(gallery), dtype=np.int64))
        self.by_digest = {
            digest: str(name)
            for digest, name in zip(gallery.digests, self._names, strict=True)
            if digest
        }
        self._bare: NDArray[np.int64] = np.flatnonzero([not digest for digest in gallery.digests])
        self._unit = UnitGallery.of(gallery.emb_GD[self._bare]) if len(self._bare) else None

    def class_of(self, digest: str, emb_D: Floats) -> str | None:
        """Return the class that a picture is there under, None where it is not there."""
        if digest in self.by_digest or self._unit is None:
            return self.by_digest.get(digest)
        found, distances = search(emb_D[None], self._unit, 1)
        is_same = distances[0, 0] <= _SAME
        return str(self._names[self._bare[found[0, 0]]]) if is_same else None
