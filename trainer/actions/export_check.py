"""Compares an exported model with the original: embeddings and nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainerError
from trainer.retrieval import normalize, search

LEAST_COSINE = 0.9999
_GREATEST_DIFFERENCE = 1e-3
"""Between unit vectors; rounding in another order gives about 1e-6."""

_TIE = 1e-4
"""Two neighbours whose distances differ by less are the same to rounding."""


class ExportError(TrainerError):
    """An exported file does not compute what its model computes."""

    kind: ClassVar[str] = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far two models agree over some pictures."""

    max_abs_difference: float
    """Of unit vectors."""
    min_cosine: float
    neighbours_equal: bool
    num_images_checked: int
    checked_on: str = "generated"


def compare(
    original_QD: NDArray[Any],
    exported_QD: NDArray[Any],
    galleries: tuple[NDArray[Any], NDArray[Any]] | None,
) -> Parity:
    """Compare two models' embeddings of the same pictures.

    Args:
        original_QD: of the original model.
        exported_QD: of the exported one.
        galleries: both models' embeddings of the pictures that neighbours are looked up in; without
            them each picture's neighbour is looked up among the pictures themselves.

    Raises:
        ExportError: when they differ by more than rounding.
    """
    original, exported = normalize(original_QD), normalize(exported_QD)
    difference = float(np.abs(original - exported).max())
    cosine = float((original.astype(np.float64) * exported).sum(axis=1).min())
    if galleries is None:
        is_equal = _same_neighbours((original, exported), (original, exported), skip=1)
    else:
        is_equal = _same_neighbours((original, exported), galleries, skip=0)
    if cosine < LEAST_COSINE or difference > _GREATEST_DIFFERENCE or not is_equal:
        raise ExportError(
            "export: onnxruntime must give torch's embeddings and neighbours (cosine >= "
            f"{LEAST_COSINE}, difference <= {_GREATEST_DIFFERENCE}), got cosine {cosine:.6f}, "
            f"difference {difference:.2e}, neighbours {'equal' if is_equal else 'different'}; "
            "no file is written; try another export.opset_version"
        )
    return Parity(
        max_abs_difference=difference,
        min_cosine=cosine,
        neighbours_equal=is_equal,
        num_images_checked=len(original),
    )


def _same_neighbours(
    queries: tuple[NDArray[Any], NDArray[Any]],
    galleries: tuple[NDArray[Any], NDArray[Any]],
    *,
    skip: int,
) -> bool:
    """Whether each query has the same neighbour in both, the nearest `skip` (itself) aside.

    Neighbours whose distances differ by rounding alone count as the same.
    """
    place = min(skip, len(galleries[0]) - 1)
    best, distance = search(queries[0], galleries[0], place + 1)
    other, _ = search(queries[1], galleries[1], place + 1)
    nearest, chosen = best[:, place], other[:, place]
    rows = normalize(queries[0]).astype(np.float64)
    entries = normalize(galleries[0]).astype(np.float64)[chosen]
    gap = np.linalg.norm(rows - entries, axis=1) - distance[:, place]
    return bool(((nearest == chosen) | (np.abs(gap) < _TIE)).all())
