"""How much a trial's value moves by chance: between neighbouring validations, and between seeds.

The one place where noise is estimated, for `--until-converged` and for the winner's expected drop.
Only trials near the best are looked at, as noise differs between good and bad configurations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from hpo.core.selection import distinct, leading, ranked, repeat_values, repeats_of
from hpo.core.trial import TrialRecord

LEAST_EPOCHS = 4
"""Validations at the end of a trial that are looked at, or a third of all if that is more."""


def near_best(trials: Iterable[TrialRecord], direction: str) -> list[TrialRecord]:
    """The better half of the searched trials that were trained longest, best first."""
    order = ranked([t for t in trials if not t.is_repeat], direction)
    longest = leading(order)
    return longest[: math.ceil(len(longest) / 2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A standard deviation, and how well it is known."""

    deviation: float
    freedom: float
    """Degrees of freedom."""

    def __bool__(self) -> bool:
        return self.deviation > 0


def epoch_noise(trials: Sequence[TrialRecord]) -> Noise | None:
    """How far a validation lies from its trial's curve; None where all curves are too short.

    By second differences at the ends of curves: a value less the mean of its two neighbours has 3/2
    of the noise's variance, and a steady rise takes no part in it (von Neumann et al. 1941 for
    first differences). Squares are averaged over all trials. As neighbouring differences share
    values, N of them have N / (1 + 2 * (4/9 + 1/36)) degrees of freedom.
    """
    squares: list[float] = []
    for trial in trials:
        values = [m.value for m in trial.measurements]
        tail = values[-max(LEAST_EPOCHS, len(values) // 3) :]
        squares += [
            (here - (before + after) / 2) ** 2 / 1.5
            for before, here, after in zip(tail, tail[1:], tail[2:], strict=False)
        ]
    if not squares:
        return None
    return Noise(deviation=math.sqrt(fmean(squares)), freedom=len(squares) * 18 / 35)


def seed_noise(trials: Sequence[TrialRecord], direction: str) -> Noise | None:
    """How far best values lie apart between seeds; None where nothing has two repeats.

    Freedom is repeats less configurations. The run by which a finalist was found is left out, as it
    was chosen for its value.
    """
    again = [t for t in trials if t.is_repeat]
    order = ranked([t for t in trials if not t.is_repeat], direction)
    finalists = distinct(t for t in order if repeats_of(t, again))
    groups = [repeat_values(trial, again, direction) for trial in finalists]
    repeated = [values for values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if not freedom:
        return None
    total = sum((v - fmean(values)) ** 2 for values in repeated for v in values)
    return Noise(deviation=math.sqrt(total / freedom), freedom=freedom)
