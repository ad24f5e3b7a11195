"""Lets the primary objective decide which trials are stopped early."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpo.core.protocols import Algorithm
from hpo.core.trial import Decision, Measurement, Suggestion, TrialRecord


class StoppedByPrimary:
    """An algorithm that proposes by the score of several objectives and stops by the primary one.

    Args:
        inner: ranks trials by their score, which is maximized.
        metric: the primary objective, by its name among the metrics of an epoch.
        sign: 1.0 for what is to grow, -1.0 for what is to shrink.
    """

    def __init__(self, inner: Algorithm, metric: str, sign: float) -> None:
        self._inner, self._metric, self._sign = inner, metric, sign

    def __getattr__(self, name: str) -> Any:
        """Whatever else the algorithm can do."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    def ask(self, number: int) -> Suggestion | None:
        """As the algorithm proposes."""
        return self._inner.ask(number)

    def restore(self, trial: TrialRecord) -> None:
        """As the algorithm does."""
        self._inner.restore(trial)

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Decide by the primary objective, as far as it is to grow."""
        value = measurement.metrics.get(self._metric)
        if value is None:  # a rehearsal knows scores alone
            return self._inner.report(number, measurement)
        return self._inner.report(number, replace(measurement, value=self._sign * value))

    def tell(self, trial: TrialRecord) -> None:
        """As the algorithm does, with the score."""
        self._inner.tell(trial)
