"""Estimates a search's duration by simulating it with invented curves.

Engine, pruner, budget and slots are the real ones, so pruning, brackets and several limits at once
are counted as they will happen. What cannot be known before is how good each configuration is;
only their order matters to a pruner, and that is drawn. A search that goes on is simulated with
curves and times like those it has seen, so that trials to come are compared with earlier ones on
the scale of the metric.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from hpo.algorithms.for_study import build_algorithm
from hpo.algorithms.registry import find_algorithm
from hpo.core.budget import RAN_DRY, WHOLE, Budget, Spent
from hpo.core.forecast import Forecast
from hpo.core.protocols import Trainer
from hpo.core.trial import Launch, TrialRecord, TrialState
from hpo.executors.division import Slots
from hpo.executors.simulator import SimulatedEpoch, SimulatedExecutor
from hpo.results.average import best_trained
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.confirm_share import Costs, kept_for_repeats
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from hpo.searching.seen_curves import SeenCurves
from hpo.study.plan import StudyPlan
from hpo.study.spec import StudySpec

if TYPE_CHECKING:
    from search_spaces import SearchSpace

SPEEDS = (1.0, 0.85, 1.15, 0.925, 1.075)
"""A probe of a few steps is off by about that much, either way."""
REHEARSED_TRIALS = 200
"""Every speed is rehearsed again until so many trials were: how many are pruned and which are
confirmed is a matter of chance in a small search, and what is expected is the mean."""
LEAST_REHEARSALS, MOST_REHEARSING_S = 3, 10.0
"""So many there are at least; more only until they have taken so long, as each goes over all that
earlier starts have done."""
SAME_MACHINE = 1.5
"""Epochs of earlier starts tell what an epoch takes, as they are many and of many configurations;
where a probe says more than this many times as much or as little, the machine has changed."""
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
COMPARED_S = 1.0
"""Seconds to load a repeat's model when finalists are compared; its validation, .2 of an epoch by
forward passes, comes on top."""
COMPARED_COST = 0.2
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
        The mean time and the median counts of the rehearsals; None where no time per epoch is
        known, or nothing says when the search ends.
    """
    seconds_per_epoch = float(probe.get("seconds_per_epoch") or 0.0)
    start_s = float(probe.get("start_s") or 0.0)
    if not seconds_per_epoch or not math.isfinite(seconds_per_epoch):
        return None
    if study.budget.seconds is not None:  # the clock runs while the first workers start
        seconds = max(1.0, study.budget.seconds - start_s)
        study = replace(study, budget=replace(study.budget, seconds=seconds))
    earlier = [] if begun is None else begun.trials()
    seconds_per_epoch = _seconds_seen(earlier, seconds_per_epoch)
    used = spent or Spent()
    left = study.budget.mapped(lambda name, limit: max(1, limit - getattr(used, name)))
    training_s = plan.num_epochs * seconds_per_epoch
    training = {"epochs": plan.num_epochs, "seconds": training_s}
    training["gpu_seconds"] = training_s * slots.gpus
    kept = kept_for_repeats(study.budget, training, study.search.confirm, slots.count)
    shortened, factor = _shortened(left, plan.num_epochs, slots, seconds_per_epoch, kept)
    so_far = _Begun.of(begun, factor, kept)
    budget = shortened if so_far.ledger is None else study.budget
    runs: list[_Rehearsal] = []
    began = monotonic()
    while not _are_enough(runs, monotonic() - began):
        speed = SPEEDS[len(runs) % len(SPEEDS)]
        runs.append(
            _rehearse(
                replace(study, budget=budget), plan, space, trainer, slots,
                seconds_per_epoch=speed * seconds_per_epoch, seed=len(runs), begun=so_far,
            )
        )  # fmt: skip
    ends_itself = all(run.ended_because == RAN_DRY for run in runs)
    if ends_itself:
        factor = 1.0  # the algorithm ends by itself, whatever the budget
    elif not math.isfinite(factor):
        return None
    compared_s = COMPARED_S + COMPARED_COST * seconds_per_epoch
    after = [compared_s * len(run.repeated) for run in runs]
    if plan.averages:
        added = AVERAGE_COST * seconds_per_epoch
        averaged = [
            added * len(best_trained(run.ledger.trials(), trainer.direction)) for run in runs
        ]
        after = [time + own for time, own in zip(after, averaged, strict=True)]
    times = [start_s + run.total_s(factor) + own for run, own in zip(runs, after, strict=True)]
    times, tenth = sorted(times), len(times) // 10

    def typical(count: Callable[[_Rehearsal], float], scale: float = factor) -> int:
        return round(scale * statistics.median(count(run) for run in runs))

    return Forecast(
        seconds=statistics.fmean(times),
        after_s=statistics.fmean(after),
        low_s=times[tenth],
        high_s=times[-1 - tenth],
        trials=typical(lambda run: len(run.searched)),
        repeats=typical(lambda run: len(run.repeated), 1.0),
        earlier=typical(lambda run: len(run.earlier), 1.0),
        epochs=typical(lambda run: run.epochs_of(run.searched))
        + typical(lambda run: run.epochs_of(run.repeated), 1.0),
        pruned=typical(lambda run: sum(t.state is TrialState.PRUNED for t in run.searched)),
        longest=None if ends_itself else typical(lambda run: run.longest, 1.0),
        busy_share=statistics.median(run.executor.busy_share() for run in runs),
        only_default=factor == 1.0 and all(run.has_only_the_default() for run in runs),
    )


