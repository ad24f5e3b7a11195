"""Exact nearest-neighbour search over embeddings.

Shapes: Q queries, B queries of a block, G gallery entries, D dimensions, K neighbours. Every row is
brought to unit length first and the distance is the Euclidean one between unit vectors (0 to 2),
which is what the losses train with.

Neighbours do not depend on who computes them. Unit vectors are rounded to 25 binary places, so that
their products and squared distances are whole multiples of 2**-50 that float64 holds exactly, in
any order of summation. A fast float32 pass (blocked matrix products, or faiss) only proposes a
superset of the nearest, which is then measured exactly; equal distances go to the lowest gallery
index. Queries to which a large part of the gallery is equally near, as with embeddings that have
collapsed, are measured against all of it, which takes the time of one more matrix product. This
module needs numpy alone; faiss is used when it is installed and the problem is large.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError, DivergedError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Pairs = tuple[Indices, Indices]
"""Row numbers (ascending) and gallery indices of the pairs that may be among the nearest."""
Proposal = tuple[Indices, Pairs | None]
"""Query numbers of a block and its pairs, whose rows count within the block; None: all pairs."""
Nearest = tuple[Indices, Doubles]
"""Gallery indices (B, K), nearest first, and their exact scores."""

_SCALE = float(1 << 25)
_BLOCK_BYTES = 64 << 20
_MANY = 16
"""From one in so many of the gallery on, looking at all of it costs less than picking."""
_FAISS_FROM_PAIRS = 20_000_000
_FAISS_EXTRA = 8
_FAISS_BLOCK = 8192
"""Queries at once: faiss keeps few of their products, and is far slower in small blocks."""
_FAISS_BLOCK_PAIRS = 1 << 20


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
    for rows in _blocks(len(emb_ND), 8 * emb_ND.shape[1]):
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
    query_QD: NDArray[Any], gallery: NDArray[Any] | UnitGallery, k: int, *, backend: str = "auto"
) -> tuple[Indices, Floats]:
    """Find the k nearest gallery entries of every query.

    Args:
        query_QD: embeddings, of any length.
        gallery: embeddings of any length, shape (G, D), or what was made of them once for many
            searches.
        k: neighbours per query, 1 to G.
        backend: `matmul`, `faiss`, or `auto` (faiss where it is installed and faster). The answer
            is the same.

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
    for numbers, pairs in _PROPOSERS[_chosen(backend, query, gallery, k)](query, gallery, k):
        block_BD = _on_grid(query[numbers])
        if pairs is None:
            indices, scores = _nearest_of_all(block_BD, gallery.unit_GD, k)
        else:
            indices, scores = _nearest_of_pairs(block_BD, gallery.unit_GD, pairs, k)
        indices_QK[numbers] = indices
        squared_B = (block_BD * block_BD).sum(axis=1)
        distances_QK[numbers] = np.sqrt(np.maximum(squared_B[:, None] - 2.0 * scores, 0))
    return indices_QK, distances_QK


def first_relevant_ranks(
    query_QD: NDArray[Any],
    gallery_GD: NDArray[Any],
    query_labels_Q: NDArray[Any],
    gallery_labels_G: NDArray[Any],
) -> Indices:
    """Return the rank (from 1) of the nearest entry of each query's own class, 0 without one.

    The whole ranking counts, however long, without being stored; ties rank by gallery index as in
    `search`.
    """
    query, exact_GD = normalize(query_QD), _on_grid(normalize(gallery_GD))
    half_G = 0.5 * (exact_GD * exact_GD).sum(axis=1)
    ranks_Q = np.zeros(len(query), dtype=np.int64)
    positions = np.arange(len(exact_GD))
    for rows in _blocks(len(query), 16 * len(exact_GD)):
        scores = _on_grid(query[rows]) @ exact_GD.T - half_G
        relevant = query_labels_Q[rows, None] == gallery_labels_G[None, :]
        own = np.where(relevant, scores, -np.inf)
        first = own.argmax(axis=1)
        best = own[np.arange(len(own)), first][:, None]
        ahead = (scores > best) | ((scores == best) & (positions[None, :] < first[:, None]))
        ranks = 1 + ahead.sum(axis=1)
        ranks_Q[rows] = np.where(relevant.any(axis=1), ranks, 0)
    return ranks_Q


def _on_grid(unit_ND: Floats) -> Doubles:
    """Round unit vectors to multiples of 2**-25: sums of their products are exact in float64."""
    return np.rint(unit_ND.astype(np.float64) * _SCALE) / _SCALE


