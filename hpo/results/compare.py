"""Compares trained configurations by a paired bootstrap over queries and seeds.

Every finalist was trained with the same new seeds and asked the same queries, so differences are
taken query by query: what is hard for all of them cancels out. A replicate draws queries with
replacement (within their class where the monitored metric is a mean over classes) and seeds, the
same ones for all finalists (Efron and Tibshirani, 1993).
Legend: S seeds, Q queries, B replicates, F finalists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from hpo.core.ties import LEVEL, may_be_chance

_REPLICATES = 4000
_BLOCK = 250
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


def compare(
    finalists: Sequence[Finalist], classes: Sequence[int] | None, *, seed: int = 0
) -> list[Standing]:
    """Order finalists from the best mean to the worst, and say who is tied with the best.

    Args:
        finalists: each with as many runs, of the same seeds in the same order.
        classes: class of each query where the metric is a mean over classes, else None.
        seed: of the bootstrap.
    """
    order = sorted(finalists, key=lambda f: (-fmean(f.values), f.number))
    leader = order[0]
    if not all(f.hits for f in order):
        return [_standing(f, leader, None, None) for f in order]
    draws_FB = _replicate(order, classes, seed)
    pairs = zip(order, draws_FB, strict=True)
    return [_standing(f, leader, own_B, draws_FB[0] - own_B) for f, own_B in pairs]


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


def _replicate(finalists: Sequence[Finalist], classes: Sequence[int] | None, seed: int) -> Floats:
    """Metric of every finalist in every replicate: (F, B)."""
    hits_FSQ = np.array([f.hits for f in finalists], dtype=np.float64)
    _, num_seeds, num_queries = hits_FSQ.shape
    groups = _groups(classes, num_queries)
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, _REPLICATES, _BLOCK):
        size = min(_BLOCK, _REPLICATES - start)
        weights_BQ = np.empty((size, num_queries))
        for members in groups:
            shares = np.full(len(members), 1 / len(members))
            counts = rng.multinomial(len(members), shares, size=size)
            weights_BQ[:, members] = counts / (len(members) * len(groups))
        shares = np.full(num_seeds, 1 / num_seeds)
        seeds_BS = rng.multinomial(num_seeds, shares, size=size) / num_seeds
        parts.append(np.einsum("bs,fsq,bq->fb", seeds_BS, hits_FSQ, weights_BQ, optimize=True))
    return np.concatenate(parts, axis=1)


def _groups(classes: Sequence[int] | None, num_queries: int) -> list[NDArray[np.int64]]:
    """Queries that are drawn among themselves: those of a class, or all."""
    if classes is None:
        return [np.arange(num_queries)]
    labels = np.asarray(classes)
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _standing(
    finalist: Finalist, leader: Finalist, own_B: Floats | None, behind_B: Floats | None
) -> Standing:
    behind = fmean(leader.values) - fmean(finalist.values)
    behind_interval = _interval(behind_B)
    return Standing(
        number=finalist.number,
        value=fmean(finalist.values),
        values=finalist.values,
        cost=finalist.cost,
        interval=_interval(own_B),
        behind=behind,
        behind_interval=behind_interval,
        is_tied=behind == 0 if behind_interval is None else may_be_chance(behind_interval),
    )


def _interval(draws_B: Floats | None) -> tuple[float, float] | None:
    if draws_B is None:
        return None
    low, high = np.quantile(draws_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
