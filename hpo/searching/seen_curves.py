"""Learning curves that earlier starts have seen, and curves like them for trials to come."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpo.core.trial import TrialRecord

SMOOTHING = 0.5
"""How far a trial to come may lie from one that was seen, as share of the spread of those."""


@dataclass(frozen=True, slots=True)
class SeenCurves:
    """What earlier starts have seen of trials, and trials like them.

    A trial to come is as likely to be like one of them as like any other (a smoothed bootstrap), so
    the pruner will stop as many as it has stopped.
    """

    values: Mapping[int, Mapping[int, float]]
    """Trial -> epoch -> value."""
    _spreads: dict[int, tuple[float, float]] = field(default_factory=dict, init=False)
    """Epoch -> mean and spread, once they were asked for."""
    _gains: dict[tuple[int, int], float] = field(default_factory=dict, init=False)
    """An epoch and a later one -> mean gain, once that was asked for."""

    @classmethod
    def of(cls, trials: Sequence[TrialRecord]) -> SeenCurves:
        """Those of the last stage, repeats left out: they are of chosen trials alone."""
        able = [t for t in trials if t.measurements and not t.stage.left and not t.is_repeat]
        return cls({t.number: {m.epoch: m.value for m in t.measurements} for t in able})

    @property
    def is_enough(self) -> bool:
        """Whether they tell how far trials lie apart."""
        return len(self.values) > 1

    def draw(self, number: int, num_epochs: int, rng: random.Random) -> list[float]:
        """Values of a trial by epoch: one of these to its end, or a new one like one of these."""
        epochs = range(1, num_epochs + 1)
        own = self.values.get(number)
        if own is not None:
            return [self._value(own, epoch) for epoch in epochs]
        source = self.values[rng.choice(sorted(self.values))]
        shift = rng.gauss(0.0, SMOOTHING)
        drawn = []
        for epoch in epochs:
            mean, spread = self._spread(epoch)
            moved = self._value(source, epoch) - mean + shift * spread
            drawn.append(mean + moved / math.hypot(1.0, SMOOTHING))  # spread as far as those seen
        return drawn

    def _spread(self, epoch: int) -> tuple[float, float]:
        if epoch not in self._spreads:
            seen = [self._value(curve, epoch) for curve in self.values.values()]
            self._spreads[epoch] = statistics.fmean(seen), statistics.stdev(seen)
        return self._spreads[epoch]

    def _value(self, source: Mapping[int, float], epoch: int) -> float:
        """The value at an epoch; where it is not there, the nearest and the mean gain from it."""
        if epoch in source:
            return source[epoch]
        near = min(source, key=lambda known: abs(known - epoch))
        return source[near] + self._gain(near, epoch)

    def _gain(self, near: int, epoch: int) -> float:
        """Mean gain between two epochs of the trials that have both; 0 where none has."""
        if (near, epoch) not in self._gains:
            gains = [v[epoch] - v[near] for v in self.values.values() if epoch in v and near in v]
            self._gains[near, epoch] = statistics.fmean(gains) if gains else 0.0
        return self._gains[near, epoch]
