"""K-means in numpy for the clustering metrics, deterministic for a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.retrieval import Floats, normalize

_MAX_ROUNDS = 50
_BLOCK = 8192


def cluster(emb_ND: NDArray[Any], num_clusters: int, seed: int) -> NDArray[np.int64]:
    """Group unit vectors into clusters by Lloyd's rounds from k-means++ centres.

    Args:
        emb_ND: embeddings of any length.
        num_clusters: 1 to N.
        seed: of the first centres.

    Returns:
        Cluster of each row, shape (N,).
    """
    unit_ND = normalize(emb_ND)
    if not 1 <= num_clusters <= len(unit_ND):
        raise ValueError(f"1 <= num_clusters <= {len(unit_ND)} must hold, got {num_clusters}")
    rng = np.random.default_rng(seed)
    centres_CD = _first_centres(unit_ND, num_clusters, rng)
    clusters_N = np.full(len(unit_ND), -1, dtype=np.int64)
    for _ in range(_MAX_ROUNDS):
        moved_N = _assign(unit_ND, centres_CD)
        if np.array_equal(moved_N, clusters_N):
            break
        clusters_N = moved_N
        sums_CD = np.zeros_like(centres_CD)
        np.add.at(sums_CD, clusters_N, unit_ND)
        counts_C = np.bincount(clusters_N, minlength=num_clusters)
        filled = counts_C > 0
        centres_CD[filled] = sums_CD[filled] / counts_C[filled, None]
    return clusters_N


def _first_centres(unit_ND: Floats, num_clusters: int, rng: np.random.Generator) -> Floats:
    """Draw centres one by one, each in proportion to its squared distance to those before."""
    chosen = [int(rng.integers(len(unit_ND)))]
    nearest_N = np.full(len(unit_ND), np.inf)
    for _ in range(num_clusters - 1):
        difference_ND = unit_ND - unit_ND[chosen[-1]]
        nearest_N = np.minimum(nearest_N, np.einsum("nd,nd->n", difference_ND, difference_ND))
        total = nearest_N.sum()
        share_N = nearest_N / total if total > 0 else np.full(len(unit_ND), 1 / len(unit_ND))
        chosen.append(int(rng.choice(len(unit_ND), p=share_N)))
    return unit_ND[chosen].copy()


def _assign(unit_ND: Floats, centres_CD: Floats) -> NDArray[np.int64]:
    half_C = 0.5 * np.einsum("cd,cd->c", centres_CD, centres_CD)
    parts = [
        (unit_ND[start : start + _BLOCK] @ centres_CD.T - half_C).argmax(axis=1)
        for start in range(0, len(unit_ND), _BLOCK)
    ]
    return np.concatenate(parts)
