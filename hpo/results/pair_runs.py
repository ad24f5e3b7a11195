"""Compares the winners of two searches on the queries that both were looked up with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hpo.core.errors import RunError
from hpo.core.protocols import Trainer
from hpo.core.trainer_extras import PictureFinder
from hpo.results.compare import Finalist, class_means, compare, gain_of
from hpo.study.plan import as_user_errors

_NOTHING_SHARED = (
    "the two searches have no query in common (the same file under the same class), so their "
    "winners cannot be compared; search both on the same pictures"
)
Sources = Mapping[str, str]
Query = Mapping[str, Any]
"""A query of `Explainer.explain`: `file` (or `path`), `class` and `hit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPair:
    """How the two do on one class."""

    name: str
    num_queries: int
    first: float
    second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Precision@1 of two winners on the queries that both have, each class counting the same.

    Intervals are of 95 %.
    """

    num_queries: int
    num_unpaired: tuple[int, int]
    """Queries that only the first has, and only the second."""
    values: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    gain: float
    """What the second is better by."""
    gain_interval: tuple[float, float]
    classes: tuple[ClassPair, ...]
    """Those that differ most first."""


def shared_splits(trainer: Trainer, first: Sources, second: Sources) -> list[str]:
    """Return on which queries two searches may be compared, before a picture is embedded.

    What cannot be listed here, such as a table of pictures, is left to `pair_queries`.

    Args:
        trainer: lists the pictures of a source.
        first: the sources of one search.
        second: those of the other.

    Returns:
        `test_query`, `query` or both: the better one first.

    Raises:
        RunError: no query is of both.
    """
    names = ["test_query", "query"] if "test_query" in first.keys() & second.keys() else ["query"]
    found = [n for n in names if _may_meet(trainer, first.get(n, ""), second.get(n, ""))]
    if not found:
        raise RunError(_NOTHING_SHARED)
    return found


def _may_meet(trainer: Trainer, *places: str) -> bool:
    """Whether two sources have a file in common, as far as their files can be listed."""
    if not isinstance(trainer, PictureFinder) or not all(places) or places[0] == places[1]:
        return True
    with as_user_errors():
        listed = [trainer.find_pictures([place])["pictures"] for place in places]
    files = [{Path(file).resolve() for file in own} for own in listed]
    others = [own - {Path(place).resolve()} for own, place in zip(files, places, strict=True)]
    return not all(others) or not files[0].isdisjoint(files[1])


def pair_queries(first: Sequence[Query], second: Sequence[Query]) -> Pairing:
    """Compare two lookups query by query.

    Args:
        first: the queries of one winner.
        second: the queries of the other.

    Raises:
        RunError: they have no query in common.
    """
    hits_of = [{_key(row): bool(row["hit"]) for row in rows} for rows in (first, second)]
    shared = sorted(set(hits_of[0]) & set(hits_of[1]))
    if not shared:
        raise RunError(_NOTHING_SHARED)
    hits = [tuple(own[key] for key in shared) for own in hits_of]
    counts = Counter(name for _, name in shared)
    labels = {name: label for label, name in enumerate(sorted(counts))}
    classes = [labels[name] for _, name in shared]
    by_class = [class_means(own, classes) for own in hits]
    values = [fmean(own.values()) for own in by_class]
    finalists = [
        Finalist(number=number, values=(value,), cost=0.0, hits=(own,))
        for number, (value, own) in enumerate(zip(values, hits, strict=True))
    ]
    standings = compare(finalists, classes)
    intervals = {s.number: _interval(s.interval) for s in standings}
    gain, gain_interval = gain_of(1, standings)
    rows = [
        ClassPair(
            name=name,
            num_queries=counts[name],
            first=by_class[0][label],
            second=by_class[1][label],
        )
        for name, label in labels.items()
    ]
    return Pairing(
        num_queries=len(shared),
        num_unpaired=(len(hits_of[0]) - len(shared), len(hits_of[1]) - len(shared)),
        values=(values[0], values[1]),
        intervals=(intervals[0], intervals[1]),
        gain=gain,
        gain_interval=_interval(gain_interval),
        classes=tuple(sorted(rows, key=lambda row: (-abs(row.second - row.first), row.name))),
    )


def _key(row: Query) -> tuple[str, str]:
    return str(row.get("file") or row["path"]), str(row["class"])


def _interval(bounds: tuple[float, float] | None) -> tuple[float, float]:
    if bounds is None:
        raise ValueError("hits are known, so there is an interval")
    return bounds
