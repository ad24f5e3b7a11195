"""Retrieval and clustering metrics: pure functions on arrays.

Shapes: Q queries, K neighbours in rising distance, C classes. Labels are class indices;
`neighbours_QK` holds the labels of each query's neighbours.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.retrieval import normalize

Doubles = NDArray[np.float64]

_SEED = 0
"""Of the first centres of k-means, and of bootstraps."""
LEVEL = 0.95
"""Of intervals."""
_REPLICATES = 2000
MOST_CLUSTERED = 1_000_000
"""Queries x classes that are compared with clusters."""
LEAST_CLUSTERED = 3

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


def class_mean_interval(hits_Q: NDArray[np.bool_], labels_Q: NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % interval of the mean over classes: hits are drawn anew within each class."""
    return mean_intervals(hits_Q, labels_Q, _REPLICATES)[CLASS_MEAN]


def mean_intervals(
    hits_Q: NDArray[np.bool_], labels_Q: NDArray[Any], replicates: int
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of both means; each class keeps its number of queries.

    Classes of one query are drawn together: one by itself shows nothing of how it varies. So are
    those whose queries are all hits, and those of none, with half a miss or hit more than was seen
    (the mean of Jeffreys' prior: Brown, Cai, DasGupta 2001): as they are they would never vary.
    """
    counts_C = np.unique(labels_Q, return_counts=True)[1]
    shares_C = np.array(list(per_class(hits_Q, labels_Q).values()))
    alike = [counts_C == 1, shares_C == 1, shares_C == 0]
    groups_C = np.select(alike, [-1, -2, -3], np.arange(len(counts_C)))
    groups_C = np.unique(groups_C, return_inverse=True)[1]
    classes_G, queries_G = np.bincount(groups_C), np.bincount(groups_C, weights=counts_C)
    shares_G = np.bincount(groups_C, weights=counts_C * shares_C) / queries_G
    # In a mean over classes they are as uncertain as so many queries are (see `share_of`).
    worth_G = classes_G**2 / np.bincount(groups_C, weights=1 / counts_C)
    rng = np.random.default_rng(_SEED)
    return {
        QUERY_MEAN: _drawn_interval(rng, queries_G, shares_G, queries_G, replicates),
        CLASS_MEAN: _drawn_interval(rng, worth_G, shares_G, classes_G, replicates),
    }


def _drawn_interval(
    rng: np.random.Generator,
    sizes_G: NDArray[Any],
    shares_G: Doubles,
    weights_G: NDArray[Any],
    draws: int,
) -> tuple[float, float]:
    """Draw hits of groups of queries anew, and return the 95 % interval of their weighted mean."""
    whole_G = np.maximum(np.rint(sizes_G), 1).astype(np.int64)
    is_alike_G = (shares_G == 0) | (shares_G == 1)
    chances_G = np.where(is_alike_G, (whole_G * shares_G + 0.5) / (whole_G + 1), shares_G)
    # Hits among n queries drawn with replacement are binomial: no query need be drawn. So are those
    # of k groups that are like each other, among k n.
    kinds_3K, counts_K = np.unique([whole_G, chances_G, weights_G], axis=1, return_counts=True)
    sizes_K = counts_K * kinds_3K[0].astype(np.int64)
    drawn_BK = rng.binomial(sizes_K, kinds_3K[1], size=(draws, len(sizes_K))) / sizes_K
    means_B = np.average(drawn_BK, axis=1, weights=counts_K * kinds_3K[2])
    low, high = np.quantile(means_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def per_class(values_Q: NDArray[Any], labels_Q: NDArray[Any]) -> dict[int, float]:
    """Return the mean value of each class that has queries, by class index."""
    classes, inverse, counts = np.unique(labels_Q, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse, weights=values_Q.astype(np.float64))
    return {int(c): float(s / n) for c, s, n in zip(classes, sums, counts, strict=True)}


def precision_at_1(hits_Q: NDArray[np.bool_], labels_Q: NDArray[Any]) -> Mapping[str, float]:
    """Return Precision@1 as the mean over classes and as the mean over queries."""
    return {CLASS_MEAN: class_mean(hits_Q, labels_Q), QUERY_MEAN: query_mean(hits_Q)}


def share_of(labels_Q: NDArray[Any], *, over_classes: bool) -> float:
    """Return of how many random queries a share would be as uncertain as Precision@1 is.

    All of them for the mean over queries. In the mean over C classes a query of one with n counts
    1 / (C n), so that its variance is that of a share of C^2 / sum(1 / n).
    """
    counts_C = np.unique(labels_Q, return_counts=True)[1]
    return float(len(counts_C) ** 2 / (1 / counts_C).sum() if over_classes else counts_C.sum())


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


def first_hit_ranks(neighbours_QK: NDArray[Any], labels_Q: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place (from 1) of each query's first neighbour of its class, 0 without one."""
    is_own_QK = neighbours_QK == labels_Q[:, None]
    ranks_Q: NDArray[np.int64] = np.where(is_own_QK.any(axis=1), is_own_QK.argmax(axis=1) + 1, 0)
    return ranks_Q


def reciprocal_ranks(ranks_Q: NDArray[Any]) -> Doubles:
    """Return 1 / rank of each first relevant neighbour; rank 0 stands for none and gives 0."""
    ranks = ranks_Q.astype(np.float64)
    return np.divide(1.0, ranks, out=np.zeros_like(ranks), where=ranks > 0)


def clustered_rows(labels_N: NDArray[Any]) -> NDArray[np.int64]:
    """Return which queries `clustering_metrics` is asked of: all while that takes seconds.

    Its time grows with queries x classes. Beyond `MOST_CLUSTERED` of these a random part of the
    classes is taken, with all of their queries; two classes at least.
    """
    classes, counts_C = np.unique(labels_N, return_counts=True)
    order_C = np.random.default_rng(_SEED).permutation(len(classes))
    pairs_C = np.cumsum(counts_C[order_C]) * np.arange(1, len(classes) + 1)
    count = max(2, int((pairs_C <= MOST_CLUSTERED).sum()))
    return np.flatnonzero(np.isin(labels_N, classes[order_C[:count]]))


def clustering_metrics(emb_ND: NDArray[Any], labels_N: NDArray[Any]) -> tuple[float, float] | None:
    """Compare classes with k-means clusters of the unit embeddings, as many as there are classes.

    Returns:
        Their normalised mutual information (arithmetic mean), 0 to 1, and their mutual information
        adjusted for chance (Vinh, Epps, Bailey 2010): 0 if random, 1 at best. None where both would
        be 1, or nearly so, whatever the embeddings are: of a single class, or of fewer queries of a
        class than `LEAST_CLUSTERED` on average, of which each is soon a cluster of its own.
    """
    num_classes = len(np.unique(labels_N))
    if num_classes < 2 or len(labels_N) < LEAST_CLUSTERED * num_classes:
        return None
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    k_means = KMeans(num_classes, n_init=1, random_state=_SEED)
    with warnings.catch_warnings():  # collapsed embeddings have fewer places than classes
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters_N = k_means.fit_predict(normalize(emb_ND))
    return (
        float(normalized_mutual_info_score(labels_N, clusters_N)),
        float(adjusted_mutual_info_score(labels_N, clusters_N)),
    )


def _right_within(
    neighbours_QK: NDArray[Any], labels_Q: NDArray[Any], relevant_Q: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    depth = neighbours_QK.shape[1]
    most = int(relevant_Q.max(initial=0))
    if depth < most:
        raise ValueError(f"neighbours_QK: K >= {most} (the largest R) must hold, got {depth}")
    within_QK = np.arange(depth)[None, :] < relevant_Q[:, None]
    return neighbours_QK == labels_Q[:, None], within_QK
