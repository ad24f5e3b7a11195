"""How much of a budget is kept for confirmations: what they need, and no more than a share."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hpo.core.budget import Budget
from hpo.core.selection import REPEATS

CONFIRM_SHARE = 0.15
"""Share of a time or epoch budget that confirmations take at most."""
SPARE = 1.1
"""So many times what repeats are expected to cost is kept, as no two trainings take the same."""
ROUNDED = 1e-9
"""So little less than a whole training is one: the rest is lost where floats are rounded."""

Costs = Mapping[str, float]
"""Name of a limit of a budget -> how much of it one training to the last epoch takes."""


def kept_for_repeats(
    budget: Budget, training: Costs, confirm: int, at_a_time: int = 1
) -> dict[str, float]:
    """Return what is kept of each limit; the number of trials has no part in it.

    That is as many whole trainings as the share holds, and no more than there are repeats; the
    share itself where it is not known what a training costs.

    Args:
        budget: the limits.
        training: what one training costs, as far as that is known.
        confirm: how many finalists are trained again beside the default.
        at_a_time: trainings at a time, which take the time of one.
    """
    limits = {name: limit for name, limit in budget.limits.items() if name != "trials"}
    shares = {name: CONFIRM_SHARE * limit for name, limit in limits.items() if confirm}
    if not all(training.get(name) for name in shares):
        return shares
    late = _late(training, at_a_time)
    places = {name: at_a_time if name == "seconds" else 1 for name in shares}
    held = [
        places[name] * max(0, int((share - late[name]) / training[name] + ROUNDED))
        for name, share in shares.items()
    ]
    count = min([REPEATS * (confirm + 1), *held])
    if not count:
        return dict.fromkeys(shares, 0.0)
    return {
        name: min(share, SPARE * training[name] * math.ceil(count / places[name]) + late[name])
        for name, share in shares.items()
    }


def _late(training: Costs, at_a_time: int) -> dict[str, float]:
    """What the search takes beyond its limit, by the epochs that are under way there."""
    under_way = {"epochs": at_a_time - 1, "gpu_seconds": at_a_time}
    epochs = training.get("epochs") or 1.0
    return {name: under_way.get(name, 1) * cost / epochs for name, cost in training.items()}


def reduced(budget: Budget, kept: Costs) -> Budget:
    """The budget without what is kept of it."""

    def less(name: str, limit: float) -> float:
        left = limit - kept.get(name, 0.0)
        return max(1, int(left)) if name == "epochs" else left

    return budget.mapped(less)


def confirming_budget(budget: Budget, training: Costs, at_a_time: int = 1) -> Budget | None:
    """A budget whose share holds a training; None where that of this one does."""
    late = _late(training, at_a_time)
    needed = {n: math.ceil((cost + late[n]) / CONFIRM_SHARE) for n, cost in training.items()}
    larger = budget.mapped(lambda name, limit: max(limit, needed.get(name, 0)))
    return None if larger == budget else larger
