"""What more gallery pictures would bring: Precision@1 by pictures per class, and where that leads.

Random parts of the gallery show how Precision@1 rises as classes get more pictures; a power law
through them, -ln P@1 = b / n**c, continues it from what there is with all of them. For small errors
that is the form of learning curves (error = b / n**c, Hestness et al. 2017, arXiv:1712.00409), and
it does not flatten where nearly every query is missed. The interval says how far the same line,
drawn through halves of the gallery, misses what all of it gives. The model, the classes and the
queries stay as they are. Needs numpy alone.

Shapes: Q queries, G gallery pictures, L levels (parts of the gallery), H halves, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import class_mean
from trainer.retrieval import Doubles, Floats, Indices, normalize

LEAST_PICTURES = 3
"""Classes must have this many: a line through two points shows nothing of its errors, and where
small classes cannot be thinned the large ones alone would grow, at their cost."""
_FEW_CLASSES = 0.1
"""Share of the classes that may have fewer."""
AHEAD = (2, 4)
"""How many times the pictures there are."""
_PARTS = 8
_DRAWS, _FEW_DRAWS = 20, 4
_HALVES, _HALF_DRAWS, _FEW_HALF_DRAWS = 10, 5, 1
_STUDENT = 2.262
"""Of a 95 % interval, by the misses of ten halves (nine degrees of freedom)."""
_MANY_PAIRS = 20_000_000
"""From so many pairs of query and picture on, fewer parts are drawn."""
_MOST_PAIRS, _LEAST_QUERIES = 100_000_000, 1000
"""With more pairs than this a random part of the queries is asked, of no fewer than so many."""
_LEAST = 1e-4
"""Of Precision@1 and of errors: none has no logarithm."""
_BLOCK_QUERIES = 256
_SHOWN = 10
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Hits of queries in ever larger parts of a gallery."""

    pictures_L: Doubles  # noqa: N815 - shape suffix
    """Geometric mean of the numbers of pictures of the classes, which count alike."""
    hits_LQ: Floats  # noqa: N815 - shape suffix
    """Share of the draws in which a query found its class."""
    labels_Q: Indices  # noqa: N815 - shape suffix
    misses_H: Doubles  # noqa: N815 - shape suffix
    """What lines through halves of the gallery miss at all of it, per e-fold of pictures."""
    num_given: int = 0
    """Queries of which these are a random part; 0: these are all."""
    least: int = 0
    """Pictures of the smallest class in the whole gallery."""
    most: int = 0
    """Of the largest one."""

    def values(self) -> Doubles:
        """Precision@1, mean over classes, by level."""
        return np.array([class_mean(hits_Q, self.labels_Q) for hits_Q in self.hits_LQ])


