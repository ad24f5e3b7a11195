"""The gallery index: embeddings and classes of reference pictures.

Needs numpy alone, and faiss for other kinds than `flat`, so that predictions run without torch.
An index is never changed: each change gives another one, and `trainer.gallery_file` keeps them on
disk.

index = GalleryIndex.load(folder / "gallery.npz")
entries, distances = index.nearest(emb_QD, k=5)
names = index.names_of(entries)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.array_files import open_arrays, save_arrays
from trainer.data.names import name_key
from trainer.errors import DataError
from trainer.gallery_checks import FORMAT, check_arrays
from trainer.matching import NEAREST, PROTOTYPES, Entries, make_entries
from trainer.proposals import has_faiss
from trainer.retrieval import Floats, Indices, UnitGallery, search, search_classes
from trainer.unknowns import (
    LEAST_GALLERY,
    SCORED,
    Calibration,
    Queries,
    Threshold,
    nearest_of_each,
    unknown_scores,
)
from trainer.vectors import FLAT, HNSW, FaissIndex, Vectors


@dataclass(frozen=True, kw_only=True)
class GalleryIndex:
    """Reference embeddings, G of D dimensions.

    Attributes:
        vectors: the embeddings, at unit length.
        labels_G: index into `class_names`.
        class_names: names as reported.
        paths: where each picture was, relative to the reference folder; `added//` stands before
            those of pictures that were added later, which lie elsewhere.
        digests: of the pixels that the network saw of each picture; empty texts where that is not
            known.
        matching: what queries are compared with, as `dataset.matching` says.
        kind: how vectors are kept and searched, one of `trainer.vectors.KINDS`.
        model: digest of the model that made the embeddings; empty where that is not known.
    """

    vectors: Vectors
    labels_G: Indices  # noqa: N815 - shape suffix
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...] = ()
    matching: str = NEAREST
    kind: str = FLAT
    model: str = ""
    graph: NDArray[np.uint8] | None = None
    """HNSW graph of the first vectors or all."""
    queries: Queries | None = None
    """Validation queries, which calibrate the threshold of unknown pictures; None without them."""
    measured: Calibration | None = None
    """What was made of the queries, where that is of this very gallery."""

    def __post_init__(self) -> None:
        if not self.digests:
            object.__setattr__(self, "digests", ("",) * len(self.paths))
        counts = (len(self.vectors), len(self.labels_G), len(self.paths), len(self.digests))
        if len(set(counts)) > 1:
            raise ValueError(f"embeddings, labels, paths and digests must be as many, got {counts}")

    def __len__(self) -> int:
        return len(self.labels_G)

    @property
    def num_entries(self) -> int:
        """With how many entries a query is compared."""
        return len(self) if self.matching == NEAREST else self._num_labels

    @cached_property
    def _num_labels(self) -> int:
        """Classes that have pictures."""
        return len(np.unique(self.labels_G))

    @property
    def extent(self) -> str:
        """How many entries there are, in words."""
        noun = "classes" if self.matching == PROTOTYPES else "pictures"
        return f"{self.num_entries} {noun} of the gallery"

    def nearest(self, query_QD: NDArray[Any], k: int) -> tuple[Indices, Floats]:
        """Return pictures and distances (0 to 2) of the k nearest entries, shape (Q, k).

        A prototype is given as the class's picture that is nearest to it, at its own distance.

        Raises:
            DataError: k is above the number of entries, or embeddings are of another length.
        """
        if not 1 <= k <= self.num_entries:
            raise DataError(f"topk: must be at most the {self.extent}, got {k}")
        self._check_length(query_QD.shape[1])
        if self._faiss is not None:
            return self._faiss.nearest(query_QD, k)
        found_QK, distances_QK = search(query_QD, self.entries.unit, k)
        return self.entries.pictures_E[found_QK], distances_QK

    def nearest_classes(
        self, query_QD: NDArray[Any], k: int, known: tuple[Indices, Floats] | None = None
    ) -> tuple[Indices, Floats]:
        """Return for each query the nearest entry of each of the k nearest classes, shape (Q, k).

        Args:
            query_QD: embeddings, of any length.
            k: classes.
            known: what `nearest` found for these queries, k entries or more; it is not called then.

        Raises:
            DataError: k is above the number of classes, or embeddings are of another length.
        """
        count = self._num_labels
        if not 1 <= k <= count:
            raise DataError(f"topk: must be at most the {count} classes of the gallery, got {k}")
        several = -(-self.num_entries // count)  # entries of a class, of which the nearest counts
        depth = min(min(several, 4) * k, self.num_entries)
        found, distances = known or self.nearest(query_QD, depth)
        is_first = _is_first(self.labels_G[found])
        columns = np.argsort(~is_first, axis=1, kind="stable")[:, :k]
        entries_QK = np.take_along_axis(found, columns, axis=1)
        distances_QK = np.take_along_axis(distances, columns, axis=1)
        open_Q = np.flatnonzero(is_first.sum(axis=1) < k)
        if len(open_Q):  # one class has more entries near them than were asked for
            entries_QK[open_Q], distances_QK[open_Q] = search_classes(
                query_QD[open_Q], self.entries.unit, self.labels_G, k
            )
        return entries_QK, distances_QK

    @cached_property
    def entries(self) -> Entries:
        """What queries are compared with; made by the first search, and used by all that follow."""
        return make_entries(UnitGallery.from_unit(self.emb_GD), self.labels_G, self.matching)

    @cached_property
    def emb_GD(self) -> Floats:  # noqa: N802 - shape suffix
        """The embeddings at unit length, float32."""
        return self.vectors.unit()

    @cached_property
    def _faiss(self) -> FaissIndex | None:
        """None where all entries are compared, one by one."""
        if self.kind == FLAT or self.matching != NEAREST or not has_faiss():
            return None
        return FaissIndex.of(self.vectors, self.kind, self.graph)

    def hnsw_graph(self) -> NDArray[np.uint8] | None:
        """Return the graph that a file holds: where none can be made, that of the first vectors."""
        if self.kind != HNSW:
            return None
        return self.graph if self._faiss is None else self._faiss.graph()

    @cached_property
    def calibration(self) -> Calibration | None:
        """Scores of the kept queries as known and as unknown pictures; None without queries."""
        if self.measured is not None or self.queries is None or not self.has_scores:
            return self.measured
        depth = min(SCORED + 1, len(self.class_names))
        near, distances = self.nearest_classes(self.queries.emb_QD.astype(np.float32), depth)
        return Calibration.of(self.queries, self.class_names, near, self.labels_G[near], distances)

    def _measured_with(self, before: Calibration | None, first: int) -> GalleryIndex:
        """Score the queries again after entries were added from `first` on: these are searched."""
        near = None if before is None else before.near_QK
        if near is None or self.queries is None or (self.kind, self.matching) != (FLAT, NEAREST):
            return self
        query_QD = self.queries.emb_QD.astype(np.float32)
        added = self.taken(np.arange(first, len(self)))
        depth = min(SCORED + 1, len(self.class_names))
        found, _ = added.nearest_classes(query_QD, min(depth, len(added.class_names)))
        both = np.concatenate((near, first + found), axis=1)
        near, distances = nearest_of_each(query_QD, self.emb_GD, self.labels_G, both, depth)
        known = Calibration.of(self.queries, self.class_names, near, self.labels_G[near], distances)
        return replace(self, measured=known)

    @property
    def has_scores(self) -> bool:
        """Whether there are classes enough to tell pictures of unknown ones."""
        return len(self.class_names) >= LEAST_GALLERY

    def score_unknown(
        self, query_QD: NDArray[Any], known: tuple[Indices, Floats] | None = None
    ) -> Floats:
        """Return how much each query looks like a picture of no class; see `unknown_scores`."""
        return unknown_scores(self.nearest_classes(query_QD, SCORED, known)[1])

    def threshold(self, rate: float) -> Threshold:
        """Return where pictures begin to count as unknown.

        Args:
            rate: asked share of unknown pictures that are accepted.

        Raises:
            DataError: the rate is not between 0 and 1, or nothing can calibrate it.
        """
        return self.scored().threshold(rate)

    def scored(self) -> Calibration:
        """Return the scores of the kept queries.

        Raises:
            DataError: there are no queries, or too few classes.
        """
        if self.queries is not None and not self.has_scores:
            raise DataError(
                "no threshold for unknown pictures: the gallery must have "
                f"{LEAST_GALLERY} classes, got {len(self.class_names)}"
            )
        if self.calibration is None:
            raise DataError(
                "no threshold for unknown pictures: the gallery holds no validation queries; "
                "export it again"
            )
        return self.calibration

    def names_of(self, indices: NDArray[np.int64]) -> NDArray[np.str_]:
        """Return the class names of entries, same shape."""
        names: NDArray[np.str_] = np.asarray(self.class_names)[self.labels_G[indices]]
        return names

    def extended(self, other: GalleryIndex) -> GalleryIndex:
        """Return an index with the other's entries behind; classes of one name become one class."""
        self._check_length(other.vectors.length)
        known = set(map(name_key, self.class_names))
        added = [name for name in other.class_names if name_key(name) not in known]
        names = (*self.class_names, *added)
        position = {name_key(name): number for number, name in enumerate(names)}
        moved = np.array([position[name_key(n)] for n in other.class_names], dtype=np.int64)
        unit_GD = np.concatenate((self.emb_GD, other.emb_GD))
        grown = replace(
            self,
            vectors=Vectors.of_unit(unit_GD, self.kind),
            labels_G=np.concatenate((self.labels_G, moved[other.labels_G])),
            class_names=names,
            paths=(*self.paths, *other.paths),
            digests=(*self.digests, *other.digests),
            measured=None,
        )
        return grown._measured_with(self.measured, len(self))

    def taken(self, kept: NDArray[np.int64]) -> GalleryIndex:
        """Return an index of some of the entries; classes that none of them is of are left out."""
        labels_G = self.labels_G[kept]
        classes, moved_G = np.unique(labels_G, return_inverse=True)
        return replace(
            self,
            vectors=replace(self.vectors, codes_ND=self.vectors.codes_ND[kept]),
            labels_G=moved_G.astype(np.int64),
            class_names=tuple(self.class_names[label] for label in classes),
            paths=tuple(self.paths[entry] for entry in kept),
            digests=tuple(self.digests[entry] for entry in kept),
            graph=None,
            measured=None,
        )

    def kept_as(self, kind: str) -> GalleryIndex:
        """Return the same index of another kind; bits that were rounded away do not come back."""
        vectors = Vectors.of_unit(self.emb_GD, kind)
        return replace(self, vectors=vectors, kind=kind, graph=None, measured=None)

    def matched_by(self, matching: str) -> GalleryIndex:
        """Return the same index, compared with all pictures or with a mean per class."""
        return replace(self, matching=matching, measured=None)

    def save(self, path: Path) -> None:
        """Write the index as .npz of plain arrays, whole or not at all."""
        texts = ("kind", "matching", "model", "class_names", "paths", "digests")
        arrays: dict[str, NDArray[Any]] = {
            "format": np.array(FORMAT),
            "step": np.array(self.vectors.step),
            "embeddings": self.vectors.codes_ND,
            "labels": self.labels_G,
            **{name: np.asarray(getattr(self, name), dtype=np.str_) for name in texts},
        }
        if (graph := self.hnsw_graph()) is not None:
            arrays["graph"] = graph
        if self.queries is not None:
            arrays |= self.queries.arrays()
        if self.calibration is not None:
            arrays |= self.calibration.arrays()
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> GalleryIndex:
        """Read an index; large arrays are mapped, not read.

        Raises:
            DataError: the file is missing or not a gallery index.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such gallery index; `ml_recog export` writes one")
        try:
            arrays = open_arrays(path)
            check_arrays(arrays)
            return cls(
                vectors=Vectors(arrays["embeddings"], float(arrays["step"])),
                labels_G=arrays["labels"],
                class_names=tuple(arrays["class_names"].tolist()),
                paths=tuple(arrays["paths"].tolist()),
                digests=tuple(arrays["digests"].tolist()),
                matching=str(arrays["matching"]),
                kind=str(arrays["kind"]),
                model=str(arrays["model"]),
                graph=arrays.get("graph"),
                queries=Queries.of_arrays(arrays),
                measured=Calibration.of_arrays(arrays),
            )
        except KeyError as e:
            raise DataError(f"{path}: not a gallery index: holds no {e.args[0]}") from e
        except (OSError, ValueError, TypeError) as e:
            raise DataError(f"{path}: not a gallery index: {e}") from e

    def _check_length(self, length: int) -> None:
        if length != self.vectors.length:
            raise DataError(
                f"gallery: embeddings of length {self.vectors.length} must be given, got "
                f"{length}; model and gallery must come from one export"
            )


def _is_first(labels_QK: Indices) -> NDArray[np.bool_]:
    """Whether each label is the first of its kind in its row."""
    order_QK = np.argsort(labels_QK, axis=1, kind="stable")
    sorted_QK = np.take_along_axis(labels_QK, order_QK, axis=1)
    is_new_QK = np.ones(labels_QK.shape, dtype=np.bool_)
    is_new_QK[:, 1:] = sorted_QK[:, 1:] != sorted_QK[:, :-1]
    is_first_QK = np.empty_like(is_new_QK)
    np.put_along_axis(is_first_QK, order_QK, is_new_QK, axis=1)
    return is_first_QK


def build_gallery(
    emb_GD: NDArray[Any],
    labels_G: NDArray[np.int64],
    class_names: Sequence[str],
    files: Sequence[Path],
    matching: str = NEAREST,
    digests: Sequence[str] = (),
    model: str = "",
) -> GalleryIndex:
    """Return the index of embedded reference pictures; paths are kept below `gallery_root`.

    Raises:
        DivergedError: an embedding is not finite.
    """
    root = gallery_root(files)
    return GalleryIndex(
        vectors=Vectors.of(emb_GD),
        labels_G=np.asarray(labels_G, dtype=np.int64),
        class_names=tuple(class_names),
        paths=tuple(file.relative_to(root).as_posix() for file in files),
        digests=tuple(digests),
        matching=matching,
        model=model,
    )


def gallery_root(files: Sequence[Path]) -> Path:
    """Return the folder that the paths in a gallery of these files are relative to."""
    return Path(os.path.commonpath([file.parent.parent for file in files]))


def picture_digest(pixels_HWC: NDArray[np.uint8]) -> str:
    """Return what tells a picture from others, as the network sees it: the file does not matter."""
    digest = hashlib.blake2b(pixels_HWC.tobytes(), digest_size=16)
    return f"{digest.hexdigest()}-{'x'.join(map(str, pixels_HWC.shape))}"


def model_digest(path: Path) -> str:
    """Return what tells a model file from others."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
