"""When a picture is of none of a gallery's classes: a distance, calibrated on validation queries.

For each query its own class is left out of the gallery: what it is nearest to then is how near a
picture of an unknown class comes. The threshold for an asked rate of false acceptances is that
quantile of these distances. A model that was trained on the classes holds them apart, which it does
not do for others: then more unknown pictures are accepted than asked. Classes that were kept out of
training calibrate without that fault. Needs numpy alone. Shape: Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.names import name_key
from trainer.errors import DataError
from trainer.retrieval import Floats, Indices, normalize

DEFAULT_RATE = 0.05
LEAST_CLASSES = 8
LEVEL = 0.95
MOST_QUERIES = 2000
_REPLICATES = 400
_SEED = 0
_PREFIX = "calibration_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where pictures begin to count as unknown."""

    rate: float
    """Asked share of unknown pictures that are accepted."""
    distance: float
    """Pictures whose nearest entry lies farther are unknown."""
    rate_interval: tuple[float, float]
    """Shares accepted of classes that did not decide the threshold (95 %, bootstrap of classes)."""
    rejected: float
    """Share of pictures of known classes that come out as unknown."""
    is_of_trained: bool
    """Whether the model was trained on the classes that decided: expect more to be accepted."""


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Validation queries that are kept with a gallery, to calibrate it anew when it changes."""

    emb_QD: NDArray[Any]  # noqa: N815 - shape suffix
    """Of unit length, float16."""
    names: tuple[str, ...]
    """The class of each; it need not be in the gallery."""
    is_trained_Q: NDArray[np.bool_]  # noqa: N815 - shape suffix

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
        kept = np.arange(len(names))
        if len(kept) > MOST_QUERIES:
            rng = np.random.default_rng(_SEED)
            kept = np.sort(rng.choice(kept, MOST_QUERIES, replace=False))
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
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How near queries come to their own class and to others, by Euclidean distance (0 to 2).

    Attributes:
        labels_Q: a number per class.
        inside_Q: distance to the nearest entry; NaN where the gallery lacks the query's class.
        is_right_Q: whether that entry is of the query's class.
        outside_Q: distance to the nearest entry of another class.
        is_trained_Q: whether the model was trained on the query's class.
    """

    labels_Q: Indices  # noqa: N815 - shape suffix
    inside_Q: Floats  # noqa: N815 - shape suffix
    is_right_Q: NDArray[np.bool_]  # noqa: N815 - shape suffix
    outside_Q: Floats  # noqa: N815 - shape suffix
    is_trained_Q: NDArray[np.bool_]  # noqa: N815 - shape suffix

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a file holds of it."""
        return {_PREFIX + field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Calibration | None:
        """Read it from a file's arrays; None where it has none."""
        found = {field.name: arrays.get(_PREFIX + field.name) for field in fields(cls)}
        if any(values is None for values in found.values()):
            return None
        return cls(**found)  # type: ignore[arg-type]  # none of them is None

    def refusal(self, rate: float) -> str:
        """Why no threshold can be calibrated for a rate; empty where one can."""
        classes = len(np.unique(self.labels_Q))
        if classes < LEAST_CLASSES:
            return f"{LEAST_CLASSES} classes with validation queries are needed, got {classes}"
        least = math.ceil(2 / rate)
        if len(self.labels_Q) < least:
            return (
                f"{least} validation queries are needed for a rate of {rate:g}, got "
                f"{len(self.labels_Q)}"
            )
        return ""

    def threshold(self, rate: float) -> Threshold:
        """Return the threshold for an asked rate of false acceptances.

        Raises:
            DataError: the rate is not between 0 and 1, or there are too few classes or queries.
        """
        if not 0.0 < rate < 1.0:
            raise DataError(f"unknown_at: must be above 0 and below 1, got {rate:g}")
        if why := self.refusal(rate):
            raise DataError(f"no threshold for unknown pictures: {why}")
        distance = _quantile(self.outside_Q, np.ones(len(self.outside_Q)), rate)
        return Threshold(
            rate=rate,
            distance=distance,
            rate_interval=self._rate_interval(rate),
            rejected=float((self._known > distance).mean()) if len(self._known) else 0.0,
            is_of_trained=bool(self.is_trained_Q.any()),
        )

    @property
    def _known(self) -> Floats:
        """Distances of queries whose class the gallery has."""
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
            distance = _quantile(self.outside_Q, drawn_C[numbers_Q].astype(np.float64), rate)
            rates.append((self.outside_Q[left_Q] <= distance).mean())
        low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def auroc(self) -> float:
        """Return how often a known picture lies nearer than an unknown one (ties count half)."""
        known = np.sort(self._known)
        below = np.searchsorted(known, self.outside_Q, side="left")
        equal = np.searchsorted(known, self.outside_Q, side="right") - below
        return float((below + 0.5 * equal).mean() / max(1, len(known)))

    def curves(self, points: int = 101) -> dict[str, list[float]]:
        """Return rates along rising thresholds.

        Returns:
            Parallel lists: `distance`, `accepted` (unknown pictures taken for known), `rejected`
            (known pictures taken for unknown), `coverage` (known pictures that get a label) and
            `accuracy` (share of those labels that are right).
        """
        known, is_right = self._known, self.is_right_Q[~np.isnan(self.inside_Q)]
        both = np.concatenate((known, self.outside_Q)).astype(np.float64)
        rows: dict[str, list[float]] = {
            name: [] for name in ("distance", "accepted", "rejected", "coverage", "accuracy")
        }
        for distance in np.quantile(both, np.linspace(0, 1, points)):
            is_in = known <= distance
            rows["distance"].append(float(distance))
            rows["accepted"].append(float((self.outside_Q <= distance).mean()))
            rows["rejected"].append(float((~is_in).mean()))
            rows["coverage"].append(float(is_in.mean()))
            rows["accuracy"].append(float(is_right[is_in].mean()) if is_in.any() else 1.0)
        return rows


def _quantile(values_Q: NDArray[Any], weights_Q: NDArray[Any], rate: float) -> float:
    """Return a threshold that values of at most that share of the weight lie below.

    It lies in the middle of the gap above them.
    """
    order = np.argsort(values_Q, kind="stable")
    ordered = values_Q[order]
    shares = np.cumsum(weights_Q[order]) / weights_Q.sum()
    above = ordered[min(int(np.searchsorted(shares, rate, side="right")), len(ordered) - 1)]
    below = ordered[ordered < above]
    return (float(below[-1] if len(below) else 0.0) + float(above)) / 2
