"""Estimates a search's duration by simulating it with invented curves.

Engine, pruner, budget and slots are the real ones, so pruning, brackets and several limits at once
are counted as they will happen. What cannot be known before is how good each configuration is;
only their order matters to a pruner, and that is drawn.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpo.algorithms.for_study import build_algorithm
from hpo.algorithms.registry import find_algorithm
from hpo.core.budget import Budget, Spent
from hpo.core.forecast import Forecast
from hpo.core.protocols import Trainer
from hpo.core.trial import Launch, TrialRecord, TrialState
from hpo.executors.division import Slots
from hpo.executors.simulator import SimulatedEpoch, SimulatedExecutor
from hpo.results.average import best_trained
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from hpo.study.plan import StudyPlan
from hpo.study.spec import StudySpec

if TYPE_CHECKING:
    from search_spaces import SearchSpace

SPEEDS = (1.0, 0.85, 1.15, 0.925, 1.075)
"""One rehearsal each; a probe of a few steps is off by about that much, either way."""
TRIAL_START_S = 0.5
"""Seconds a warm worker needs between two trials."""
MOST_TRIALS = 100
"""A longer search is rehearsed in part and its figures scaled."""
EARLIER_COST = 0.005
"""Time of an epoch of an earlier stage's batch, as share of an epoch in full: an estimate, as heads
on cached features take about 0.2 s where the network takes a minute."""
AVERAGE_COST = 0.3
"""Time to try one trial in an average, as share of an epoch, by counting forward passes: .2 for the
validation pictures, .4 where statistics of batch norm are made anew from those of training."""
STAND_INS = {"bohb": "hyperband"}
DEFAULT_QUALITY = 0.8
"""Place of the default configuration among drawn ones: better than most."""


def forecast(
    study: StudySpec,
    plan: StudyPlan,
    space: SearchSpace,
    trainer: Trainer,
    slots: Slots,
    *,
    probe: Mapping[str, Any],
    spent: Spent | None = None,
    begun: Ledger | None = None,
) -> Forecast | None:
    """Rehearse what is left of a search a few times, confirmation and average of its best included.

    Args:
        study: for its budget, the finalists that are trained again, and the algorithm's options.
        plan: the study's plan.
        space: its compiled space.
        trainer: for its direction and seed key.
        slots: how trials are placed.
        probe: `seconds_per_epoch` of one trial while all slots are busy, and `start_s` until the
            first trial of a slot, whose worker is new, trains.
        spent: what earlier starts have used.
        begun: what earlier starts have done; open trials and repeats go on from there.

    Returns:
        The median search; None where no time per epoch is known, or nothing says when the search
        ends.
    """
    seconds_per_epoch = float(probe.get("seconds_per_epoch") or 0.0)
    start_s = float(probe.get("start_s") or 0.0)
    if not seconds_per_epoch or not math.isfinite(seconds_per_epoch):
        return None
    left = _left(study.budget, spent or Spent())
    shortened, factor = _shortened(left, plan.num_epochs, slots, seconds_per_epoch)
    if begun is not None and (factor > 1.0 or not begun.trials()):
        begun = None  # what is scaled begins anew
    budget = shortened if begun is None else study.budget
    runs = [
        _rehearse(
            replace(study, budget=budget), plan, space, trainer, slots,
            seconds_per_epoch=speed * seconds_per_epoch, seed=number, begun=begun,
        )
        for number, speed in enumerate(SPEEDS)
    ]  # fmt: skip
    if all(run.ended_because == "algorithm" for run in runs):
        factor = 1.0  # the algorithm ends by itself, whatever the budget
    elif not math.isfinite(factor):
        return None
    times = [start_s + run.total_s(factor) for run in runs]
    if plan.averages:
        added = AVERAGE_COST * seconds_per_epoch
        averaged = [
            added * len(best_trained(run.ledger.trials(), trainer.direction)) for run in runs
        ]
        times = [time + own for time, own in zip(times, averaged, strict=True)]

    def typical(count: Callable[[_Rehearsal], float], scale: float = factor) -> int:
        return round(scale * statistics.median(count(run) for run in runs))

    return Forecast(
        seconds=statistics.median(times),
        low_s=min(times),
        high_s=max(times),
        trials=typical(lambda run: len(run.searched)),
        repeats=typical(lambda run: len(run.repeated), 1.0),
        earlier=typical(lambda run: len(run.earlier), 1.0),
        epochs=typical(lambda run: run.epochs_of(run.searched))
        + typical(lambda run: run.epochs_of(run.repeated), 1.0),
        pruned=typical(lambda run: sum(t.state is TrialState.PRUNED for t in run.searched)),
        busy_share=statistics.median(run.executor.busy_share() for run in runs),
    )


def _left(budget: Budget, spent: Spent) -> Budget:
    return Budget(
        trials=None if budget.trials is None else max(1, budget.trials - spent.trials),
        seconds=None if budget.seconds is None else max(1.0, budget.seconds - spent.seconds),
        gpu_seconds=None
        if budget.gpu_seconds is None
        else max(1.0, budget.gpu_seconds - spent.gpu_seconds),
        epochs=None if budget.epochs is None else max(1, budget.epochs - spent.epochs),
    )


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
    if not math.isfinite(factor):
        return Budget(trials=MOST_TRIALS), factor
    return Budget(
        trials=None if budget.trials is None else max(1, round(budget.trials / factor)),
        seconds=None if budget.seconds is None else budget.seconds / factor,
        gpu_seconds=None if budget.gpu_seconds is None else budget.gpu_seconds / factor,
        epochs=None if budget.epochs is None else max(1, round(budget.epochs / factor)),
    ), factor


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    """A search that was run on a clock of its own."""

    executor: SimulatedExecutor
    ledger: Ledger
    ended_because: str
    done: Mapping[int, int]
    """Trial -> epochs of earlier starts."""

    @property
    def trained(self) -> list[TrialRecord]:
        """Trials that were trained here, be it on."""
        return [t for t in self.ledger.trials() if t.trained_epochs > self.done.get(t.number, 0)]

    @property
    def searched(self) -> list[TrialRecord]:
        return [t for t in self.trained if not t.is_repeat and not t.stage.left]

    @property
    def earlier(self) -> list[TrialRecord]:
        return [t for t in self.trained if t.stage.left]

    @property
    def repeated(self) -> list[TrialRecord]:
        return [t for t in self.trained if t.is_repeat]

    def epochs_of(self, trials: list[TrialRecord]) -> int:
        """Epochs of trials that were trained here."""
        return sum(t.trained_epochs - self.done.get(t.number, 0) for t in trials)

    def total_s(self, factor: float) -> float:
        """Seconds of a search so many times as long; as many finalists are trained again."""
        again = {t.number for t in self.repeated}
        searched = max((end for n, _, end in self.executor.spans if n not in again), default=0.0)
        return factor * searched + self.executor.now() - searched


def _rehearse(
    study: StudySpec,
    plan: StudyPlan,
    space: SearchSpace,
    trainer: Trainer,
    slots: Slots,
    *,
    seconds_per_epoch: float,
    seed: int,
    begun: Ledger | None,
) -> _Rehearsal:
    """Search once; the clock and the ledger tell what came of it."""
    direction, name = trainer.direction, _stand_in(plan.algorithm)
    known = {option.name for option in find_algorithm(name).options}
    options = {k: v for k, v in study.search.algorithm_options.items() if k in known}
    search = replace(study.search, seed=seed, algorithm_options=options)
    ledger = Ledger.create(None, direction) if begun is None else begun.copied()
    done = {t.number: t.trained_epochs for t in ledger.trials()}
    curves = _Curves(ledger, plan.num_epochs, seconds_per_epoch, seed)
    executor = SimulatedExecutor(curves, slots.count, overhead_s=TRIAL_START_S)
    engine = Engine(
        ledger=ledger,
        algorithm=build_algorithm(
            replace(study, search=search),
            replace(plan, algorithm=name, planned_trials=study.budget.trials, first=[]),
            trainer,
            space,
            slots=slots.count,
        ),
        plan=Plan(
            specs=TrialSpecs(base_spec=plan.base_spec, seed_key=trainer.seed_key),
            direction=direction,
            budget=study.budget,
            confirm=study.search.confirm,
            gpus_per_trial=slots.gpus,
            spent_before_s=plan.screened_s if begun is not None else 0.0,
            study_seed=seed,
            num_epochs=plan.num_epochs,
        ),
        emit=lambda _event, **_data: None,
        now=executor.now,
    )
    executor.run(engine)
    return _Rehearsal(executor, ledger, engine.ended_because, done)


def _stand_in(algorithm: str) -> str:
    """What stops trials alike and proposes in no time."""
    entry = find_algorithm(algorithm)
    return STAND_INS.get(entry.name, entry.name if entry.brings_pruning else "random")


class _Curves:
    """Learning curves that rise to a drawn level; the default's is better than most.

    Epochs that the ledger has already take no time.
    """

    def __init__(self, ledger: Ledger, num_epochs: int, seconds: float, seed: int) -> None:
        self._ledger, self._num_epochs, self._seconds = ledger, num_epochs, seconds
        self._seed, self._sign = seed, ledger.direction.sign

    def __call__(self, launch: Launch) -> Iterator[SimulatedEpoch]:
        rng = random.Random(f"{self._seed}-{launch.number}")
        level = DEFAULT_QUALITY if launch.number == 0 else rng.random()
        record = self._ledger.trial(launch.number)
        seconds, num_epochs = self._seconds, self._num_epochs
        if record.stage.left:
            seconds, num_epochs = EARLIER_COST * seconds, record.until_epoch
        pace, done = num_epochs / 3, record.epochs
        for epoch in range(1, num_epochs + 1):
            value = level * (1.0 - math.exp(-epoch / pace)) + rng.gauss(0.0, 0.02)
            lasts = seconds if epoch > done else 0.0
            yield SimulatedEpoch(value=self._sign * value, seconds=lasts)
