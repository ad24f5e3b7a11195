"""Estimates a search's duration by simulating it with invented curves.

Engine, pruner, budget and slots are the real ones, so pruning, brackets and several limits at once
are counted as they will happen. What cannot be known before is how good each configuration is;
only their order matters to a pruner, and that is drawn.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.algorithms.entry import Context
from hpo.algorithms.registry import create_algorithm, find_algorithm
from hpo.core.budget import Budget
from hpo.core.events import Forecast
from hpo.core.protocols import Trainer
from hpo.core.trial import Job, TrialRecord, TrialState
from hpo.executors.division import Slots
from hpo.executors.simulator import SimulatedEpoch, SimulatedExecutor
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.engine import Engine, Plan
from hpo.study.plan import StudyPlan

if TYPE_CHECKING:
    from search_spaces import SearchSpace

SPEEDS = (1.0, 0.85, 1.15, 0.925, 1.075)
"""One rehearsal each; a probe of a few steps is off by about that much, either way."""
TRIAL_START_S = 0.5
"""Seconds a warm worker needs between two trials."""
MOST_TRIALS = 100
"""A longer search is rehearsed in part and its figures scaled."""
STAND_INS = {"bohb": "hyperband"}
DEFAULT_QUALITY = 0.8
"""Place of the default configuration among drawn ones: better than most."""


def forecast(
    plan: StudyPlan,
    space: SearchSpace,
    trainer: Trainer,
    budget: Budget,
    slots: Slots,
    *,
    probe: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Forecast | None:
    """Rehearse a search a few times.

    Args:
        plan: the study's plan.
        space: its compiled space.
        trainer: for its direction and seed key.
        budget: its limits.
        slots: how trials are placed.
        probe: `seconds_per_epoch` of one trial while all slots are busy, and `start_s` until the
            first trial of a slot, whose worker is new, trains.
        options: the algorithm's own, which decide how it stops trials.
        seed: of the invented curves.

    Returns:
        The median search; None where no time per epoch is known.
    """
    seconds_per_epoch = float(probe.get("seconds_per_epoch") or 0.0)
    start_s = float(probe.get("start_s") or 0.0)
    if not seconds_per_epoch or not math.isfinite(seconds_per_epoch):
        return None
    rehearsed = _Rehearsed(plan, space, trainer, slots, options or {})
    shortened, factor = _shortened(budget, plan.num_epochs, slots, seconds_per_epoch)
    runs = []
    for number, speed in enumerate(SPEEDS):
        pace = speed * seconds_per_epoch
        runs.append(rehearsed.run(shortened, pace, seed + number))
    times = [start_s + factor * executor.now() for executor, _ in runs]
    trials = [ledger.trials() for _, ledger in runs]
    return Forecast(
        seconds=statistics.median(times),
        low_s=min(times),
        high_s=max(times),
        trials=round(factor * statistics.median(len(some) for some in trials)),
        epochs=round(factor * statistics.median(sum(t.epochs for t in some) for some in trials)),
        pruned=round(factor * statistics.median(map(_count_pruned, trials))),
        busy_share=statistics.median(executor.busy_share() for executor, _ in runs),
    )


def _count_pruned(trials: Iterable[TrialRecord]) -> int:
    return sum(trial.state is TrialState.PRUNED for trial in trials)


def _shortened(
    budget: Budget, num_epochs: int, slots: Slots, seconds_per_epoch: float
) -> tuple[Budget, float]:
    """Cut a long budget to about `MOST_TRIALS` trials; also say how many times longer it is.

    A trial is taken to be stopped after a third of its epochs, as most are.
    """
    usual = max(1.0, num_epochs / 3)
    seconds = budget.seconds
    if budget.gpu_seconds is not None and slots.gpus:
        by_gpus = budget.gpu_seconds / (slots.gpus * slots.count)
        seconds = by_gpus if seconds is None else min(seconds, by_gpus)
    most = [
        float(budget.trials) if budget.trials is not None else math.inf,
        math.inf if seconds is None else seconds * slots.count / (usual * seconds_per_epoch),
        math.inf if budget.epochs is None else budget.epochs / usual,
    ]
    factor = max(1.0, min(most) / MOST_TRIALS)
    if factor == 1.0:
        return budget, 1.0
    return Budget(
        trials=None if budget.trials is None else max(1, round(budget.trials / factor)),
        seconds=None if budget.seconds is None else budget.seconds / factor,
        gpu_seconds=None if budget.gpu_seconds is None else budget.gpu_seconds / factor,
        epochs=None if budget.epochs is None else max(1, round(budget.epochs / factor)),
    ), factor


@dataclass(frozen=True, slots=True)
class _Rehearsed:
    """A search that can be run on a clock of its own."""

    plan: StudyPlan
    space: SearchSpace
    trainer: Trainer
    slots: Slots
    options: Mapping[str, Any]

    def run(
        self, budget: Budget, seconds_per_epoch: float, seed: int
    ) -> tuple[SimulatedExecutor, Ledger]:
        """Search once; the clock and the ledger tell what came of it."""
        plan, direction = self.plan, self.trainer.direction
        name = _stand_in(plan.algorithm)
        algorithm = create_algorithm(
            name,
            self.space,
            pruner=plan.pruner,
            direction=direction,
            num_epochs=plan.num_epochs,
            seed=seed,
            options=self.options if name == plan.algorithm else {},
            context=Context(planned_trials=budget.trials, slots=self.slots.count),
        )
        curves = _Curves(plan.num_epochs, seconds_per_epoch, direction, seed)
        executor = SimulatedExecutor(curves, self.slots.count, overhead_s=TRIAL_START_S)
        ledger = Ledger.create(None, direction)
        engine = Engine(
            ledger=ledger,
            algorithm=algorithm,
            plan=Plan(
                specs=TrialSpecs(base_spec=plan.base_spec, seed_key=self.trainer.seed_key),
                direction=direction,
                budget=budget,
                gpus_per_trial=self.slots.gpus,
                study_seed=seed,
                num_epochs=plan.num_epochs,
            ),
            emit=lambda _event, **_data: None,
            now=executor.now,
        )
        executor.run(engine)
        return executor, ledger


def _stand_in(algorithm: str) -> str:
    """What stops trials alike and proposes in no time."""
    entry = find_algorithm(algorithm)
    return STAND_INS.get(entry.name, entry.name if entry.brings_pruning else "random")


class _Curves:
    """Learning curves that rise to a drawn level; the default's is better than most."""

    def __init__(self, num_epochs: int, seconds: float, direction: str, seed: int) -> None:
        self._num_epochs, self._seconds, self._seed = num_epochs, seconds, seed
        self._sign = 1.0 if direction == "maximize" else -1.0

    def __call__(self, job: Job) -> Iterator[SimulatedEpoch]:
        rng = random.Random(f"{self._seed}-{job.number}")
        level = DEFAULT_QUALITY if job.number == 0 else rng.random()
        pace = self._num_epochs / 3
        for epoch in range(1, self._num_epochs + 1):
            value = level * (1.0 - math.exp(-epoch / pace)) + rng.gauss(0.0, 0.02)
            yield SimulatedEpoch(value=self._sign * value, seconds=self._seconds)
