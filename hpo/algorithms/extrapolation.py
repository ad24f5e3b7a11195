"""Extrapolates a learning curve by a power law fitted to its points."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from hpo.core.trial import CONTINUE, Decision, Direction, TrialState

_EXPONENTS = tuple(k / 10 for k in range(2, 31, 2))
"""Decay rates that are tried."""


def extrapolate(epochs: Sequence[int], values: Sequence[float], until: int) -> float:
    """Return the value at epoch `until` of the curve a - b * epoch**-c that fits best.

    For each exponent a and b follow by least squares. A curve never leads below its last point.

    Args:
        epochs: at least two different ones, rising.
        values: larger is better, not falling.
        until: the epoch to look at.
    """
    best_error, answer = float("inf"), values[-1]
    for exponent in _EXPONENTS:
        xs = [epoch**-exponent for epoch in epochs]
        slope, level = statistics.linear_regression(xs, values)
        error = sum((level + slope * x - y) ** 2 for x, y in zip(xs, values, strict=True))
        if slope <= 0 and error < best_error:
            best_error, answer = error, level + slope * until**-exponent
    return max(answer, values[-1])


class ExtrapolationPruner:
    """Stops a trial whose curve leads well below the best trial that was trained in full.

    Args:
        num_epochs: length of a full trial.
        direction: `maximize` or `minimize`.
        threshold: the distance that is too far, as a share of the range of all values seen, so
            that neither scale nor offset of the metric matter.
        min_epochs: validated epochs before a curve is judged.
    """

    def __init__(
        self, *, num_epochs: int, direction: str, threshold: float, min_epochs: int
    ) -> None:
        self._num_epochs, self._min_epochs = num_epochs, min_epochs
        self._sign = Direction(direction).sign
        self._threshold = threshold
        self._curves: dict[int, list[tuple[int, float]]] = {}
        self._best: float | None = None
        self._low, self._high = math.inf, -math.inf

    def start(self, number: int) -> None:
        """Begin a curve."""
        self._curves[number] = []

    def report(
        self,
        number: int,
        epoch: int,
        *,
        best: float,
        value: float,  # noqa: ARG002 - the curve is that of the best so far
    ) -> Decision:
        """Pruner the curve so far."""
        mine = self._sign * best
        self._curves[number].append((epoch, mine))
        self._low, self._high = min(self._low, mine), max(self._high, mine)
        curve = self._curves[number]
        if self._best is None or len(curve) < self._min_epochs:
            return CONTINUE
        leads_to = extrapolate([e for e, _ in curve], [v for _, v in curve], self._num_epochs)
        if leads_to >= self._best - self._threshold * (self._high - self._low):
            return CONTINUE
        words = (
            f"leads to {self._sign * leads_to:.4f}, far from {self._sign * self._best:.4f} "
            f"(best by epoch {epoch}: {best:.4f})"
        )
        return Decision(stop=True, reason=words)

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Remember the best of the trials that were trained in full."""
        del self._curves[number]
        if state is TrialState.COMPLETE and value is not None:
            mine = self._sign * value
            self._best = mine if self._best is None else max(self._best, mine)
