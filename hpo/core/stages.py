"""Rank correlation of what trials of one stage reached and what their children in the next did.

A stage is worth what its order says about the next one's. Each trial that others began with gives a
pair: its own value, and the best value of those that were trained from it in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hpo.core.rungs import rank_correlation
from hpo.core.text import count_of
from hpo.core.trial import Direction, TrialRecord, TrialState

LEAST_PAIRS = 5
"""With fewer pairs a correlation says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOrder:
    """How far the order in a stage agrees with the order in the next."""

    name: str
    trials: int
    """Of the stage."""
    pairs: int
    """Of its trials, those that others were trained from in full."""
    correlation: float | None
    """Spearman's; None with fewer than two pairs."""

    @property
    def is_misleading(self) -> bool:
        """Whether the stage's order is known to say nothing about the next one's."""
        known = self.correlation is not None and self.pairs >= LEAST_PAIRS
        return known and (self.correlation or 0.0) <= 0.0

    def __str__(self) -> str:
        """Say it in a line."""
        head = f"{self.name}: {count_of(self.trials, 'trial')}"
        if self.correlation is None:
            went_on = "1 was" if self.pairs == 1 else f"{self.pairs} were"
            return f"{head}; {went_on} trained on: too few to tell whether its order is right"
        line = (
            f"{head}; its order agrees with that of the next stage by {self.correlation:.2f} "
            f"(rank correlation, n = {self.pairs}"
        )
        if self.pairs < LEAST_PAIRS:
            return f"{line}: too few to rely on)"
        return f"{line}); it is skipped from then on" if self.is_misleading else f"{line})"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for events and state files."""
        rounded = None if self.correlation is None else round(self.correlation, 4)
        return asdict(self) | {"correlation": rounded, "text": str(self)}


def measure_stages(trials: Iterable[TrialRecord], direction: str) -> list[StageOrder]:
    """Return every stage but the last, in the order they began, with its rank correlation."""
    searched = [t for t in trials if not t.is_repeat]
    names = list(dict.fromkeys(t.stage.name for t in searched if t.stage.left))
    return [_measure(name, searched, direction) for name in names]


def _measure(name: str, searched: list[TrialRecord], direction: str) -> StageOrder:
    sign = Direction(direction).sign
    own = {t.number: t.value for t in searched if t.stage.name == name}
    reached: dict[int, float] = {}
    for child in searched:
        parent = child.stage.parent
        if parent in own and child.state is TrialState.COMPLETE and child.value is not None:
            reached[parent] = max(reached.get(parent, float("-inf")), sign * child.value)
    pairs = [(sign * value, reached[n]) for n in sorted(reached) if (value := own[n]) is not None]
    correlation = None
    if len(pairs) > 1:
        correlation = rank_correlation([first for first, _ in pairs], [end for _, end in pairs])
    return StageOrder(name=name, trials=len(own), pairs=len(pairs), correlation=correlation)
