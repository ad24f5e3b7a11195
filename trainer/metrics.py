"""Retrieval and clustering metrics: pure functions on arrays.

Shapes: Q queries, K neighbours in rising distance, C classes. Labels are class indices;
`neighbours_QK` holds the labels of each query's neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import lgamma
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

CLASS_MEAN = "class_mean"
QUERY_MEAN = "query_mean"


def hits_in_top_k(neighbours_QK: NDArray[Any], labels_Q: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """Return for each query whether one of its k nearest neighbours is of its class, shape (Q,)."""
    hits: NDArray[np.bool_] = (neighbours_QK[:, :k] == labels_Q[:, None]).any(axis=1)
    return hits


def query_mean(values_Q: NDArray[Any]) -> float:
    """Mean over queries: every query counts the same."""
    return float(np.mean(values_Q, dtype=np.float64))


def class_mean(values_Q: NDArray[Any], labels_Q: NDArray[Any]) -> float:
    """Mean over the classes among the queries of each class's mean: every class counts the same."""
    return float(np.mean(list(per_class(values_Q, labels_Q).values()), dtype=np.float64))


def per_class(values_Q: NDArray[Any], labels_Q: NDArray[Any]) -> dict[int, float]:
    """Return the mean value of each class that has queries, by class index."""
    classes, inverse, counts = np.unique(labels_Q, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse, weights=values_Q.astype(np.float64))
    return {int(c): float(s / n) for c, s, n in zip(classes, sums, counts, strict=True)}


def precision_at_1(hits_Q: NDArray[np.bool_], labels_Q: NDArray[Any]) -> Mapping[str, float]:
    """Return Precision@1 as the mean over classes and as the mean over queries."""
    return {CLASS_MEAN: class_mean(hits_Q, labels_Q), QUERY_MEAN: query_mean(hits_Q)}


def r_precision(
    neighbours_QK: NDArray[Any], labels_Q: NDArray[Any], relevant_Q: NDArray[Any]
) -> Doubles:
    """Return the share of right labels among the R nearest, R being the class's gallery size.

    Args:
        neighbours_QK: labels of neighbours; K at least the largest R.
        labels_Q: the queries' own labels.
        relevant_Q: R of each query.

    Returns:
        One value per query; 0 where R is 0.
    """
    right_QK, within_QK = _right_within(neighbours_QK, labels_Q, relevant_Q)
    right_Q = (right_QK & within_QK).sum(axis=1)
    shares: Doubles = right_Q / np.maximum(relevant_Q, 1)
    return shares


def map_at_r(
    neighbours_QK: NDArray[Any], labels_Q: NDArray[Any], relevant_Q: NDArray[Any]
) -> Doubles:
    """Return MAP@R of "A Metric Learning Reality Check" (Musgrave, Belongie, Lim 2020).

    Arguments and result as for `r_precision`.
    """
    right_QK, within_QK = _right_within(neighbours_QK, labels_Q, relevant_Q)
    counted = right_QK & within_QK
    precision = np.cumsum(counted, axis=1) / np.arange(1, counted.shape[1] + 1)
    means: Doubles = (precision * counted).sum(axis=1) / np.maximum(relevant_Q, 1)
    return means


def reciprocal_ranks(ranks_Q: NDArray[Any]) -> Doubles:
    """Return 1 / rank of each first relevant neighbour; rank 0 stands for none and gives 0."""
    ranks = ranks_Q.astype(np.float64)
    return np.divide(1.0, ranks, out=np.zeros_like(ranks), where=ranks > 0)


def nmi(labels_N: NDArray[Any], clusters_N: NDArray[Any]) -> float:
    """Normalised mutual information of classes and clusters (arithmetic mean), 0 to 1."""
    table = _contingency(labels_N, clusters_N)
    norm = 0.5 * (_entropy(table.sum(axis=1)) + _entropy(table.sum(axis=0)))
    return _mutual_information(table) / norm if norm > 0 else 1.0


def ami(labels_N: NDArray[Any], clusters_N: NDArray[Any]) -> float:
    """Mutual information adjusted for chance (Vinh, Epps, Bailey 2010): 0 if random, 1 at best."""
    table = _contingency(labels_N, clusters_N)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    mean_entropy = 0.5 * (_entropy(rows) + _entropy(columns))
    expected = _expected_mutual_information(rows, columns)
    room = mean_entropy - expected
    if abs(room) < 1e-12:
        return 1.0
    return (_mutual_information(table) - expected) / room


def _right_within(
    neighbours_QK: NDArray[Any], labels_Q: NDArray[Any], relevant_Q: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    depth = neighbours_QK.shape[1]
    most = int(relevant_Q.max(initial=0))
    if depth < most:
        raise ValueError(f"neighbours_QK: K >= {most} (the largest R) must hold, got {depth}")
    within_QK = np.arange(depth)[None, :] < relevant_Q[:, None]
    return neighbours_QK == labels_Q[:, None], within_QK


def _contingency(labels_N: NDArray[Any], clusters_N: NDArray[Any]) -> NDArray[np.int64]:
    _, rows = np.unique(labels_N, return_inverse=True)
    _, columns = np.unique(clusters_N, return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def _entropy(counts: NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _mutual_information(table: NDArray[np.int64]) -> float:
    total = table.sum()
    rows, columns = np.nonzero(table)
    joint = table[rows, columns]
    outer = table.sum(axis=1)[rows].astype(np.float64) * table.sum(axis=0)[columns]
    return float((joint / total * np.log(total * joint / outer)).sum())


def _expected_mutual_information(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> float:
    """Return the expectation under random tables with these margins (hypergeometric cells)."""
    total = int(rows.sum())
    log_factorial = np.array([lgamma(n + 1) for n in range(total + 1)])
    expected = 0.0
    for a, num_a in zip(*np.unique(rows, return_counts=True), strict=True):
        for b, num_b in zip(*np.unique(columns, return_counts=True), strict=True):
            cell = np.arange(max(1, a + b - total), min(a, b) + 1)
            log_chance = (
                log_factorial[a] + log_factorial[b] + log_factorial[total - a]
                + log_factorial[total - b] - log_factorial[total] - log_factorial[cell]
                - log_factorial[a - cell] - log_factorial[b - cell]
                - log_factorial[total - a - b + cell]
            )  # fmt: skip
            terms = cell / total * np.log(total * cell / (float(a) * b)) * np.exp(log_chance)
            expected += float(terms.sum()) * int(num_a) * int(num_b)
    return expected
