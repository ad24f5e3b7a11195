"""Lets the primary objective decide which trials a foreign algorithm stops early.

Those that come with the package know it by themselves (`Context.stops_by`), and go on to propose by
the score. One of another package has a single value to go by.
"""

from __future__ import annotations

from dataclasses import replace

from hpo.algorithms.around import AroundAlgorithm
from hpo.core.protocols import Algorithm
from hpo.core.trial import Decision, Measurement


class StoppedByPrimary(AroundAlgorithm):
    """An algorithm that hears the primary objective while a trial runs, and its score at its end.

    Args:
        inner: maximizes.
        metric: the primary objective, by its name among the metrics of an epoch.
        sign: 1.0 for what is to grow, -1.0 for what is to shrink.
    """

    def __init__(self, inner: Algorithm, metric: str, sign: float) -> None:
        super().__init__(inner)
        self._metric, self._sign = metric, sign

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Decide by the primary objective, as far as it is to grow."""
        value = measurement.metrics.get(self._metric)
        if value is None:  # a rehearsal knows scores alone
            return super().report(number, measurement)
        return super().report(number, replace(measurement, value=self._sign * value))
