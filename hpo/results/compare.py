"""Compares trained configurations by a paired bootstrap over queries and seeds.

Every finalist was trained with the same new seeds and asked the same queries, so differences are
taken query by query: what is hard for all of them cancels out. A replicate draws queries with
replacement (within their class where the monitored metric is a mean over classes; Efron and
Tibshirani, 1993) and weighs the seeds anew, the same for all finalists. Seeds are too few to be
drawn with replacement: that shows (S - 1)/S of their variance, normal weights all of it. A variance
of few seeds is itself uncertain, so intervals are as much wider as a quantile of Student's t is
than the normal one, with Satterthwaite's degrees of freedom (1946): many where queries matter most,
S - 1 where seeds do. Of a single seed nothing is known: its interval tells of queries alone.
Classes whose queries were all hits in every run, or none, show nothing of how they vary: together
they are drawn with half a miss or hit more than was seen, the mean of Jeffreys' prior (Brown, Cai
and DasGupta, 2001), for each finalist by itself.
Legend: S seeds, Q queries, B replicates, F finalists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, variance

import numpy as np
from numpy.typing import NDArray

from hpo.core.ties import LEVEL, may_be_chance

_REPLICATES = 4000
_BLOCK = 250
_LEAST_SHARE = 1e-3
"""Of the variance; a smaller share of the seeds widens nothing."""
_CHEAPER = 0.75
"""A configuration is the cheaper one when an epoch takes at most this share of another's time."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """The new runs of one configuration."""

    number: int
    """The trial that found it."""
    values: tuple[float, ...]
    """The monitored metric of each run, larger is better."""
    cost: float
    """Seconds of an epoch."""
    hits: tuple[tuple[bool, ...], ...] = ()
    """Per run, one per query; empty when they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a finalist came out. Intervals are of 95 %; None where hits are not known."""

    number: int
    value: float
    """Mean over the new seeds."""
    values: tuple[float, ...]
    cost: float
    interval: tuple[float, float] | None
    behind: float
    """What the one with the best mean is ahead by."""
    behind_interval: tuple[float, float] | None
    is_tied: bool
    """Whether the difference to the best mean may be chance."""
    is_level: bool
    """The same of the winner, who may be a cheaper one than that of the best mean."""


def compare(
    finalists: Sequence[Finalist],
    classes: Sequence[int] | None,
    *,
    seed: int = 0,
    than: int | None = None,
) -> list[Standing]:
    """Order finalists from the best mean to the worst, and say who is tied with the best.

    Args:
        finalists: each with as many runs, of the same seeds in the same order.
        classes: class of each query where the metric is a mean over classes, else None.
        seed: of the bootstrap.
        than: number of the one whom the others are compared with; None is the best mean.
    """
    order = sorted(finalists, key=lambda f: (-fmean(f.values), f.number))
    first = next((place for place, f in enumerate(order) if f.number == than), 0)
    if not all(f.hits for f in order):
        return [_standing(f, order[first], None, None) for f in order]
    draws_FB, means_FS = _replicate(order, classes, seed)
    own = zip(order, draws_FB, means_FS, strict=True)
    return [
        _standing(
            f,
            order[first],
            _interval(draws_B, means_S, least=0.0),
            _interval(draws_FB[first] - draws_B, means_FS[first] - means_S, least=-1.0),
        )
        for f, draws_B, means_S in own
    ]


def decide(
    finalists: Sequence[Finalist], classes: Sequence[int] | None, default: int | None
) -> tuple[int, list[Standing]]:
    """Compare finalists, and return the number of the one to take, and how all came out.

    Args:
        finalists: as `compare` takes them.
        classes: as `compare` takes them.
        default: number of the default configuration, if it is among them.
    """
    standings = compare(finalists, classes)
    winner = choose(standings, default)
    if winner == standings[0].number:
        return winner, standings
    level = {s.number: s.is_tied for s in compare(finalists, classes, than=winner)}
    return winner, [replace(s, is_level=level[s.number]) for s in standings]


def choose(standings: Sequence[Standing], default: int | None) -> int:
    """The winner's number: the cheapest of those tied with the best, never below the default.

    Args:
        standings: as `compare` returns them.
        default: number of the default configuration, if it is among them.
    """
    floor = next((s.value for s in standings if s.number == default), -np.inf)
    able = [s for s in standings if s.is_tied and s.value >= floor]
    lowest = min(s.cost for s in able)
    best = able[0]
    if lowest <= _CHEAPER * best.cost:
        best = next(s for s in able if s.cost <= lowest / _CHEAPER)
    return best.number


def gain_of(number: int, standings: Sequence[Standing]) -> tuple[float, tuple[float, float] | None]:
    """What one of two finalists is better by than the other, and the interval of that."""
    leader, other = standings
    interval = other.behind_interval
    if leader.number == number:
        return other.behind, interval
    return -other.behind, interval and (-interval[1], -interval[0])