def _are_enough(runs: Sequence[_Rehearsal], seconds: float) -> bool:
    """Whether there are enough rehearsals, which have taken so long."""
    if seconds > MOST_REHEARSING_S and len(runs) >= LEAST_REHEARSALS:
        return True
    if len(runs) % len(SPEEDS):
        return False  # each speed as often
    if len({run.epochs_of(run.trained) for run in runs}) == 1:
        return True  # no chance in it, so others would be the same
    return sum(len(run.trained) for run in runs) >= REHEARSED_TRIALS


def _seconds_seen(earlier: Sequence[TrialRecord], probed: float) -> float:
    """Seconds of an epoch: the mean of those trained, or the probe's where none is like it."""
    seen = [t for t in earlier if not t.stage.left]
    mean = sum(t.seconds for t in seen) / max(1, sum(t.trained_epochs for t in seen))
    return mean if probed / SAME_MACHINE <= mean <= probed * SAME_MACHINE else probed


def _shortened(
    budget: Budget, num_epochs: int, slots: Slots, seconds_per_epoch: float, kept: Costs
) -> tuple[Budget, float]:
    """Cut a long budget to about `MOST_TRIALS` trials; also say how many times longer it is.

    A trial is taken to be stopped after a third of its epochs, as most are. What is `kept` of it
    for repeats stays whole, as there are no fewer of them.
    """
    usual = max(1.0, num_epochs / 3)
    seconds = budget.seconds_on(slots.gpus * slots.count)
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

    def shorter(name: str, limit: float) -> float:
        own = min(kept.get(name, 0.0), limit)
        short = own + (limit - own) / factor
        return max(1, round(short)) if name in WHOLE else short

    return budget.mapped(shorter), factor


