"""Runs a search, or a part of one, on a clock of its own with invented curves."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpo.algorithms.for_study import build_algorithm
from hpo.algorithms.registry import find_algorithm
from hpo.core.budget import Budget
from hpo.core.events import Event, TrialFinished, TrialStarted
from hpo.core.protocols import Algorithm, Trainer
from hpo.core.trial import Launch, Purpose, TrialRecord
from hpo.executors.division import Slots
from hpo.executors.simulator import SimulatedEpoch, SimulatedExecutor
from hpo.run.checkpoint_retention import start_points_of
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.confirm_share import Costs
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from hpo.searching.seen_curves import SeenCurves
from hpo.searching.shortening import Part
from hpo.study.plan import StudyPlan
from hpo.study.spec import StudySpec

if TYPE_CHECKING:
    from search_spaces import SearchSpace

TRIAL_START_S = 0.5
"""Seconds a warm worker needs between two trials."""
EARLIER_COST = 0.005
"""Time of an epoch of an earlier stage's batch, as share of an epoch in full: an estimate, as heads
on cached features take about 0.2 s where the network takes a minute."""
STAND_INS = {"bohb": "hyperband"}
DEFAULT_QUALITY = 0.8
"""Place of the default configuration among drawn ones: better than most."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A search that was run on a clock of its own."""

    executor: SimulatedExecutor
    ledger: Ledger
    ended_because: str
    done: Mapping[int, int]
    """Trial -> epochs of earlier starts."""
    start_points: int = 0
    """The most that the algorithm could start trials from at a time."""

    @property
    def trained(self) -> list[TrialRecord]:
        """Trials that were trained here, be it on."""
        return [t for t in self.ledger.trials() if t.trained_epochs > self.done.get(t.number, 0)]

    @property
    def searched(self) -> list[TrialRecord]:
        """Those of the last stage, or of the only one."""
        return [t for t in self.trained if not t.is_repeat and not t.stage.left]

    @property
    def earlier(self) -> list[TrialRecord]:
        """Those of stages before the last."""
        return [t for t in self.trained if t.stage.left]

    @property
    def repeated(self) -> list[TrialRecord]:
        """Finalists that were trained again."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """A search, or what is left of one, as it is rehearsed."""

    study: StudySpec
    plan: StudyPlan
    space: SearchSpace
    trainer: Trainer
    slots: Slots
    seconds: Sequence[float]
    """What every epoch takes."""
    begun: Ledger | None
    """What earlier starts have done; a part of a search begins anew, with curves like theirs."""
    kept: Costs
    """What of the budget is for repeats."""
    part: Part

    @property
    def goes_on(self) -> bool:
        """Whether the trials of earlier starts are there."""
        return self.part.is_whole and self.begun is not None and bool(self.begun.trials())

    @property
    def budget(self) -> Budget:
        """The whole where the trials of earlier starts are there, which have used some of it."""
        return self.study.budget if self.goes_on else self.part.budget

    def rehearse(self, ledger: Ledger, seen: SeenCurves, *, speed: float, seed: int) -> Rehearsal:
        """Search once; results are read from the clock and the ledger, which is filled.

        Where a part is rehearsed, fewer trials run at a time; finalists have all slots again.
        """
        done = {t.number: t.trained_epochs for t in ledger.trials()}
        seconds = [speed * each for each in self.seconds]
        curves = _Curves(ledger, seen, seconds, self.plan.validated_every, seed)
        executor = SimulatedExecutor(curves, self.part.slots, overhead_s=TRIAL_START_S)

        algorithm, most = self._algorithm(seed), 0

        def hear(event: Event) -> None:
            nonlocal most
            if isinstance(event, TrialStarted) and event.purpose is Purpose.CONFIRM:
                executor.widen(self.slots.count)
            if isinstance(event, TrialFinished):
                most = max(most, len(start_points_of(algorithm)))

        engine = Engine(
            ledger=ledger,
            algorithm=algorithm,
            plan=Plan(
                specs=TrialSpecs(base_spec=self.plan.base_spec, seed_key=self.trainer.seed_key),
                budget=self.budget,
                confirm=self.study.search.confirm,
                kept=None if self.part.is_whole else self.kept,
                gpus_per_trial=self.slots.gpus,
                at_a_time=self.slots.count,
                spent_before_s=self.plan.screened_s if self.goes_on else 0.0,
                study_seed=seed,
                num_epochs=self.plan.num_epochs,
            ),
            emit=hear,
            now=executor.now,
        )
        executor.run(engine)
        return Rehearsal(executor, ledger, engine.ended_because, done, start_points=most)

    def _algorithm(self, seed: int) -> Algorithm:
        """What stops trials alike and proposes in no time."""
        entry = find_algorithm(self.plan.algorithm)
        name = STAND_INS.get(entry.name, entry.name if entry.brings_pruning else "random")
        known = {option.name for option in find_algorithm(name).options}
        options = {k: v for k, v in self.study.search.algorithm_options.items() if k in known}
        search = replace(self.study.search, seed=seed, algorithm_options=options)
        return build_algorithm(
            replace(self.study, search=search, budget=self.budget),
            replace(self.plan, algorithm=name, first=[]),
            self.trainer,
            self.space,
            slots=self.slots.count,
            is_rehearsal=True,
        )


class _Curves:
    """Learning curves of trials; epochs that the ledger has already take no time.

    Where earlier starts have trained several trials, a curve is like one of theirs. Else it rises
    to a drawn level; the default's is better than most. Epochs are reported where they are
    validated: every so many, and the last.
    """

    def __init__(
        self, ledger: Ledger, seen: SeenCurves, seconds: Sequence[float], every: int, seed: int
    ) -> None:
        self._ledger, self._seen, self._every = ledger, seen, every
        self._seconds, self._seed, self._sign = seconds, seed, ledger.direction.sign

    def __call__(self, launch: Launch) -> Iterator[SimulatedEpoch]:
        rng = random.Random(f"{self._seed}-{launch.number}")
        record = self._ledger.trial(launch.number)
        seconds, every = self._seconds, self._every
        if record.stage.left:
            seconds = [EARLIER_COST * statistics.fmean(seconds)] * record.until_epoch
            every = 1
        values = self._values(record, len(seconds), rng)
        before = 0
        for epoch in [*range(every, len(seconds), every), len(seconds)]:
            took = sum(seconds[max(before, record.epochs) : epoch])
            yield SimulatedEpoch(value=values[epoch - 1], seconds=took, epoch=epoch)
            before = epoch

    def _values(self, record: TrialRecord, num_epochs: int, rng: random.Random) -> list[float]:
        if self._seen.is_enough and not record.stage.left:
            return self._seen.draw(record.number, num_epochs, rng)
        level = DEFAULT_QUALITY if record.number == 0 else rng.random()
        pace = num_epochs / 3
        return [
            self._sign * (level * (1.0 - math.exp(-epoch / pace)) + rng.gauss(0.0, 0.02))
            for epoch in range(1, num_epochs + 1)
        ]
