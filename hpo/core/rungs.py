"""Rank correlation of trial values at a rung with their final values.

Pruning is worth what its rungs know: where the order at a rung has little to do with the order at
the end, stopping there throws good trials away. Measured on the trials that were trained in full,
by Spearman's rank correlation of their best value so far.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpo.core.selection import of_last_stage
from hpo.core.text import count_of
from hpo.core.trial import Direction, TrialRecord, TrialState

LEAST_TRIALS = 6
"""With fewer trials in full a correlation says nothing."""
UNRELIABLE = 0.3
"""Below this a rung knows too little to stop anybody."""
MOST_RUNGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One epoch at which trials were stopped."""

    epoch: int
    stopped: int
    """Trials that were stopped here."""
    in_full: int
    """Trials that passed it and were trained in full."""
    correlation: float | None
    """Of the orders here and at the end; None where too few were trained in full."""

    @property
    def is_unreliable(self) -> bool:
        """Whether the order here is known to say little about the end."""
        return self.correlation is not None and self.correlation < UNRELIABLE

    def __str__(self) -> str:
        head = f"epoch {self.epoch} stopped {count_of(self.stopped, 'trial')}"
        if self.correlation is None:
            full = count_of(self.in_full, "trial")
            return (
                f"{head}; {full} trained in full: too few to tell whether it stops the right ones"
            )
        line = (
            f"{head}; its order agrees with the final one by {self.correlation:.2f} "
            f"(rank correlation of {count_of(self.in_full, 'trial')} trained in full)"
        )
        if self.is_unreliable:
            return f"{line}: UNRELIABLE, try --pruner none or more epochs"
        return line

    def to_dict(self) -> dict[str, Any]:
        """Plain data for events and state files."""
        rounded = None if self.correlation is None else round(self.correlation, 4)
        facts = {"correlation": rounded, "unreliable": self.is_unreliable, "text": str(self)}
        return asdict(self) | facts


def measure_rungs(trials: Sequence[TrialRecord], direction: str) -> list[Rung]:
    """Return the epochs at which most trials were stopped, in order, with their rank correlations.

    Trials stopped by the algorithm count, and configurations that nobody went on with.
    """
    searched = {t.number: t for t in of_last_stage(trials) if not t.is_repeat}
    longest = max((t.epochs for t in searched.values()), default=0)
    ends = (TrialState.COMPLETE, TrialState.PRUNED)
    ended = [t for t in searched.values() if t.state in ends]
    continued = {t.start_from[0] for t in searched.values() if t.start_from}
    stops = [t.epochs for t in ended if t.epochs < longest and t.number not in continued]
    counts = Counter(stops)
    whole = [t for t in ended if t.state is TrialState.COMPLETE and t.epochs == longest]
    epochs = sorted(epoch for epoch, _ in counts.most_common(MOST_RUNGS))
    curves = [curve_of(t, searched) for t in whole] if epochs else []
    return [_measure(epoch, counts[epoch], curves, direction) for epoch in epochs]


def curve_of(trial: TrialRecord, trials: Mapping[int, TrialRecord]) -> dict[int, float]:
    """Return epoch -> value, with the epochs of the trials that this one goes on from."""
    curve: dict[int, float] = {}
    if trial.start_from is not None and trial.start_from[0] in trials:
        number, last = trial.start_from
        before = curve_of(trials[number], trials)
        curve = {epoch: value for epoch, value in before.items() if epoch <= last}
    return curve | {m.epoch: m.value for m in trial.measurements}


def best_by(curve: Mapping[int, float], epoch: int, direction: str) -> float | None:
    """Return the best value up to an epoch, or None where none was measured yet."""
    values = [value for at, value in curve.items() if at <= epoch]
    return Direction(direction).best(values) if values else None


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation, equal values sharing their mean rank; 0 if all equal."""
    try:
        return statistics.correlation(_ranks(first), _ranks(second))
    except statistics.StatisticsError:
        return 0.0


def _measure(
    epoch: int, stopped: int, curves: Sequence[Mapping[int, float]], direction: str
) -> Rung:
    pairs = [
        (here, end)
        for curve in curves
        if (here := best_by(curve, epoch, direction)) is not None
        and (end := best_by(curve, max(curve), direction)) is not None
    ]
    correlation = None
    if len(pairs) >= LEAST_TRIALS:
        correlation = rank_correlation([here for here, _ in pairs], [end for _, end in pairs])
    return Rung(epoch=epoch, stopped=stopped, in_full=len(pairs), correlation=correlation)


def _ranks(values: Sequence[float]) -> list[float]:
    """Places of values in their order, from 1; equal values share the mean of theirs."""
    order = sorted(values)
    return [(bisect_left(order, v) + 1 + bisect_right(order, v)) / 2 for v in values]
