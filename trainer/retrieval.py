"""Exact nearest-neighbour search over embeddings.

Shapes: Q queries, G gallery entries, D dimensions, K neighbours. Every row is brought to unit
length first and the distance is the Euclidean one between unit vectors (0 to 2), which is what the
losses train with.

Neighbours do not depend on who computes them. Unit vectors are rounded to 25 binary places, so that
their products and squared distances are whole multiples of 2**-50 that float64 holds exactly, in
any order of summation. A fast float32 pass (blocked matrix products, or faiss) only proposes a
superset of the nearest, which is then measured exactly; equal distances go to the lowest gallery
index. This module needs numpy alone; faiss is used when it is installed and the problem is large.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError, DivergedError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Candidates = tuple[Indices, Indices]
"""Row numbers (ascending) and gallery indices of the pairs that may be among the nearest."""
Proposal = tuple[Indices, Indices, Indices]
"""Query numbers of a block, then its candidates, whose rows count within the block."""

_SCALE = float(1 << 25)
_BLOCK_BYTES = 64 << 20
_FAISS_FROM_PAIRS = 20_000_000
_FAISS_EXTRA = 8
_FAISS_BLOCK = 8192
"""Queries at once: faiss keeps few of their products, and is far slower in small blocks."""
_FAISS_BLOCK_PAIRS = 1 << 20


def normalize(emb_ND: NDArray[Any]) -> Floats:
    """Return rows of unit length as float32; a zero row stays zero.

    Raises:
        DivergedError: when a value is NaN or infinite.
    """
    rows_ND = np.asarray(emb_ND, dtype=np.float64)
    if not np.isfinite(rows_ND).all():
        bad = int((~np.isfinite(rows_ND).all(axis=1)).sum())
        raise DivergedError(
            f"embeddings: every value must be finite, but {bad} of {len(rows_ND)} rows are not; "
            "lower the learning rates or set train.clip_grad_norm"
        )
    norms_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    return (rows_ND / np.where(norms_N1 == 0.0, 1.0, norms_N1)).astype(np.float32)


def search(
    query_QD: NDArray[Any], gallery_GD: NDArray[Any], k: int, *, backend: str = "auto"
) -> tuple[Indices, Floats]:
    """Find the k nearest gallery entries of every query.

    Args:
        query_QD: embeddings, of any length.
        gallery_GD: embeddings, of any length.
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
    num_gallery = len(gallery_GD)
    if not 1 <= k <= num_gallery:
        raise DataError(
            f"search: 1 <= k <= size of the gallery must hold, got k={k} with {num_gallery}; "
            "ask for fewer neighbours or add images to the reference"
        )
    query, gallery = normalize(query_QD), normalize(gallery_GD)
    exact_GD = _on_grid(gallery)
    half_G = 0.5 * (exact_GD * exact_GD).sum(axis=1)
    indices_QK = np.empty((len(query), k), dtype=np.int64)
    distances_QK = np.empty((len(query), k), dtype=np.float32)
    for numbers, rows, columns in _PROPOSERS[_chosen(backend, query, gallery, k)](
        query, gallery, k
    ):
        block = _on_grid(query[numbers])
        scores = _exact_scores(block, exact_GD, half_G, rows, columns)
        order = _first_k(rows, columns, scores, k=k)
        indices_QK[numbers] = columns[order]
        squared_q = (block * block).sum(axis=1)
        distances_QK[numbers] = np.sqrt(np.maximum(squared_q[:, None] - 2.0 * scores[order], 0))
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
    step = _block_rows(4 * len(exact_GD))
    for start in range(0, len(query), step):
        scores = _on_grid(query[start : start + step]) @ exact_GD.T - half_G
        relevant = query_labels_Q[start : start + step, None] == gallery_labels_G[None, :]
        own = np.where(relevant, scores, -np.inf)
        first = own.argmax(axis=1)
        best = own[np.arange(len(own)), first][:, None]
        ahead = (scores > best) | ((scores == best) & (positions[None, :] < first[:, None]))
        ranks = 1 + ahead.sum(axis=1)
        ranks_Q[start : start + step] = np.where(relevant.any(axis=1), ranks, 0)
    return ranks_Q


def _on_grid(unit_ND: Floats) -> Doubles:
    """Round unit vectors to multiples of 2**-25: sums of their products are exact in float64."""
    return np.rint(unit_ND.astype(np.float64) * _SCALE) / _SCALE


