"""Lists, extends and shrinks the gallery of an export, without training and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.actions.predict import GALLERY, embed_readable, open_export
from trainer.config.names import nearest
from trainer.data.names import name_key
from trainer.data.origin import origin
from trainer.data.sources import open_source
from trainer.errors import DataError
from trainer.gallery import GalleryIndex, build_gallery
from trainer.retrieval import Floats, UnitGallery, search

_SAME = 1e-5
"""Distance up to which two embeddings are of the same picture, where there is no digest to ask."""


def list_gallery(folder: Path) -> dict[str, int]:
    """Return class -> number of pictures of an export's gallery, by name.

    Raises:
        DataError: the gallery is missing or damaged.
    """
    gallery = GalleryIndex.load(folder / GALLERY)
    counts = np.bincount(gallery.labels_G, minlength=len(gallery.class_names))
    return dict(sorted(zip(gallery.class_names, counts.tolist(), strict=True)))


def add_classes(folder: Path, images: str | Path) -> dict[str, Any]:
    """Add the pictures of a folder of class folders to an export's gallery, without training.

    Pictures that are there already, as the network sees them, are not added again. One that is
    there under another class is refused, and so is one that cannot be read; the others are added.

    Args:
        folder: holds `model.onnx` and `gallery.npz`; the gallery is replaced.
        images: `<class>/<picture>`; classes that are known get more pictures.

    Returns:
        `classes` and `pictures` in the gallery now, `new_classes`, `new_pictures`,
        `known_pictures` (there already), `errors`: `image` and `error` of each that is refused, and
        `notes`: what was passed over in the folder.

    Raises:
        CheckpointError, DataError: as `trainer.actions.predict.predict`.
    """
    model, gallery = open_export(folder)
    found = open_source(str(images))
    files = [found.root / path for path in found.paths]
    known, reasons = _Known(gallery), dict[int, str]()
    new: list[int] = []
    new_emb, new_digests = [], []
    num_known = 0
    for places, emb_ND, digests in embed_readable(model, files, reasons):
        for place, emb_D, digest in zip(places, emb_ND, digests, strict=True):
            own = found.classes[found.labels[place]]
            there = known.class_of(digest, emb_D)
            if there is None:
                known.by_digest[digest] = own
                new.append(place)
                new_emb.append(emb_D)
                new_digests.append(digest)
            elif name_key(there) == name_key(own):
                num_known += 1
            else:
                reasons[place] = f"is in the gallery as {there}; remove one of the two"
    extended = gallery
    if new:
        labels = found.labels[np.array(new)]
        kept = [files[place] for place in new]
        added = build_gallery(
            np.stack(new_emb), labels, found.classes, kept, digests=new_digests
        ).taken(np.arange(len(new)))
        extended = gallery.extended(added)
        extended.save(folder / GALLERY)
    return {
        "classes": len(extended.class_names),
        "pictures": len(extended),
        "new_classes": len(extended.class_names) - len(gallery.class_names),
        "new_pictures": len(new),
        "known_pictures": num_known,
        "errors": [
            {"image": origin(files[place]), "error": reasons[place]} for place in sorted(reasons)
        ],
        "notes": [note.text for note in found.notes if note.severity == "warning"],
    }


def remove_classes(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Take classes out of an export's gallery.

    Returns:
        `classes` and `pictures` in the gallery now, `removed_classes` and `removed_pictures`.

    Raises:
        DataError: a name is no class of the gallery, or no class would be left; nothing is changed.
    """
    gallery = GalleryIndex.load(folder / GALLERY)
    numbers = {name_key(name): number for number, name in enumerate(gallery.class_names)}
    for name in names:
        if name_key(name) not in numbers:
            guesses = nearest(name, gallery.class_names, {})
            hint = f"; did you mean {guesses[0]}?" if guesses else ""
            raise DataError(f"{name}: no such class in the gallery{hint}")
    gone = {numbers[name_key(name)] for name in names}
    if len(gone) == len(gallery.class_names):
        raise DataError("the gallery must keep a class: add others before the last are removed")
    kept = np.flatnonzero(~np.isin(gallery.labels_G, sorted(gone)))
    left = gallery.taken(kept)
    left.save(folder / GALLERY)
    return {
        "classes": len(left.class_names),
        "pictures": len(left),
        "removed_classes": len(gone),
        "removed_pictures": len(gallery) - len(left),
    }


class _Known:
    """The pictures of a gallery, to be found again by content.

    Galleries of earlier releases hold no digests: their pictures are known by their embeddings.
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
