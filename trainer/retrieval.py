"""Exact nearest-neighbour search over embeddings.

Shapes: Q queries, B queries of a block, G gallery entries, D dimensions, K neighbours. Every row is
brought to unit length first and the distance is the Euclidean one between unit vectors (0 to 2),
which is what the losses train with.

Neighbours do not depend on who computes them. Unit vectors are rounded to 25 binary places, so that
their products and squared distances are whole multiples of 2**-50 that float64 holds exactly, in
any order of summation. A fast float32 pass (`trainer.proposals`: numpy, faiss or a GPU) only
proposes a superset of the nearest, which is then measured exactly here; equal distances go to the
lowest gallery index. Queries to which a large part of the gallery is equally near, as with
embeddings that have collapsed, are measured against all of it, which takes the time of one more
matrix product. Needs numpy alone.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError, DivergedError
from trainer.proposals import Floats, Indices, Pairs, blocks, propose, propose_classes

__all__ = [
    "Doubles",
    "Floats",
    "Indices",
    "UnitGallery",
    "first_relevant_ranks",
    "normalize",
    "search",
    "search_classes",
]

Doubles = NDArray[np.float64]
Nearest = tuple[Indices, Doubles]
"""Gallery indices (B, K), nearest first, and their exact scores."""

_SCALE = float(1 << 25)
_KEPT_GRID_BYTES = 256 << 20
"""Of a gallery on the grid that is kept during a search that measures all of it."""
_TILE_QUERIES = 4096
"""That are ranked at once."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UnitGallery:
    """Gallery embeddings made ready once, for many searches; made by `UnitGallery.of`."""

    unit_GD: Floats  # noqa: N815 - shape suffix
    """Rows of unit length, or zero."""
    half_G: Floats  # noqa: N815 - shape suffix
    """Half the squared length of each row: 0.5, or 0 for a zero row."""

    @classmethod
    def of(cls, gallery_GD: NDArray[Any]) -> UnitGallery:
        """Bring embeddings to unit length.

        Raises:
            DivergedError: when a value is NaN or infinite.
        """
        return cls.from_unit(normalize(gallery_GD))

    @classmethod
    def from_unit(cls, unit_GD: Floats) -> UnitGallery:
        """Take rows that are of unit length already, or zero."""
        return cls(unit_GD, np.where(unit_GD.any(axis=1), np.float32(0.5), np.float32(0.0)))

    def __len__(self) -> int:
        return len(self.unit_GD)


def normalize(emb_ND: NDArray[Any]) -> Floats:
    """Return rows of unit length as float32; a zero row stays zero.

    Raises:
        DivergedError: when a value is NaN or infinite.
    """
    emb_ND = np.asarray(emb_ND)
    unit_ND = np.empty(emb_ND.shape, dtype=np.float32)
    bad = 0
    for rows in blocks(len(emb_ND), 8 * emb_ND.shape[1]):
        block_BD = emb_ND[rows].astype(np.float64)
        bad += int((~np.isfinite(block_BD).all(axis=1)).sum())
        if not bad:
            norms_B1 = np.linalg.norm(block_BD, axis=1, keepdims=True)
            unit_ND[rows] = block_BD / np.where(norms_B1 == 0.0, 1.0, norms_B1)
    if bad:
        raise DivergedError(
            f"embeddings: every value must be finite, but {bad} of {len(emb_ND)} rows are not; "
            "lower the learning rates or set train.clip_grad_norm"
        )
    return unit_ND


