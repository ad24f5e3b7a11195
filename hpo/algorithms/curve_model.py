"""Gaussian process over configuration and epochs that proposes the point to try next.

Every trial is a point, however long it ran: its last epoch is one more feature, so that trials that
were stopped early, or still run, say what they can about full ones (multi-fidelity Bayesian
optimization; Kandasamy et al. 2017). What is asked is the end of a full trial, by the logarithm of
the expected improvement (Ament et al. 2023). Points are looked for around the best trials alone: in
many dimensions the far corners, of which nothing is known, would win everywhere else (Eriksson et
al. 2019). Legend: N known points, M points asked about, R running trials, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from hpo.algorithms.chooser import Chosen, Observation
from hpo.algorithms.confidence_bound import (
    ProcessChooser,
    as_drawn,
    climb,
    features_of,
    first_new,
    keep_away,
    near,
    normalised,
    points_of,
    within,
)
from hpo.algorithms.gaussian_process import Array, GaussianProcess, fit, with_expected
from hpo.algorithms.narrowing import box_of
from search_spaces import SearchSpace

LEAST_GAIN = 0.01
"""Improvements below this part of the values' spread count as none."""
MOST_POINTS = 200
"""The newest trials that the process is fitted to."""
_NUM_START = 1024
WIDTHS = (0.2, 0.1, 0.05, 0.02, 0.01)
"""Of the steps around the best trials, in the unit cube."""


class CurveModel(ProcessChooser):
    """Chooses latents once there are `least` trials, of whatever state.

    Args:
        space: what is searched.
        direction: `maximize` or `minimize`.
        seed: the study's seed.
        least: trials before the model speaks.
        num_epochs: length of a full trial.
    """

    def __init__(
        self, space: SearchSpace, *, direction: str, seed: int, least: int, num_epochs: int
    ) -> None:
        super().__init__(space, direction=direction, seed=seed, least=least)
        self._num_epochs = num_epochs

    def choose(self, number: int, seen: Sequence[Observation]) -> Chosen:
        """Choose trial `number`, or leave it to the sampler while too little is known."""
        known = [o for o in seen if _is_known(o)][-MOST_POINTS:]
        if len(seen) < self._least or sum(not o.is_infeasible for o in known) < 2:
            return Chosen()
        points_ND, running_RD = points_of(self._space, known), self._running(seen)
        process = self._fit(known, points_ND, running_RD)
        expected_N, _ = process.predict(self._trained_in_full(points_ND))
        box = box_of(self._space, self._limits)
        inside_N = within(box, expected_N, points_ND)
        best = inside_N.max() if np.isfinite(inside_N.max()) else expected_N.max()
        goal = float(best) + LEAST_GAIN

        def worth(at_MD: Array) -> Array:
            drawn_MD = as_drawn(self._space, at_MD)
            mean_M, deviation_M = process.predict(self._trained_in_full(drawn_MD))
            improvement_M = log_improvement(mean_M, deviation_M, goal)
            return within(box, keep_away(improvement_M, drawn_MD, running_RD), at_MD)

        best_KD = np.clip(points_ND[np.argsort(-inside_N, kind="stable")[:5]], *box)
        rng = self._rng(number, "curves")
        start_MD = near(best_KD, _NUM_START, WIDTHS[0], rng)
        points = climb(worth, start_MD, WIDTHS[1:], rng)
        return Chosen(latents=first_new(self._space, points, seen))

    def _fit(
        self, known: Sequence[Observation], points_ND: Array, running_RD: Array
    ) -> GaussianProcess:
        """Fit to what is known; running trials count as if they ended as expected."""
        values_N = normalised(known, sign=self._sign)
        lengths_N = np.array([self._length(o) for o in known])
        at_NF = np.column_stack([features_of(self._space, points_ND), lengths_N])
        running_RF = self._trained_in_full(running_RD)
        return with_expected(fit(at_NF, values_N), at_NF, values_N, running_RF)

    def _length(self, trial: Observation) -> float:
        """1 for a full trial; equal steps for equal ratios, as curves flatten.

        One that failed by its parameters will do so in full ones too.
        """
        epochs = self._num_epochs if trial.is_infeasible else trial.epochs
        return math.log(epochs + 1) / math.log(self._num_epochs + 1)

    def _trained_in_full(self, at_MD: Array) -> Array:
        return np.column_stack([features_of(self._space, at_MD), np.ones(len(at_MD))])


def _is_known(trial: Observation) -> bool:
    return trial.is_infeasible or (trial.value is not None and trial.epochs > 0)


def log_improvement(mean_M: Array, deviation_M: Array, goal: float) -> Array:
    """Logarithm of the expected improvement over `goal` of normally distributed values."""
    z_M = (mean_M - goal) / deviation_M
    density_M = np.exp(-0.5 * z_M**2) / math.sqrt(2.0 * math.pi)
    above_M = ndtr(z_M)
    # Far below the goal both terms cancel; the expansion of Mills' ratio leaves density / z^2.
    gain_M = np.where(z_M < -6.0, density_M / z_M**2, density_M + z_M * above_M)
    return np.asarray(np.log(np.maximum(deviation_M * gain_M, 1e-300)))
