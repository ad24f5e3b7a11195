"""Says which part of a long search is rehearsed, and how many times as much the whole is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hpo.core.budget import WHOLE, Budget
from hpo.executors.division import Slots
from hpo.searching.confirm_share import Costs

MOST_TRIALS = 100
"""A search of more trials is rehearsed in part and its figures scaled."""
MOST_OF_ALGORITHM = 1000
"""So many are rehearsed where the algorithm ends by itself: brackets and populations have no
parts that are like the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is rehearsed of a search: fewer slots for as long, then one for a shorter time."""

    budget: Budget
    slots: int
    """Trials at a time until finalists are trained again."""
    times: float = 1.0
    """So many times as many trials are in the whole; infinite where nothing limits it."""
    longer: float = 1.0
    """So many times as long the whole takes."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.times == 1.0


def part_of(
    budget: Budget,
    slots: Slots,
    *,
    trial_epochs: float,
    trial_s: float,
    kept: Costs,
    own_trials: int | None = None,
) -> Part:
    """Cut a long search to about `MOST_TRIALS` trials.

    With a share of the slots and of the trials everything takes as long as in the whole, so that
    trials come as far and the last ones leave as many slots idle. Only of what one slot alone
    would train too long is a shorter time rehearsed.

    Args:
        budget: what is left of it.
        slots: of the search.
        trial_epochs: what a trial usually comes to.
        trial_s: the seconds of these.
        kept: what of the budget is for repeats, of which there are no fewer.
        own_trials: those after which the algorithm ends by itself, where that is known.
    """
    number = _expected(budget, slots, trial_epochs, trial_s)
    is_bounded = own_trials is not None and own_trials <= MOST_OF_ALGORITHM
    if is_bounded or number <= MOST_TRIALS:
        return Part(budget=budget, slots=slots.count)
    if not math.isfinite(number):
        return Part(
            budget=Budget(trials=MOST_TRIALS), slots=slots.count, times=number, longer=number
        )
    count = math.ceil(slots.count * MOST_TRIALS / number)
    thinner = slots.count / count
    longer = max(1.0, number / thinner / MOST_TRIALS) if count == 1 else 1.0

    def cut(name: str, limit: float) -> float:
        own = min(kept.get(name, 0.0), limit)
        left = own + (limit - own) / (longer if name == "seconds" else thinner * longer)
        return max(1, round(left)) if name in WHOLE else left

    short = budget.mapped(cut)
    times = budget.trials / short.trials if budget.trials and short.trials else thinner * longer
    return Part(budget=short, slots=count, times=times, longer=longer)


def _expected(budget: Budget, slots: Slots, trial_epochs: float, trial_s: float) -> float:
    """How many trials a budget may hold; infinite without a limit."""
    costs: dict[str, Callable[[float], float]] = {
        "trials": float,
        "seconds": lambda limit: limit * slots.count / trial_s,
        "gpu_seconds": lambda limit: limit / slots.gpus / trial_s if slots.gpus else math.inf,
        "epochs": lambda limit: limit / trial_epochs,
    }
    return min((costs[name](limit) for name, limit in budget.limits.items()), default=math.inf)