def search(
    query_QD: NDArray[Any],
    gallery: NDArray[Any] | UnitGallery,
    k: int,
    *,
    backend: str = "auto",
    device: str | None = None,
) -> tuple[Indices, Floats]:
    """Find the k nearest gallery entries of every query.

    Args:
        query_QD: embeddings, of any length.
        gallery: embeddings of any length, shape (G, D), or what was made of them once for many
            searches.
        k: neighbours per query, 1 to G.
        backend: what proposes candidates, one of `trainer.proposals.BACKENDS`, or `auto`: for large
            problems the GPU that torch uses in this process, else faiss where it is installed. The
            answer is the same.
        device: of `torch` and `faiss-gpu`, such as `cuda:1`; default: torch's current GPU.

    Returns:
        Gallery indices, shape (Q, k), nearest first, ties by the lowest index; and their distances,
        same shape.

    Raises:
        DataError: when `k` is not within the gallery.
        DivergedError: when an embedding is not finite.
    """
    num_gallery = len(gallery)
    if not 1 <= k <= num_gallery:
        raise DataError(
            f"search: 1 <= k <= size of the gallery must hold, got k={k} with {num_gallery}; "
            "ask for fewer neighbours or add pictures to the reference"
        )
    query = normalize(query_QD)
    if not isinstance(gallery, UnitGallery):
        gallery = UnitGallery.of(gallery)
    indices_QK = np.empty((len(query), k), dtype=np.int64)
    distances_QK = np.empty((len(query), k), dtype=np.float32)
    exact = _ExactGallery(gallery.unit_GD)
    for numbers, pairs in propose(backend, query, gallery, k, device):
        block_BD = _on_grid(query[numbers])
        if pairs is None:
            indices, scores = _nearest_of_all(block_BD, exact, k)
        else:
            indices, scores = _nearest_of_pairs(block_BD, gallery.unit_GD, pairs, k)
        indices_QK[numbers] = indices
        distances_QK[numbers] = _distances(block_BD, scores)
    return indices_QK, distances_QK


def search_classes(
    query_QD: NDArray[Any], gallery: UnitGallery, labels_G: Indices, k: int
) -> tuple[Indices, Floats]:
    """Find the nearest entry of each of the k nearest classes of every query, in one pass.

    Args:
        query_QD: embeddings, of any length.
        gallery: what is searched.
        labels_G: the class of each entry.
        k: classes per query, 1 to as many as there are.

    Returns:
        As `search`; ties go to the lowest index.
    """
    query = normalize(query_QD)
    indices_QK = np.empty((len(query), k), dtype=np.int64)
    distances_QK = np.empty((len(query), k), dtype=np.float32)
    exact = _ExactGallery(gallery.unit_GD)
    order_G = np.argsort(labels_G, kind="stable")
    starts_C = np.flatnonzero(np.diff(labels_G[order_G], prepend=-1))
    for numbers, proposed in propose_classes(query, gallery, order_G, starts_C, k):
        block_BD = _on_grid(query[numbers])
        if proposed is None:
            pairs, scores = _nearest_of_classes(exact.scores(block_BD), order_G, starts_C)
        else:
            pairs, scores = proposed, _scores_of_pairs(block_BD, gallery.unit_GD, proposed)
        rows, columns = pairs
        ranked = np.lexsort((columns, -scores, rows))
        labels = labels_G[columns[ranked]] + rows[ranked] * (labels_G.max() + 1)
        ranked = ranked[np.sort(np.unique(labels, return_index=True)[1])]  # the first of a class
        picked_BK = _first_of_rows(rows[ranked], k, ranked)
        indices_QK[numbers] = columns[picked_BK]
        distances_QK[numbers] = _distances(block_BD, scores[picked_BK])
    return indices_QK, distances_QK


def first_relevant_ranks(
    query_QD: NDArray[Any],
    gallery: NDArray[Any] | UnitGallery,
    query_labels_Q: NDArray[Any],
    gallery_labels_G: NDArray[Any],
    *,
    device: str | None = None,
) -> Indices:
    """Return the rank (from 1) of the nearest entry of each query's own class, 0 without one.

    The whole ranking counts, however long, without being stored; ties rank by gallery index as in
    `search`. Every pair is measured, so ask for those queries alone whose rank a search leaves
    open.

    Args:
        query_QD: embeddings, of any length.
        gallery: as of `search`.
        query_labels_Q: the class of each query.
        gallery_labels_G: the class of each entry.
        device: of torch, such as `cuda:1`; default: the GPU that torch uses in this process, else
            numpy. The answer is the same.
    """
    if not isinstance(gallery, UnitGallery):
        gallery = UnitGallery.of(gallery)
    first_Q = np.full(len(query_QD), -1, dtype=np.int64)
    members_of = _by_label(gallery_labels_G)
    for label, own in _by_label(query_labels_Q).items():
        if label in members_of:
            members = members_of[label]
            part = UnitGallery.from_unit(gallery.unit_GD[members])
            first_Q[own] = members[search(query_QD[own], part, 1)[0][:, 0]]
    ranks_Q = np.zeros(len(query_QD), dtype=np.int64)
    asked = np.flatnonzero(first_Q >= 0)
    query = normalize(query_QD[asked])
    ranks_Q[asked] = 1 + _num_nearer(query, gallery.unit_GD, first_Q[asked], device)
    return ranks_Q