def measure_growth(
    gallery_GD: NDArray[Any],
    labels_G: Indices,
    query_QD: NDArray[Any],
    labels_Q: Indices,
    *,
    seed: int = _SEED,
) -> Growth | None:
    """Match queries against random parts of a gallery, the same share of every class.

    Of very many pairs of query and picture a random part of the queries is asked, as many of each
    class as of the others where there are so many.

    Args:
        gallery_GD: embeddings of any length.
        labels_G: the class of each.
        query_QD: embeddings of any length.
        labels_Q: their classes; each has gallery pictures.
        seed: of the draws.

    Returns:
        None where more than a tenth of the classes have fewer pictures than `LEAST_PICTURES`.
    """
    counts_C = np.bincount(labels_G)
    present_C = counts_C[counts_C > 0]
    if np.mean(present_C < LEAST_PICTURES) > _FEW_CLASSES:
        return None
    rng = np.random.default_rng(seed)
    num_given = len(labels_Q)
    most = max(_MOST_PAIRS // len(labels_G), _LEAST_QUERIES)
    if num_given > most:
        kept = _spread_part(labels_Q, most, np.random.default_rng(seed))
        query_QD, labels_Q = query_QD[kept], labels_Q[kept]
    gallery, query = normalize(gallery_GD), normalize(query_QD)
    is_small = len(query) * len(gallery) < _MANY_PAIRS

    def hits(members: Indices, draws: int) -> tuple[Doubles, Floats]:
        return _hits_by_level(query, labels_Q, gallery[members], labels_G[members], draws, rng)

    every = np.arange(len(labels_G), dtype=np.int64)
    pictures_L, hits_LQ = hits(every, _DRAWS if is_small else _FEW_DRAWS)
    found = _scaled(class_mean(hits_LQ[-1], labels_Q))
    misses = []
    for _ in range(_HALVES):
        half = np.flatnonzero(_ranks(labels_G, rng) < np.ceil(counts_C / 2)[labels_G])
        half_L, half_LQ = hits(half, _HALF_DRAWS if is_small else _FEW_HALF_DRAWS)
        values = [class_mean(hits_Q, labels_Q) for hits_Q in half_LQ]
        rise = math.log(pictures_L[-1] / half_L[-1])
        misses.append((found - _ahead_of(half_L, np.array(values), rise)) / rise)
    return Growth(
        pictures_L=pictures_L,
        hits_LQ=hits_LQ,
        labels_Q=labels_Q,
        misses_H=np.array(misses),
        num_given=num_given,
        least=int(present_C.min()),
        most=int(present_C.max()),
    )


def _spread_part(labels_Q: Indices, count: int, rng: np.random.Generator) -> Indices:
    """Return some random queries; none of a class comes twice before one of each has come."""
    chance = rng.permutation(len(labels_Q))
    order = np.lexsort((chance, _ranks(labels_Q, rng)))
    return np.sort(order[:count])


def _hits_by_level(
    query: Floats,
    labels_Q: Indices,
    gallery: Floats,
    labels_G: Indices,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Doubles, Floats]:
    """Return pictures of a class by level, and the share of the draws each query is a hit in."""
    counts_C = np.bincount(labels_G)
    shares = np.arange(1, _PARTS + 1) / _PARTS
    wanted_LC = np.unique(np.ceil(shares[:, None] * counts_C - 1e-9).astype(np.int64), axis=0)
    hits_LQ = np.zeros((len(wanted_LC), len(query)), dtype=np.float32)
    for _ in range(draws):
        rank_G = _ranks(labels_G, rng)
        level_G = (rank_G[None] >= wanted_LC[:, labels_G]).sum(axis=0)
        hits_LQ += _hits(query, labels_Q, gallery, labels_G, level_G, len(wanted_LC))
    pictures_L = np.exp(np.log(wanted_LC[:, counts_C > 0]).mean(axis=1))
    return pictures_L, hits_LQ / np.float32(draws)


def _ranks(labels_G: Indices, rng: np.random.Generator) -> Indices:
    """Number the pictures of each class from 0, at random."""
    order = rng.permutation(len(labels_G))
    order = order[np.argsort(labels_G[order], kind="stable")]
    counts = np.bincount(labels_G)
    rank_G = np.empty(len(labels_G), dtype=np.int64)
    rank_G[order] = np.arange(len(labels_G)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank_G


def _hits(
    query: Floats,
    labels_Q: Indices,
    gallery: Floats,
    labels_G: Indices,
    level_G: Indices,
    num_levels: int,
) -> NDArray[np.bool_]:
    """Return whether each query is nearer to its class than to others, within each level."""
    own_LQ = np.full((num_levels, len(query)), -np.inf, dtype=np.float32)
    other_LQ = own_LQ.copy()
    for level in range(num_levels):
        members = np.flatnonzero(level_G == level)
        if not len(members):
            continue
        for start in range(0, len(query), _BLOCK_QUERIES):
            rows = slice(start, start + _BLOCK_QUERIES)
            near_QM = query[rows] @ gallery[members].T
            is_own_QM = labels_Q[rows, None] == labels_G[members]
            own_LQ[level, rows] = np.where(is_own_QM, near_QM, -np.inf).max(axis=1)
            other_LQ[level, rows] = np.where(is_own_QM, -np.inf, near_QM).max(axis=1)
    return np.maximum.accumulate(own_LQ) > np.maximum.accumulate(other_LQ)


def extrapolate(growth: Growth, times: float) -> tuple[float, float, float]:
    """Return Precision@1 with so many times the pictures, and bounds of its 95 % interval."""
    rise = math.log(times)
    ahead = _ahead_of(growth.pictures_L, growth.values(), rise)
    half = _STUDENT * rise * math.sqrt(np.mean(growth.misses_H**2))
    value, low, high = (_unscaled(ahead + more) for more in (0.0, half, -half))
    return value, low, high


def _ahead_of(pictures_L: Doubles, values_L: Doubles, rise: float) -> float:
    """Go on from the last level along a line through all; later levels count more."""
    scaled_L = [_scaled(value) for value in values_L]
    slope = np.polyfit(np.log(pictures_L), scaled_L, 1, w=np.sqrt(pictures_L))[0]
    return scaled_L[-1] + float(slope) * rise


def _scaled(value: float) -> float:
    """The logarithm of -ln P@1: its fall is even on a logarithmic scale of pictures."""
    return math.log(-math.log(min(max(value, _LEAST), 1.0 - _LEAST)))


def _unscaled(scaled: float) -> float:
    return math.exp(-math.exp(scaled))


def gains_by_class(growth: Growth) -> dict[int, tuple[float, float]]:
    """Return class -> Precision@1 with about half of the pictures, and with all."""
    half = int(np.abs(growth.pictures_L - growth.pictures_L[-1] / 2).argmin())
    found = {}
    for label in np.unique(growth.labels_Q):
        own = growth.labels_Q == label
        before, after = (float(growth.hits_LQ[level][own].mean()) for level in (half, -1))
        found[int(label)] = before, after
    return found


def describe_growth(growth: Growth | None, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return growth as plain data.

    Returns:
        `levels` (`pictures` of a class, as a geometric mean, `value`), `ahead` (the same with
        `interval`), `least` and `most` pictures of a class as there are, and `classes`, those that
        gained most from the last doubling first: `class`, `half` and `all` (Precision@1 with half
        of the pictures and with all); `num_queries` asked, of `num_given`. Or `why` there is
        nothing.
    """
    if growth is None:
        return {"why": f"nine of ten classes need {LEAST_PICTURES} gallery pictures or more"}
    ahead = []
    for times in AHEAD:
        value, low, high = extrapolate(growth, times)
        pictures = times * float(growth.pictures_L[-1])
        ahead.append({"pictures": pictures, "value": value, "interval": [low, high]})
    gains = gains_by_class(growth)
    ranked = sorted(gains.items(), key=lambda item: (item[1][0] - item[1][1], item[0]))
    return {
        "levels": [
            {"pictures": float(pictures), "value": float(value)}
            for pictures, value in zip(growth.pictures_L, growth.values(), strict=True)
        ],
        "ahead": ahead,
        "least": growth.least,
        "most": growth.most,
        "classes": [
            {"class": class_names[label], "half": half, "all": whole}
            for label, (half, whole) in ranked[:_SHOWN]
            if whole > half
        ],
        "num_queries": len(growth.labels_Q),
        "num_given": growth.num_given or len(growth.labels_Q),
    }
