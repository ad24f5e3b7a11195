"""What pictures are matched by: reference pictures or prototypes, with mirror images or without.

Needs numpy alone. Shapes: N pictures, G reference pictures, E entries (what queries are compared
with), D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.retrieval import Floats, Indices, UnitGallery, normalize

Batch = TypeVar("Batch")

NEAREST, PROTOTYPES = "nearest", "prototypes"
MATCHINGS = (NEAREST, PROTOTYPES)
"""Values of `dataset.matching`."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What queries are compared with: every reference picture, or one prototype per class."""

    unit: UnitGallery
    labels_E: Indices  # noqa: N815 - shape suffix
    pictures_E: Indices  # noqa: N815 - shape suffix
    """The reference picture that stands for each entry; of a prototype, the one nearest to it."""
    matching: str

    def __len__(self) -> int:
        return len(self.labels_E)


def make_entries(
    gallery: NDArray[Any] | UnitGallery, labels_G: NDArray[np.int64], matching: str
) -> Entries:
    """Return the entries of a gallery, of embeddings of any length or what was made of them.

    A prototype is the mean of the unit embeddings of a class (Snell et al. 2017).

    Raises:
        DivergedError: an embedding is not finite.
    """
    unit = gallery if isinstance(gallery, UnitGallery) else UnitGallery.of(gallery)
    if matching == NEAREST:
        return Entries(unit, labels_G, np.arange(len(labels_G), dtype=np.int64), NEAREST)
    classes = np.unique(labels_G)
    means, pictures = [], []
    for label in classes:
        members = np.flatnonzero(labels_G == label)
        own_ND = unit.unit_GD[members]
        mean_D = own_ND.mean(axis=0, dtype=np.float64)
        means.append(mean_D)
        pictures.append(members[(own_ND @ mean_D).argmax()])
    pictures_C = np.array(pictures, dtype=np.int64)
    return Entries(UnitGallery.of(np.stack(means)), classes, pictures_C, PROTOTYPES)


def embed_with_mirror_images(
    embed: Callable[[Iterable[Batch]], NDArray[Any]],
    batches: Iterable[Batch],
    mirror: Callable[[Batch], Batch],
) -> Floats:
    """Embed every picture and its mirror image; return the means of both at unit length.

    Args:
        embed: returns raw embeddings of all pictures of some batches, in order.
        batches: pictures, each batch with a length.
        mirror: turns a batch over, left to right.

    Returns:
        Shape (N, D).

    Raises:
        DivergedError: an embedding is not finite.
    """
    sizes: list[int] = []
    emb_ND = embed(_doubled(batches, mirror, sizes))
    parts, start = [], 0
    for size in sizes:
        middle, end = start + size, start + 2 * size
        parts.append(mean_of_views(emb_ND[start:middle], emb_ND[middle:end]))
        start = end
    return np.concatenate(parts)


def mean_of_views(plain_ND: NDArray[Any], mirrored_ND: NDArray[Any]) -> Floats:
    """Return the means of two embeddings of each picture at unit length.

    Raises:
        DivergedError: an embedding is not finite.
    """
    return (normalize(plain_ND) + normalize(mirrored_ND)) / np.float32(2.0)


def _doubled(
    batches: Iterable[Batch], mirror: Callable[[Batch], Batch], sizes: list[int]
) -> Iterator[Batch]:
    for batch in batches:
        sizes.append(len(batch))  # type: ignore[arg-type]  # arrays and tensors have one
        yield batch
        yield mirror(batch)