def _by_label(labels_N: NDArray[Any]) -> dict[int, Indices]:
    """Return the places of each label, rising."""
    order = np.argsort(labels_N, kind="stable")
    labels, starts = np.unique(labels_N[order], return_index=True)
    return dict(zip(labels.tolist(), np.split(order, starts[1:]), strict=False))


def _num_nearer(query: Floats, unit_GD: Floats, entry_Q: Indices, device: str | None) -> Indices:
    """Return how many entries each query ranks before the one that is given for it."""
    torch = sys.modules.get("torch")
    if torch is None or (device is None and not torch.cuda.is_initialized()):
        return _counted(query, unit_GD, entry_Q, np.asarray)
    place = torch.device(device or "cuda")
    try:
        return _counted(query, unit_GD, entry_Q, lambda rows: torch.from_numpy(rows).to(place))
    except torch.OutOfMemoryError as error:
        text = str(error).partition("\n")[0]
        logger.warning("%d ranks are counted on the CPU: %s", len(query), text)
        return _counted(query, unit_GD, entry_Q, np.asarray)


def _counted(
    query: Floats, unit_GD: Floats, entry_Q: Indices, placed: Callable[[NDArray[Any]], Any]
) -> Indices:
    """Count in tiles of queries and entries; `placed` brings arrays to where that is done."""
    nearer_Q = np.zeros(len(query), dtype=np.int64)
    for start in range(0, len(query), _TILE_QUERIES):
        rows = slice(start, start + _TILE_QUERIES)
        exact_BD, own_BD = _on_grid(query[rows]), _on_grid(unit_GD[entry_Q[rows]])
        own_B1 = ((exact_BD * own_BD).sum(axis=1) - 0.5 * (own_BD * own_BD).sum(axis=1))[:, None]
        exact_BD, own_B1, entry_B1 = map(placed, (exact_BD, own_B1, entry_Q[rows, None]))
        for columns in blocks(len(unit_GD), 8 * _TILE_QUERIES):
            exact_CD = _on_grid(unit_GD[columns])
            half_C = placed(0.5 * (exact_CD * exact_CD).sum(axis=1))
            places_C = placed(np.arange(columns.start, columns.start + len(exact_CD)))
            scores_BC = exact_BD @ placed(exact_CD).T
            scores_BC -= half_C
            is_nearer = scores_BC > own_B1
            is_nearer |= (scores_BC == own_B1) & (places_C < entry_B1)
            nearer_Q[rows] += np.asarray(is_nearer.sum(1).tolist())
    return nearer_Q


def _on_grid(unit_ND: Floats) -> Doubles:
    """Round unit vectors to multiples of 2**-25: sums of their products are exact in float64."""
    return np.rint(unit_ND.astype(np.float64) * _SCALE) / _SCALE


class _ExactGallery:
    """A gallery on the grid, in blocks of rows; made once if it is not too large to keep."""

    def __init__(self, unit_GD: Floats) -> None:
        self._unit_GD = unit_GD

    def __len__(self) -> int:
        return len(self._unit_GD)

    def scores(self, query_BD: Doubles) -> Doubles:
        """Return q.g - g.g / 2 of all pairs, shape (B, G): higher is nearer."""
        scores_BG = np.empty((len(query_BD), len(self)))
        is_kept = 8 * self._unit_GD.size <= _KEPT_GRID_BYTES
        for columns, exact_CD in self._kept if is_kept else self._blocks():
            part_BC = scores_BG[:, columns]
            np.matmul(query_BD, exact_CD.T, out=part_BC)
            part_BC -= 0.5 * (exact_CD * exact_CD).sum(axis=1)
        return scores_BG

    @cached_property
    def _kept(self) -> list[tuple[slice, Doubles]]:
        return list(self._blocks())

    def _blocks(self) -> Iterator[tuple[slice, Doubles]]:
        for columns in blocks(len(self), 8 * self._unit_GD.shape[1]):
            yield columns, _on_grid(self._unit_GD[columns])