def _block_rows(num_gallery: int) -> int:
    return max(1, _BLOCK_BYTES // (4 * max(num_gallery, 1)))


def _tolerance(dim: int) -> float:
    """Bound on how far a float32 dot product of unit vectors can be from the score on the grid."""
    return (dim + 64) * 2.0**-24


def _exact_scores(
    query_BD: Doubles, gallery_GD: Doubles, half_G: Doubles, rows: Indices, columns: Indices
) -> Doubles:
    """Return q.g - g.g / 2 of each candidate pair: higher is nearer."""
    if len(rows) * 8 > len(query_BD) * len(gallery_GD):
        step = max(1, _BLOCK_BYTES // (8 * len(gallery_GD)))
        scores = np.empty(len(rows))
        edges = np.searchsorted(rows, np.arange(0, len(query_BD) + step, step))
        for number, (low, high) in enumerate(pairwise(edges)):
            dots = query_BD[number * step : (number + 1) * step] @ gallery_GD.T
            scores[low:high] = dots[rows[low:high] - number * step, columns[low:high]]
        return scores - half_G[columns]
    step = max(1, _BLOCK_BYTES // (16 * query_BD.shape[1]))
    parts = [
        np.einsum("cd,cd->c", query_BD[rows[i : i + step]], gallery_GD[columns[i : i + step]])
        for i in range(0, len(rows), step)
    ]
    return np.concatenate(parts) - half_G[columns]


def _first_k(rows: Indices, columns: Indices, scores: Doubles, *, k: int) -> Indices:
    """Return positions of the k best candidates of each row, shape (rows, k)."""
    order = np.lexsort((columns, -scores, rows))
    counts = np.bincount(rows)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    picked: Indices = order[starts[:, None] + np.arange(k)[None, :]]
    return picked


def _matmul_candidates(query_BD: Floats, gallery_GD: Floats, k: int) -> Candidates:
    """Propose every pair that can be among the k nearest, by blocked float32 products.

    The k-th largest of the maxima over groups of columns is a lower bound of the k-th largest
    score; what reaches it within twice the rounding error is proposed, so that nothing nearer can
    be missed.
    """
    scores = query_BD @ gallery_GD.T
    num_gallery = scores.shape[1]
    width = min(64, max(1, num_gallery // (4 * k)))
    maxima = np.maximum.reduceat(scores, np.arange(0, num_gallery, width), axis=1)
    bound = (
        maxima.max(axis=1) if k == 1 else np.partition(maxima, maxima.shape[1] - k, axis=1)[:, -k]
    )
    rows, columns = np.nonzero(scores >= (bound - 2 * _tolerance(query_BD.shape[1]))[:, None])
    return rows, columns


def _chosen(backend: str, query: Floats, gallery: Floats, k: int) -> str:
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


def _by_matmul(query: Floats, gallery: Floats, k: int) -> Iterator[Proposal]:
    yield from _in_blocks(np.arange(len(query)), query, gallery, k)


def _in_blocks(numbers: Indices, query: Floats, gallery: Floats, k: int) -> Iterator[Proposal]:
    """Propose for some of the queries, few at a time, however many candidates they have."""
    step = _block_rows(len(gallery))
    for start in range(0, len(numbers), step):
        block = numbers[start : start + step]
        yield block, *_matmul_candidates(query[block], gallery, k)


def _by_faiss(query: Floats, gallery: Floats, k: int) -> Iterator[Proposal]:
    """Propose what faiss finds; queries with more candidates than it was asked for go by matmul."""
    if importlib.util.find_spec("torch") is not None and "torch" not in sys.modules:
        import torch  # noqa: F401 - faiss must be loaded after torch
    import faiss

    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    wanted = min(k + _FAISS_EXTRA, len(gallery))
    margin = 2 * _tolerance(gallery.shape[1])
    step = max(1, min(_FAISS_BLOCK, _FAISS_BLOCK_PAIRS // wanted))
    for start in range(0, len(query), step):
        values, columns = index.search(query[start : start + step], wanted)
        bound = values[:, k - 1] - margin
        is_open = (values[:, -1] >= bound) & (wanted < len(gallery))
        numbers = start + np.arange(len(values))
        closed = np.flatnonzero(~is_open)
        if len(closed):
            rows, slots = np.nonzero(values[closed] >= bound[closed, None])
            yield numbers[closed], rows, columns[closed][rows, slots]
        yield from _in_blocks(numbers[is_open], query, gallery, k)


_PROPOSERS = {"matmul": _by_matmul, "faiss": _by_faiss}
