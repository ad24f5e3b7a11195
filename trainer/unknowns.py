"""Detects pictures of none of a gallery's classes: a score, and a limit calibrated on queries.

The score is the distance to the nearest class less three quarters of the mean distance to the next
three: a picture of an unknown class is about as far from several. For each query its own class is
left out of the gallery: its score then is one of a picture of an unknown class. The limit for an
asked rate of false acceptances is that quantile of these scores. A model that was trained on the
classes holds them apart, which it does not do for others: `trainer.cross_fit` measures by how much,
and the difference is kept with the queries. Needs numpy alone. Shapes: Q queries, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.names import name_key
from trainer.errors import DataError
from trainer.retrieval import Floats, Indices, UnitGallery, normalize, search

DEFAULT_RATE = 0.05
LEAST_CLASSES = 8
SCORED = 4
"""Classes whose distances make a score: the nearest and the next three."""
OTHERS_SHARE = 0.75
"""Of the scores tried (distance, its ratio to the next classes', differences) the one that told
known from unknown best on validation pictures, with and without training (AUROC)."""
LEAST_GALLERY = 5
"""Classes of a gallery: without a query's own there are still enough for a score."""
LEVEL = 0.95
MOST_QUERIES = 2000
_REPLICATES = 400
_SEED = 0
_PREFIX = "scores_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where pictures begin to count as unknown."""

    rate: float
    """Asked share of unknown pictures that are accepted."""
    limit: float
    """Pictures with a higher score are unknown."""
    rate_interval: tuple[float, float]
    """Shares accepted of classes that did not decide the threshold (95 %, bootstrap of classes)."""
    rejected: float
    """Share of pictures of known classes that come out as unknown."""
    is_of_trained: bool
    """Whether the model was trained on the classes that decided, and nothing tells how it is with
    others: expect more to be accepted."""


def unknown_scores(distances_QK: NDArray[Any]) -> Floats:
    """Return how much each query looks like a picture of an unknown class; higher is more.

    Args:
        distances_QK: to the nearest entry of the nearest classes, rising, two or more; NaN where
            there are fewer.
    """
    others_Q = np.nanmean(distances_QK[:, 1:SCORED], axis=1)
    scores_Q: Floats = (distances_QK[:, 0] - OTHERS_SHARE * others_Q).astype(np.float32)
    return scores_Q


def nearest_of_each(
    query_QD: Floats, unit_GD: Floats, labels_G: Indices, entries_QC: Indices, depth: int
) -> tuple[Indices, Floats]:
    """Return the nearest entry of each of the nearest classes among given entries, and distances.

    Args:
        query_QD: embeddings, of any length.
        unit_GD: entries at unit length.
        labels_G: their classes.
        entries_QC: entries that are compared with each query, each once, of `depth` classes or
            more.
        depth: classes.
    """
    near_QK = np.empty((len(query_QD), depth), dtype=np.int64)
    distances_QK = np.empty((len(query_QD), depth), dtype=np.float32)
    for row, entries_C in enumerate(np.sort(entries_QC, axis=1)):  # ties go to the lowest entry
        part = UnitGallery.from_unit(unit_GD[entries_C])
        (places_C,), (gaps_C,) = search(query_QD[row : row + 1], part, len(part))
        ranked_C = entries_C[places_C]
        firsts_K = np.sort(np.unique(labels_G[ranked_C], return_index=True)[1])[:depth]
        near_QK[row], distances_QK[row] = ranked_C[firsts_K], gaps_C[firsts_K]
    return near_QK, distances_QK


def kept_rows(count: int) -> Indices:
    """Return which of so many queries are kept: all, of many a random part."""
    if count <= MOST_QUERIES:
        return np.arange(count, dtype=np.int64)
    rng = np.random.default_rng(_SEED)
    return np.sort(rng.choice(count, MOST_QUERIES, replace=False))


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Validation queries that are kept with a gallery, to calibrate it anew when it changes."""

    emb_QD: NDArray[Any]  # noqa: N815 - shape suffix
    """Of unit length, float16."""
    names: tuple[str, ...]
    """The class of each; it need not be in the gallery."""
    is_trained_Q: NDArray[np.bool_]  # noqa: N815 - shape suffix
    shift_Q: Floats | None = None  # noqa: N815 - shape suffix
    """What is added to a query's score without its class to make it that of a class the model was
    not trained on; NaN where that is not known. None: of no query."""

    @classmethod
    def of(cls, emb_QD: NDArray[Any], names: Sequence[str], trained: Collection[str]) -> Queries:
        """Keep queries, of many a random part.

        Args:
            emb_QD: embeddings of any length.
            names: the class of each.
            trained: classes that the model was trained on.

        Raises:
            DivergedError: an embedding is not finite.
        """
        kept = kept_rows(len(names))
        known = set(map(name_key, trained))
        own = tuple(names[int(place)] for place in kept)
        return cls(
            emb_QD=normalize(emb_QD[kept]).astype(np.float16),
            names=own,
            is_trained_Q=np.array([name_key(name) in known for name in own], dtype=np.bool_),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a file holds of them."""
        return {
            "query_embeddings": self.emb_QD,
            "query_names": np.asarray(self.names, dtype=np.str_),
            "query_is_trained": self.is_trained_Q,
            **({} if self.shift_Q is None else {"query_shift": self.shift_Q}),
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Queries | None:
        """Read them from a file's arrays; None where it has none."""
        if "query_embeddings" not in arrays:
            return None
        return cls(
            emb_QD=arrays["query_embeddings"],
            names=tuple(arrays["query_names"].tolist()),
            is_trained_Q=arrays["query_is_trained"],
            shift_Q=arrays.get("query_shift"),
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Scores of queries, with their own class in the gallery and without it.

    Attributes:
        labels_Q: a number per class.
        inside_Q: score as a picture of a known class; NaN where the gallery lacks it.
        is_right_Q: whether the nearest entry is of the query's class.
        outside_Q: score as a picture of an unknown class.
        is_trained_Q: whether the model was trained on the class, and `outside_Q` ignores that.
        near_QK: the nearest entry of each of the nearest classes, nearest first; None in files of
            earlier releases.
    """

    labels_Q: Indices  # noqa: N815 - shape suffix
    inside_Q: Floats  # noqa: N815 - shape suffix
    is_right_Q: NDArray[np.bool_]  # noqa: N815 - shape suffix
    outside_Q: Floats  # noqa: N815 - shape suffix
    is_trained_Q: NDArray[np.bool_]  # noqa: N815 - shape suffix
    near_QK: Indices | None = None  # noqa: N815 - shape suffix

    @classmethod
    def of(
        cls,
        queries: Queries,
        class_names: Sequence[str],
        near_QK: Indices,
        labels_QK: Indices,
        distances_QK: Floats,
    ) -> Calibration:
        """Score queries by the nearest classes of a gallery.

        Args:
            queries: kept with the gallery.
            class_names: of the gallery.
            near_QK: nearest entry of each of the nearest classes, one more than a score takes.
            labels_QK: their classes.
            distances_QK: and how far they are.
        """
        keys = np.array([name_key(name) for name in class_names])
        own_Q = np.array([name_key(name) for name in queries.names])
        is_own_QK = keys[labels_QK] == own_Q[:, None]
        order_QK = np.argsort(is_own_QK, axis=1, kind="stable")  # the own class goes last
        others_QK = np.take_along_axis(distances_QK, order_QK, axis=1)[:, :SCORED]
        shift_Q = np.full(len(own_Q), np.nan) if queries.shift_Q is None else queries.shift_Q
        inside_Q = unknown_scores(distances_QK)
        return cls(
            labels_Q=np.unique(own_Q, return_inverse=True)[1].astype(np.int64),
            inside_Q=np.where(np.isin(own_Q, keys), inside_Q, np.float32(np.nan)),
            is_right_Q=is_own_QK[:, 0],
            outside_Q=unknown_scores(others_QK) + np.nan_to_num(shift_Q).astype(np.float32),
            is_trained_Q=queries.is_trained_Q & np.isnan(shift_Q),
            near_QK=near_QK,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a file holds of it."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {_PREFIX + name: values for name, values in held.items() if values is not None}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Calibration | None:
        """Read it from a file's arrays; None where it has none."""
        found = {field.name: arrays.get(_PREFIX + field.name) for field in fields(cls)}
        if any(values is None for name, values in found.items() if name != "near_QK"):
            return None
        near_QK = found["near_QK"]
        if near_QK is not None and _has_a_class_twice(arrays["labels"][near_QK]):
            found["near_QK"] = None  # of a file that was changed by hand
        return cls(**found)  # type: ignore[arg-type]  # none of the others is None

    def refusal(self, rate: float) -> str:
        """Why no threshold can be calibrated for a rate; empty where one can."""
        classes = len(np.unique(self.labels_Q))
        if classes < LEAST_CLASSES:
            return (
                f"{LEAST_CLASSES} classes with validation queries are needed, got {classes}; of a "
                "class-disjoint split these are a fifth of all classes, of another one all"
            )
        least = math.ceil(2 / rate)
        if len(self.labels_Q) < least:
            return (
                f"{least} validation queries are needed for a rate of {rate:g}, got "
                f"{len(self.labels_Q)}; ask for a higher rate, or validate on more pictures"
            )
        return ""

    def limit(self, rate: float) -> float:
        """Return the score above which pictures are unknown, for a rate of false acceptances.

        Raises:
            DataError: the rate is not between 0 and 1, or there are too few classes or queries.
        """
        if not 0.0 < rate < 1.0:
            raise DataError(f"unknown_at: must be above 0 and below 1, got {rate:g}")
        if why := self.refusal(rate):
            raise DataError(f"no threshold for unknown pictures: {why}")
        return _quantile(self.outside_Q, np.ones(len(self.outside_Q)), rate)

    def threshold(self, rate: float) -> Threshold:
        """Return the threshold for an asked rate of false acceptances, with what it costs.

        Raises:
            DataError: as `limit`.
        """
        limit = self.limit(rate)
        return Threshold(
            rate=rate,
            limit=limit,
            rate_interval=self._rate_interval(rate),
            rejected=float((self._known > limit).mean()) if len(self._known) else 0.0,
            is_of_trained=bool(self.is_trained_Q.any()),
        )

    @property
    def _known(self) -> Floats:
        """Scores of queries whose class the gallery has."""
        return self.inside_Q[~np.isnan(self.inside_Q)]

    def _rate_interval(self, rate: float) -> tuple[float, float]:
        """Bootstrap classes; ask of those that were not drawn how many are accepted."""
        classes, numbers_Q = np.unique(self.labels_Q, return_inverse=True)
        rng = np.random.default_rng(_SEED)
        rates = []
        for _ in range(_REPLICATES):
            drawn_C = np.bincount(
                rng.integers(0, len(classes), len(classes)), minlength=len(classes)
            )
            left_Q = drawn_C[numbers_Q] == 0
            if not left_Q.any():
                continue
            limit = _quantile(self.outside_Q, drawn_C[numbers_Q].astype(np.float64), rate)
            rates.append((self.outside_Q[left_Q] <= limit).mean())
        low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def auroc(self) -> float:
        """Return how often a known picture scores lower than an unknown one (ties count half)."""
        known = np.sort(self._known)
        below = np.searchsorted(known, self.outside_Q, side="left")
        equal = np.searchsorted(known, self.outside_Q, side="right") - below
        return float((below + 0.5 * equal).mean() / max(1, len(known)))

    def described(self) -> dict[str, Any]:
        """Return `threshold` at the default rate, `auroc` and `curves`, or `why` there is none."""
        if why := self.refusal(DEFAULT_RATE):
            return {"why": why}
        threshold = asdict(self.threshold(DEFAULT_RATE))
        return {"threshold": threshold, "auroc": self.auroc(), "curves": self.curves()}

    def curves(self, points: int = 101) -> dict[str, list[float]]:
        """Return rates along rising limits.

        Returns:
            Parallel lists: `limit`, `accepted` (unknown pictures taken for known), `rejected`
            (known pictures taken for unknown), `coverage` (known pictures that get a label) and
            `accuracy` (share of those labels that are right).
        """
        known, is_right = self._known, self.is_right_Q[~np.isnan(self.inside_Q)]
        both = np.concatenate((known, self.outside_Q)).astype(np.float64)
        limits = np.quantile(both, np.linspace(0, 1, points))
        labelled = [known <= limit for limit in limits]
        return {
            "limit": limits.tolist(),
            "accepted": [float((self.outside_Q <= limit).mean()) for limit in limits],
            "rejected": [float((~is_in).mean()) for is_in in labelled],
            "coverage": [float(is_in.mean()) for is_in in labelled],
            "accuracy": [float(is_right[i].mean()) if i.any() else 1.0 for i in labelled],
        }


def _has_a_class_twice(labels_QK: Indices) -> bool:
    return not np.diff(np.sort(labels_QK, axis=1), axis=1).all()


def _quantile(values_Q: NDArray[Any], weights_Q: NDArray[Any], rate: float) -> float:
    """Return a threshold that values of at most that share of the weight lie below.

    It lies in the middle of the gap above them.
    """
    order = np.argsort(values_Q, kind="stable")
    ordered = values_Q[order]
    shares = np.cumsum(weights_Q[order]) / weights_Q.sum()
    above = ordered[min(int(np.searchsorted(shares, rate, side="right")), len(ordered) - 1)]
    below = ordered[ordered < above]
    return (float(below[-1] if len(below) else ordered[0] - 1.0) + float(above)) / 2
