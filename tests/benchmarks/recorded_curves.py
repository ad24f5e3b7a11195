"""Replays recorded learning curves for benchmarks, interpolated by a Gaussian process.

One process over all recorded configurations predicts the whole curve: the kernel (Matern 5/2, a
length per parameter, fitted by its leave-one-out error) is shared by all epochs. The process gives
the mean curve; the trainer's own noise is put back as differences that were seen between runs of
one configuration with several seeds, or where there are none as what the process takes for noise.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.core.seeds import derive_seed
from hpo.executors.simulator import SimulatedEpoch

if TYPE_CHECKING:
    from search_spaces import SearchSpace

Floats = NDArray[np.float64]

LENGTHS = (0.15, 0.25, 0.4, 0.65, 1.0, 1.6, 2.6, 4.2, 10.0)
"""Kernel lengths that are tried, as parts of a parameter's range; the last leaves it out."""
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Variances of the noise that are tried, as parts of the curves' own."""
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SurrogateError:
    """How wrong the process is about the best epoch of a configuration that it was not shown."""

    rmse: float
    """Root mean square, in the metric's own units; the recorded run's own noise is part of it."""
    explained: float
    """Share of the variance between configurations."""
    rank_correlation: float
    """Spearman's."""


class RecordedCurves:
    """A table of curves (N configurations, E epochs, D parameters, M runs with noise).

    Example: `table = read_curves(path)`; `table.fit(space)`; `table.predict(params)` -> the mean
        curve; `table.replay(params, seed)` -> what a trial of that seed reports, noise and all.

    Args:
        data: what a recording holds: `spec`, `limits`, `num_epochs` and `runs` of `{"index",
            "seed", "source", "params", "value", "cpu_s", "failure"}`, and `search` where another
            list of parameters than the schema's was searched.

    Attributes:
        spec: the trainer's spec, without data.
        limits: what the trainer said of the data, see `Trainer.limits`.
        search: `over` and `ranges` of the study, empty for the schema's.
        num_epochs: length of a curve.
        runs: all of them; those that failed have shorter curves and take no part in the fit.
        seconds_per_epoch: the median of what an epoch took.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.spec: dict[str, Any] = data["spec"]
        self.limits: dict[str, Any] = data["limits"]
        self.search: dict[str, Any] = data.get("search", {})
        self.num_epochs: int = data["num_epochs"]
        self.runs: list[dict[str, Any]] = data["runs"]
        costs = [second for run in self.runs for second in run["cpu_s"][1:]]
        self.seconds_per_epoch = float(np.median(costs)) if costs else 1.0
        groups = _by_config(self.runs, self.num_epochs)
        self._params = [params for params, _ in groups]
        self._curves_NE: Floats = np.array([curves.mean(axis=0) for _, curves in groups])
        self._mean_E: Floats = self._curves_NE.mean(axis=0)
        self._noise_ME = _noise([curves for _, curves in groups])

    def fit(self, space: SearchSpace) -> None:
        """Fit the process over the parameters of a space."""
        shapes = [(p.name, p.dimensions[0]) for p in space.parameters]
        self._names = tuple(name for name, _ in shapes)
        self._scales = tuple((d.low, d.high, d.log) for _, d in shapes)  # type: ignore[union-attr]
        self._points_ND: Floats = np.array([self._point(params) for params in self._params])
        self._lengths_D, noise = self._choose_lengths()
        self._weights_NE, self._left_out_NE = self._solve(self._lengths_D, noise)
        if not len(self._noise_ME):
            self._noise_ME = noise * self._weights_NE  # the curves less the fitted ones

    def predict(self, params: Mapping[str, Any]) -> Floats:
        """The mean curve of a configuration, one value per epoch."""
        kernel_N = _matern(self._point(params)[None], self._points_ND, self._lengths_D)[0]
        curve_E: Floats = np.clip(self._mean_E + kernel_N @ self._weights_NE, 0.0, 1.0)
        return curve_E

    def best_recorded(self) -> float:
        """The best that the process says of any recorded configuration: noise is left aside."""
        return max(float(self.predict(params).max()) for params in self._params)

    def replay(
        self, params: Mapping[str, Any], seed: int, *, with_noise: bool = True
    ) -> Iterator[SimulatedEpoch]:
        """What a trial reports: the mean curve, and the noise of one recorded run for this seed."""
        drawn = derive_seed(seed, *(repr(params[name]) for name in self._names))
        noise_E = self._noise_ME[drawn % len(self._noise_ME)]
        curve_E = np.clip(self.predict(params) + noise_E * with_noise, 0.0, 1.0)
        for value in curve_E:
            yield SimulatedEpoch(value=float(value), seconds=self.seconds_per_epoch)

    def leave_one_out(self) -> SurrogateError:
        """Compare each configuration with what the process says without it."""
        said = np.maximum.accumulate(self._left_out_NE, axis=1)[:, -1]
        true = self._curves_NE.max(axis=1)
        ranks = np.array([np.argsort(np.argsort(values)) for values in (said, true)])
        return SurrogateError(
            rmse=float(np.sqrt(np.mean((said - true) ** 2))),
            explained=float(1 - np.mean((said - true) ** 2) / np.var(true)),
            rank_correlation=float(np.corrcoef(ranks)[0, 1]),
        )

    @property
    def lengths(self) -> dict[str, float]:
        """Kernel length by parameter, as a part of its range: short for those that matter."""
        return dict(zip(self._names, self._lengths_D.tolist(), strict=True))

    def _point(self, params: Mapping[str, Any]) -> Floats:
        """Parameters on the scale they are searched on, their range being 0..1."""
        unit = []
        for name, (low, high, log) in zip(self._names, self._scales, strict=True):
            value = float(params[name])
            unit.append(
                math.log(max(value, 1e-12) / low) / math.log(high / low)
                if log
                else (value - low) / (high - low)
            )
        return np.array(unit)

    def _choose_lengths(self) -> tuple[Floats, float]:
        """Choose lengths and noise one after the other, each by the leave-one-out error."""
        lengths_D, noise = np.full(len(self._names), 1.6), NOISES[2]
        best = self._error(lengths_D, noise)
        for _ in range(ROUNDS):
            for d in range(len(lengths_D)):
                for length in LENGTHS:
                    tried_D = lengths_D.copy()
                    tried_D[d] = length
                    if (error := self._error(tried_D, noise)) < best:
                        best, lengths_D = error, tried_D
            for level in NOISES:
                if (error := self._error(lengths_D, level)) < best:
                    best, noise = error, level
        return lengths_D, noise

    def _error(self, lengths_D: Floats, noise: float) -> float:
        return float(np.mean((self._solve(lengths_D, noise)[1] - self._curves_NE) ** 2))

    def _solve(self, lengths_D: Floats, noise: float) -> tuple[Floats, Floats]:
        """Weights of the mean curve, and what the process says of each run without it."""
        kernel_NN = _matern(self._points_ND, self._points_ND, lengths_D)
        inverse_NN = np.linalg.inv(kernel_NN + noise * np.eye(len(kernel_NN)))
        weights_NE = inverse_NN @ (self._curves_NE - self._mean_E)
        left_out_NE = self._curves_NE - weights_NE / np.diag(inverse_NN)[:, None]
        return weights_NE, left_out_NE


def read_curves(path: Path) -> RecordedCurves:
    """Read a packed recording."""
    return RecordedCurves(json.loads(gzip.decompress(path.read_bytes())))


def _by_config(
    runs: Sequence[Mapping[str, Any]], num_epochs: int
) -> list[tuple[Mapping[str, Any], Floats]]:
    """Configurations and their whole curves, one row per seed; failed runs have none."""
    found: dict[int, tuple[Mapping[str, Any], list[Any]]] = {}
    for run in runs:
        if len(run["value"]) == num_epochs:
            found.setdefault(run["index"], (run["params"], []))[1].append(run["value"])
    return [(params, np.array(curves)) for params, curves in found.values()]


def _noise(groups: Sequence[Floats]) -> Floats:
    """Differences of runs from the mean of their configuration, at their true size."""
    parts = [
        (curves - curves.mean(axis=0)) * math.sqrt(len(curves) / (len(curves) - 1))
        for curves in groups
        if len(curves) > 1
    ]
    return np.concatenate(parts) if parts else np.empty((0, 0))


def _matern(one_AD: Floats, other_BD: Floats, lengths_D: Floats) -> Floats:
    """Matern 5/2 kernel of shape (A, B), 1 where points are equal."""
    one, other = one_AD / lengths_D, other_BD / lengths_D
    square = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    root = np.sqrt(5.0 * np.maximum(square, 0.0))
    kernel: Floats = (1 + root + root**2 / 3) * np.exp(-root)
    return kernel