def class_means(hits: Sequence[bool], classes: Sequence[int]) -> dict[int, float]:
    """Share of hits among the queries of each class, by class in order."""
    grouped: dict[int, list[bool]] = {}
    for hit, label in zip(hits, classes, strict=True):
        grouped.setdefault(label, []).append(hit)
    return {label: fmean(own) for label, own in sorted(grouped.items())}


def _replicate(
    finalists: Sequence[Finalist], classes: Sequence[int] | None, seed: int
) -> tuple[Floats, Floats]:
    """Metric of every finalist in every replicate, and in every run: (F, B) and (F, S)."""
    hits_FSQ = np.array([f.hits for f in finalists], dtype=np.float64)
    _, num_seeds, num_queries = hits_FSQ.shape
    groups = _groups(classes, num_queries)
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, _REPLICATES, _BLOCK):
        size = min(_BLOCK, _REPLICATES - start)
        weights_BQ = np.empty((size, num_queries))
        for members, share in groups:
            shares = np.full(len(members), 1 / len(members))
            counts = rng.multinomial(len(members), shares, size=size)
            weights_BQ[:, members] = counts / len(members) * share
        seeds_BS = np.full((size, num_seeds), 1 / num_seeds)
        if num_seeds > 1:
            moved_BS = rng.standard_normal((size, num_seeds))
            moved_BS -= moved_BS.mean(axis=1, keepdims=True)
            seeds_BS += moved_BS / math.sqrt(num_seeds * (num_seeds - 1))
        parts.append(np.einsum("bs,fsq,bq->fb", seeds_BS, hits_FSQ, weights_BQ, optimize=True))
    weights_Q = np.empty(num_queries)
    for members, share in groups:
        weights_Q[members] = share / len(members)
    unseen_FB = np.stack([_unseen(hits_Q, groups, rng) for hits_Q in hits_FSQ.mean(axis=1)])
    return np.concatenate(parts, axis=1) + unseen_FB, hits_FSQ @ weights_Q


def _unseen(
    hits_Q: Floats, groups: Sequence[tuple[NDArray[np.int64], float]], rng: np.random.Generator
) -> Floats:
    """What misses, or hits, would change of which the queries of some groups hold none, by draw."""
    changes_B = np.zeros(_REPLICATES)
    for value, sign in ((1.0, -1), (0.0, 1)):
        alike = [(len(m), share) for m, share in groups if (hits_Q[m] == value).all()]
        if alike:
            weight = sum(share for _, share in alike)
            # Together they are as uncertain as so many queries of equal weight are.
            size = max(1, round(weight**2 / sum(share**2 / count for count, share in alike)))
            found_B = rng.binomial(size, 0.5 / (size + 1), size=_REPLICATES)
            changes_B += sign * weight * found_B / size
    return changes_B


def _groups(
    classes: Sequence[int] | None, num_queries: int
) -> list[tuple[NDArray[np.int64], float]]:
    """Queries that are drawn among themselves, and their share of the mean: of a class, or all.

    Those of classes with one query are drawn together: one shows nothing of how it varies.
    """
    if classes is None:
        return [(np.arange(num_queries), 1.0)]
    labels = np.asarray(classes)
    own = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    alone = [members for members in own if len(members) == 1]
    groups = [(members, 1 / len(own)) for members in own if len(members) > 1]
    if alone:
        groups.append((np.concatenate(alone), len(alone) / len(own)))
    return groups


def _standing(
    finalist: Finalist,
    leader: Finalist,
    interval: tuple[float, float] | None,
    behind_interval: tuple[float, float] | None,
) -> Standing:
    behind = fmean(leader.values) - fmean(finalist.values)
    is_tied = behind == 0 if behind_interval is None else may_be_chance(behind_interval)
    return Standing(
        number=finalist.number,
        value=fmean(finalist.values),
        values=finalist.values,
        cost=finalist.cost,
        interval=interval,
        behind=behind,
        behind_interval=behind_interval,
        is_tied=is_tied,
        is_level=is_tied,
    )


def _interval(draws_B: Floats, means_S: Floats, *, least: float) -> tuple[float, float]:
    """Quantiles of replicates, about the mean of the runs, wider where few seeds make them.

    Args:
        draws_B: shares of hits, or differences of such.
        means_S: the same of the runs.
        least: that they can be; the most is 1.
    """
    ends = np.quantile(draws_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    wide = means_S.mean() + (ends - means_S.mean()) * _stretch(draws_B, means_S)
    low, high = np.clip(wide, least, 1.0)
    return float(low), float(high)


def _stretch(draws_B: Floats, means_S: Floats) -> float:
    """What a quantile of Student's t is to that of the normal distribution."""
    from scipy.special import stdtrit

    num_seeds, total = len(means_S), float(draws_B.var())
    if num_seeds < 2 or total == 0:
        return 1.0
    share = min(1.0, variance(means_S.tolist()) / num_seeds / total)
    if share < _LEAST_SHARE:
        return 1.0
    quantile = (1 + LEVEL) / 2
    freedom = (num_seeds - 1) / share**2
    return float(stdtrit(freedom, quantile)) / NormalDist().inv_cdf(quantile)