def _blocks(num_rows: int, row_bytes: int) -> Iterator[slice]:
    """Slices of rows that take no more than a block's bytes, or one row."""
    step = max(1, _BLOCK_BYTES // max(row_bytes, 1))
    return (slice(start, start + step) for start in range(0, num_rows, step))


def _tolerance(dim: int) -> float:
    """Bound on how far a float32 dot product of unit vectors can be from the score on the grid."""
    return (dim + 64) * 2.0**-24


def _nearest_of_all(query_BD: Doubles, gallery_GD: Floats, k: int) -> Nearest:
    """Measure every gallery entry and pick the nearest without sorting all."""
    indices_BK = np.empty((len(query_BD), k), dtype=np.int64)
    scores_BK = np.empty((len(query_BD), k))
    for rows in _blocks(len(query_BD), 8 * len(gallery_GD)):
        parts = [
            _scores_of_all(query_BD[rows], _on_grid(gallery_GD[columns]))
            for columns in _blocks(len(gallery_GD), 8 * gallery_GD.shape[1])
        ]
        scores_BG = np.concatenate(parts, axis=1)
        indices_BK[rows] = _first_k(scores_BG, k)
        scores_BK[rows] = np.take_along_axis(scores_BG, indices_BK[rows], axis=1)
    return indices_BK, scores_BK


def _scores_of_all(query_BD: Doubles, gallery_GD: Doubles) -> Doubles:
    """Return q.g - g.g / 2 of all pairs: higher is nearer."""
    scores_BG: Doubles = query_BD @ gallery_GD.T
    scores_BG -= 0.5 * (gallery_GD * gallery_GD).sum(axis=1)
    return scores_BG


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
    used_G = np.zeros(len(gallery_GD), dtype=np.bool_)
    used_G[columns] = True
    used_U = np.flatnonzero(used_G)
    place_G = np.empty(len(gallery_GD), dtype=np.int64)
    place_G[used_U] = np.arange(len(used_U))
    own_UD, places = _on_grid(gallery_GD[used_U]), place_G[columns]
    scores = np.concatenate(
        [
            np.einsum("cd,cd->c", query_BD[rows[part]], own_UD[places[part]])
            for part in _blocks(len(rows), 16 * query_BD.shape[1])
        ]
    )
    scores -= 0.5 * (own_UD * own_UD).sum(axis=1)[places]
    order = np.lexsort((columns, -scores, rows))
    counts_B = np.bincount(rows)
    starts_B = np.cumsum(counts_B) - counts_B
    picked_BK = order[starts_B[:, None] + np.arange(k)[None, :]]
    return columns[picked_BK], scores[picked_BK]


def _chosen(backend: str, query: Floats, gallery: UnitGallery, k: int) -> str:
    if backend == "auto":
        large = len(query) * len(gallery) >= _FAISS_FROM_PAIRS and k <= 64
        # faiss must be loaded after torch, and what runs without torch is not to load it for this.
        return "faiss" if large and "torch" in sys.modules and has_faiss() else "matmul"
    if backend not in _PROPOSERS:
        raise ValueError(f"backend must be auto, {', '.join(_PROPOSERS)}, got {backend!r}")
    return backend


def has_faiss() -> bool:
    """Whether faiss is installed."""
    return importlib.util.find_spec("faiss") is not None


def _by_matmul(query: Floats, gallery: UnitGallery, k: int) -> Iterator[Proposal]:
    yield from _in_blocks(np.arange(len(query)), query, gallery, k)


def _in_blocks(numbers: Indices, query: Floats, gallery: UnitGallery, k: int) -> Iterator[Proposal]:
    """Propose for some of the queries every pair that can be among the k nearest.

    The k-th largest of the maxima over groups of columns is a lower bound of the k-th largest
    score; what reaches it within twice the rounding error is proposed, so that nothing nearer can
    be missed.
    """
    num_gallery = len(gallery)
    width = min(64, max(1, num_gallery // (4 * k)))
    margin = 2 * _tolerance(query.shape[1])
    for part in _blocks(len(numbers), 4 * num_gallery):
        block_B = numbers[part]
        scores_BG = query[block_B] @ gallery.unit_GD.T
        scores_BG -= gallery.half_G
        maxima = np.maximum.reduceat(scores_BG, np.arange(0, num_gallery, width), axis=1)
        place = maxima.shape[1] - k
        bound_B = maxima.max(axis=1) if k == 1 else np.partition(maxima, place, axis=1)[:, place]
        is_near = scores_BG >= (bound_B - margin)[:, None]
        has_many_B = is_near.sum(axis=1) * _MANY > num_gallery
        if has_many_B.any():
            yield block_B[has_many_B], None
        if not has_many_B.all():
            rows, columns = np.nonzero(is_near[~has_many_B])
            yield block_B[~has_many_B], (rows, columns)


def _by_faiss(query: Floats, gallery: UnitGallery, k: int) -> Iterator[Proposal]:
    """Propose what faiss finds; queries with more candidates than it was asked for go by matmul."""
    if not gallery.half_G.all():  # faiss compares products, by which zero rows lie elsewhere
        yield from _by_matmul(query, gallery, k)
        return
    if importlib.util.find_spec("torch") is not None and "torch" not in sys.modules:
        import torch  # noqa: F401 - faiss must be loaded after torch
    import faiss

    unit_GD = gallery.unit_GD
    index = faiss.IndexFlatIP(unit_GD.shape[1])
    index.add(unit_GD)
    wanted = min(k + _FAISS_EXTRA, len(gallery))
    margin = 2 * _tolerance(unit_GD.shape[1])
    step = max(1, min(_FAISS_BLOCK, _FAISS_BLOCK_PAIRS // wanted))
    for start in range(0, len(query), step):
        values, columns = index.search(query[start : start + step], wanted)
        bound = values[:, k - 1] - margin
        is_open = (values[:, -1] >= bound) & (wanted < len(gallery))
        numbers = start + np.arange(len(values))
        closed = np.flatnonzero(~is_open)
        if len(closed):
            rows, slots = np.nonzero(values[closed] >= bound[closed, None])
            yield numbers[closed], (rows, columns[closed][rows, slots])
        yield from _in_blocks(numbers[is_open], query, gallery, k)


_PROPOSERS = {"matmul": _by_matmul, "faiss": _by_faiss}
