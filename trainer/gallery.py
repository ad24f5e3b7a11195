"""The gallery index: embeddings and classes of reference pictures.

Needs numpy alone, so that predictions run without torch. Classes can be added at any time without
training.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.names import name_key
from trainer.errors import DataError
from trainer.matching import NEAREST, PROTOTYPES, Entries, make_entries
from trainer.retrieval import Floats, Indices, search

FORMAT = 2
"""From 2 on with digests; files of 1 are read all the same."""


@dataclass(frozen=True, kw_only=True)
class GalleryIndex:
    """Reference embeddings, G of D dimensions.

    Attributes:
        emb_GD: embeddings as the model gives them (search brings them to unit length).
        labels_G: index into `class_names`.
        class_names: names as reported.
        paths: where each picture was, relative to the reference folder.
        digests: of the pixels that the network saw of each picture; empty texts where that is not
            known.
        matching: what queries are compared with, as `dataset.matching` says; not kept in files.
    """

    emb_GD: Floats  # noqa: N815 - shape suffix
    labels_G: Indices  # noqa: N815 - shape suffix
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...] = ()
    matching: str = NEAREST

    def __post_init__(self) -> None:
        if not self.digests:
            object.__setattr__(self, "digests", ("",) * len(self.paths))
        counts = (len(self.emb_GD), len(self.labels_G), len(self.paths), len(self.digests))
        if len(set(counts)) > 1:
            raise ValueError(f"embeddings, labels, paths and digests must be as many, got {counts}")

    def __len__(self) -> int:
        return len(self.labels_G)

    def nearest(self, query_QD: NDArray[Any], k: int) -> tuple[Indices, Floats]:
        """Return pictures and distances (0 to 2) of the k nearest entries, shape (Q, k).

        A prototype is given as the class's picture that is nearest to it, at its own distance.

        Raises:
            DataError: k is above the number of entries, or embeddings are of another length.
        """
        if not 1 <= k <= len(self.entries):
            raise DataError(f"topk: must be at most the {self.extent}, got {k}")
        self._check_length(query_QD)
        found_QK, distances_QK = search(query_QD, self.entries.unit, k)
        return self.entries.pictures_E[found_QK], distances_QK

    @property
    def extent(self) -> str:
        """How many entries there are, in words."""
        noun = "classes" if self.matching == PROTOTYPES else "pictures"
        return f"{len(self.entries)} {noun} of the gallery"

    @cached_property
    def entries(self) -> Entries:
        """Made ready by the first search, and used by all that follow."""
        return make_entries(self.emb_GD, self.labels_G, self.matching)

    def names_of(self, indices: NDArray[np.int64]) -> NDArray[np.str_]:
        """Return the class names of entries, same shape."""
        names: NDArray[np.str_] = np.asarray(self.class_names)[self.labels_G[indices]]
        return names

    def extended(self, other: GalleryIndex) -> GalleryIndex:
        """Return an index with the other's entries behind; classes of one name become one class."""
        self._check_length(other.emb_GD)
        known = set(map(name_key, self.class_names))
        added = [name for name in other.class_names if name_key(name) not in known]
        names = (*self.class_names, *added)
        position = {name_key(name): number for number, name in enumerate(names)}
        moved = np.array([position[name_key(n)] for n in other.class_names], dtype=np.int64)
        return GalleryIndex(
            emb_GD=np.concatenate((self.emb_GD, other.emb_GD)),
            labels_G=np.concatenate((self.labels_G, moved[other.labels_G])),
            class_names=names,
            paths=(*self.paths, *other.paths),
            digests=(*self.digests, *other.digests),
            matching=self.matching,
        )

    def taken(self, kept: NDArray[np.int64]) -> GalleryIndex:
        """Return an index of some of the entries; classes that none of them is of are left out."""
        labels_G = self.labels_G[kept]
        classes, moved_G = np.unique(labels_G, return_inverse=True)
        return GalleryIndex(
            emb_GD=self.emb_GD[kept],
            labels_G=moved_G.astype(np.int64),
            class_names=tuple(self.class_names[label] for label in classes),
            paths=tuple(self.paths[entry] for entry in kept),
            digests=tuple(self.digests[entry] for entry in kept),
            matching=self.matching,
        )

    def save(self, path: Path) -> None:
        """Write the index as .npz of plain arrays, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(
                    file,
                    format=np.int64(FORMAT),
                    embeddings=self.emb_GD,
                    labels=self.labels_G,
                    class_names=np.asarray(self.class_names, dtype=np.str_),
                    paths=np.asarray(self.paths, dtype=np.str_),
                    digests=np.asarray(self.digests, dtype=np.str_),
                )
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, matching: str = NEAREST) -> GalleryIndex:
        """Read an index, to be matched so.

        Raises:
            DataError: the file is missing or not a gallery index.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such gallery index; `ml_recog export` writes one")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                digests = arrays.get("digests", ())
                return cls(
                    emb_GD=arrays["embeddings"],
                    labels_G=arrays["labels"],
                    class_names=tuple(str(name) for name in arrays["class_names"]),
                    paths=tuple(str(name) for name in arrays["paths"]),
                    digests=tuple(str(digest) for digest in digests),
                    matching=matching,
                )
        except (OSError, ValueError, KeyError) as e:
            raise DataError(f"{path}: not a gallery index: {e}") from e

    def _check_length(self, emb_ND: NDArray[Any]) -> None:
        if emb_ND.shape[1] != self.emb_GD.shape[1]:
            raise DataError(
                f"gallery: embeddings of length {self.emb_GD.shape[1]} must be given, got "
                f"{emb_ND.shape[1]}; model and gallery must come from one export"
            )


def build_gallery(
    emb_GD: NDArray[Any],
    labels_G: NDArray[np.int64],
    class_names: Sequence[str],
    files: Sequence[Path],
    matching: str = NEAREST,
    digests: Sequence[str] = (),
) -> GalleryIndex:
    """Return the index of embedded reference pictures; paths are kept below their common folder."""
    root = os.path.commonpath([file.parent.parent for file in files])
    return GalleryIndex(
        emb_GD=np.ascontiguousarray(emb_GD, dtype=np.float32),
        labels_G=np.asarray(labels_G, dtype=np.int64),
        class_names=tuple(class_names),
        paths=tuple(file.relative_to(root).as_posix() for file in files),
        digests=tuple(digests),
        matching=matching,
    )


def picture_digest(pixels_HWC: NDArray[np.uint8]) -> str:
    """Return what tells a picture from others, as the network sees it: the file does not matter."""
    digest = hashlib.blake2b(pixels_HWC.tobytes(), digest_size=16)
    return f"{digest.hexdigest()}-{'x'.join(map(str, pixels_HWC.shape))}"