def _nearest_of_all(query_BD: Doubles, gallery: _ExactGallery, k: int) -> Nearest:
    """Measure every gallery entry and pick the nearest without sorting all."""
    indices_BK = np.empty((len(query_BD), k), dtype=np.int64)
    scores_BK = np.empty((len(query_BD), k))
    for rows in blocks(len(query_BD), 8 * len(gallery)):
        scores_BG = gallery.scores(query_BD[rows])
        indices_BK[rows] = _first_k(scores_BG, k)
        scores_BK[rows] = np.take_along_axis(scores_BG, indices_BK[rows], axis=1)
    return indices_BK, scores_BK


def _first_k(scores_BG: Doubles, k: int) -> Indices:
    """Return the columns of the k highest scores of each row, highest first, ties by column."""
    columns_BK: Indices
    if k == 1:
        columns_BK = scores_BG.argmax(axis=1)[:, None]
        return columns_BK
    place = scores_BG.shape[1] - k
    least_B1 = np.partition(scores_BG, place, axis=1)[:, place, None]
    is_above = scores_BG > least_B1
    is_tied = scores_BG == least_B1
    room_B1 = k - is_above.sum(axis=1, keepdims=True)
    is_chosen = is_above | (is_tied & (is_tied.cumsum(axis=1, dtype=np.int32) <= room_B1))
    columns_BK = np.nonzero(is_chosen)[1].reshape(-1, k)
    order = np.argsort(-np.take_along_axis(scores_BG, columns_BK, axis=1), axis=1, kind="stable")
    columns_BK = np.take_along_axis(columns_BK, order, axis=1)
    return columns_BK


def _nearest_of_pairs(query_BD: Doubles, gallery_GD: Floats, pairs: Pairs, k: int) -> Nearest:
    """Measure the proposed pairs and pick each query's nearest; every row has k pairs or more."""
    rows, columns = pairs
    scores = _scores_of_pairs(query_BD, gallery_GD, pairs)
    order = np.lexsort((columns, -scores, rows))
    picked_BK = _first_of_rows(rows, k, order)
    return columns[picked_BK], scores[picked_BK]


def _scores_of_pairs(query_BD: Doubles, gallery_GD: Floats, pairs: Pairs) -> Doubles:
    """Return q.g - g.g / 2 of the pairs: higher is nearer."""
    rows, columns = pairs
    used_G = np.zeros(len(gallery_GD), dtype=np.bool_)
    used_G[columns] = True
    used_U = np.flatnonzero(used_G)
    place_G = np.empty(len(gallery_GD), dtype=np.int64)
    place_G[used_U] = np.arange(len(used_U))
    own_UD, places = _on_grid(gallery_GD[used_U]), place_G[columns]
    scores: Doubles = np.concatenate(
        [
            np.einsum("cd,cd->c", query_BD[rows[part]], own_UD[places[part]])
            for part in blocks(len(rows), 16 * query_BD.shape[1])
        ]
    )
    scores -= 0.5 * (own_UD * own_UD).sum(axis=1)[places]
    return scores


def _first_of_rows(rows: Indices, k: int, order: Indices) -> Indices:
    """Return the first k of `order` in each row, shape (B, k); it lists rows in order."""
    counts_B = np.bincount(rows)
    starts_B = np.cumsum(counts_B) - counts_B
    picked_BK: Indices = order[starts_B[:, None] + np.arange(k)[None, :]]
    return picked_BK


def _distances(query_BD: Doubles, scores_BK: Doubles) -> Doubles:
    squared_B = (query_BD * query_BD).sum(axis=1)
    distances_BK: Doubles = np.sqrt(np.maximum(squared_B[:, None] - 2.0 * scores_BK, 0))
    return distances_BK


def _nearest_of_classes(
    scores_BG: Doubles, order_G: Indices, starts_C: Indices
) -> tuple[Pairs, Doubles]:
    """Return the pairs of every query with the nearest entry of each class, and their scores."""
    members = np.split(order_G, starts_C[1:])
    columns_BC = np.stack([own[scores_BG[:, own].argmax(axis=1)] for own in members], axis=1)
    scores = np.take_along_axis(scores_BG, columns_BC, axis=1).ravel()
    rows = np.repeat(np.arange(len(scores_BG)), len(starts_C))
    return (rows, columns_BC.ravel()), scores