@dataclass(frozen=True, slots=True)
class _Begun:
    """What earlier starts have done, read once for all rehearsals."""

    ledger: Ledger | None
    """In memory; None for a scaled rehearsal, which begins anew, and where nothing was done."""
    curves: SeenCurves
    kept: Costs | None = None
    """What a scaled rehearsal keeps of its budget for repeats, of which there are no fewer."""

    @classmethod
    def of(cls, begun: Ledger | None, factor: float, kept: Costs) -> _Begun:
        """Read a ledger, for rehearsals of a search that many times shorter."""
        if factor != 1.0:
            return cls(None, SeenCurves.of([]), kept)
        if begun is None or not begun.trials():
            return cls(None, SeenCurves.of([]))
        return cls(begun.copied(), SeenCurves.of(begun.trials()))


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

    def has_only_the_default(self) -> bool:
        """Whether none of the other trials was to be trained for as long as the default."""
        trials = [t for t in self.ledger.trials() if not t.is_repeat and not t.stage.left]
        lengths = [t.until_epoch for t in trials]
        return len(lengths) > 1 and max(lengths[1:]) < lengths[0]

    @property
    def longest(self) -> int:
        """Epochs of the trial that has the most, earlier starts included."""
        return max((t.epochs for t in self.ledger.trials() if not t.stage.left), default=0)

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
    begun: _Begun,
) -> _Rehearsal:
    """Search once; results are read from the clock and the ledger."""
    direction, name = trainer.direction, _stand_in(plan.algorithm)
    known = {option.name for option in find_algorithm(name).options}
    options = {k: v for k, v in study.search.algorithm_options.items() if k in known}
    search = replace(study.search, seed=seed, algorithm_options=options)
    is_new = begun.ledger is None
    ledger = Ledger.create(None, direction) if begun.ledger is None else begun.ledger.copied()
    done = {t.number: t.trained_epochs for t in ledger.trials()}
    # What has begun goes on in the brackets or the population that it was planned for.
    planned = study.budget.trials if is_new else plan.planned_trials
    curves = _Curves(ledger, begun.curves, plan.num_epochs, seconds_per_epoch, seed)
    executor = SimulatedExecutor(curves, slots.count, overhead_s=TRIAL_START_S)
    engine = Engine(
        ledger=ledger,
        algorithm=build_algorithm(
            replace(study, search=search),
            replace(plan, algorithm=name, planned_trials=planned, first=[]),
            trainer,
            space,
            slots=slots.count,
            is_rehearsal=True,
        ),
        plan=Plan(
            specs=TrialSpecs(base_spec=plan.base_spec, seed_key=trainer.seed_key),
            budget=study.budget,
            confirm=study.search.confirm,
            kept=begun.kept,
            gpus_per_trial=slots.gpus,
            at_a_time=slots.count,
            spent_before_s=0.0 if is_new else plan.screened_s,
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
    """Learning curves of trials; epochs that the ledger has already take no time.

    Where earlier starts have trained several trials, a curve is like one of theirs. Else it rises
    to a drawn level; the default's is better than most.
    """

    def __init__(
        self, ledger: Ledger, seen: SeenCurves, num_epochs: int, seconds: float, seed: int
    ) -> None:
        self._ledger, self._seen, self._num_epochs = ledger, seen, num_epochs
        self._seconds, self._seed, self._sign = seconds, seed, ledger.direction.sign

    def __call__(self, launch: Launch) -> Iterator[SimulatedEpoch]:
        rng = random.Random(f"{self._seed}-{launch.number}")
        record = self._ledger.trial(launch.number)
        seconds, num_epochs = self._seconds, self._num_epochs
        if record.stage.left:
            seconds, num_epochs = EARLIER_COST * seconds, record.until_epoch
        done = record.epochs
        values = self._values(record, num_epochs, rng)
        for epoch, value in enumerate(values, start=1):
            yield SimulatedEpoch(value=value, seconds=seconds if epoch > done else 0.0)

    def _values(self, record: TrialRecord, num_epochs: int, rng: random.Random) -> Iterator[float]:
        if self._seen.is_enough and not record.stage.left:
            return iter(self._seen.draw(record.number, num_epochs, rng))
        level = DEFAULT_QUALITY if record.number == 0 else rng.random()
        pace = num_epochs / 3
        return (
            self._sign * (level * (1.0 - math.exp(-epoch / pace)) + rng.gauss(0.0, 0.02))
            for epoch in range(1, num_epochs + 1)
        )
