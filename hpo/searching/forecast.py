"""Estimates a search's duration by simulating it with invented curves.

Engine, pruner, budget and slots are the real ones, so pruning, brackets and several limits at once
are counted as they will happen. What cannot be known before is how good each configuration is;
only their order matters to a pruner, and that is drawn. A search that goes on is simulated with
curves and times like those it has seen, so that trials to come are compared with earlier ones on
the scale of the metric.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from hpo.algorithms.brackets import Length
from hpo.algorithms.options import resolve_options
from hpo.algorithms.registry import find_algorithm
from hpo.core.budget import RAN_DRY, Spent
from hpo.core.forecast import Forecast
from hpo.core.protocols import Trainer
from hpo.core.text import is_number
from hpo.core.trial import TrialRecord, TrialState
from hpo.executors.division import Slots
from hpo.results.average import best_trained
from hpo.run.ledger import Ledger
from hpo.searching.confirm_share import kept_for_repeats
from hpo.searching.rehearsal import Rehearsal, Rehearsed
from hpo.searching.seen_curves import SeenCurves
from hpo.searching.shortening import Part, part_of
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
USUAL_SHARE = 1 / 3
"""Share of its epochs after which a trial is usually stopped."""
AVERAGE_COST = 0.3
"""Time to try one trial in an average, as share of an epoch, by counting forward passes: .2 for the
validation pictures, .4 where statistics of batch norm are made anew from those of training."""
COMPARED_S = 1.0
"""Seconds to load a repeat's model when finalists are compared; its validation, .2 of an epoch by
forward passes, comes on top."""
COMPARED_COST = 0.2


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
        probe: `seconds_per_epoch` of one trial while all slots are busy, where epochs differ
            `epoch_seconds` of each, and `start_s` until the first trial of a slot, whose worker is
            new, trains.
        spent: what earlier starts have used.
        begun: what earlier starts have done; open trials and repeats go on from there.

    Returns:
        The mean time and the median counts of the rehearsals; None where no time per epoch is
        known, or nothing says when the search ends.
    """
    start_s = float(probe.get("start_s") or 0.0)
    probed = epoch_times(probe, plan.num_epochs)
    if not probed:
        return None
    if study.budget.seconds is not None:  # the clock runs while the first workers start
        limit = max(1.0, study.budget.seconds - start_s)
        study = replace(study, budget=replace(study.budget, seconds=limit))
    earlier = [] if begun is None else begun.trials()
    seconds = _seconds_seen(earlier, probed)
    used = spent or Spent()
    left = study.budget.mapped(lambda name, limit: max(1, limit - getattr(used, name)))
    training = {"epochs": plan.num_epochs, "seconds": sum(seconds)}
    training["gpu_seconds"] = sum(seconds) * slots.gpus
    kept = kept_for_repeats(study.budget, training, study.search.confirm, slots.count)
    usual = max(1, round(plan.num_epochs * USUAL_SHARE))
    part = part_of(
        left, slots, trial_epochs=usual, trial_s=sum(seconds[:usual]), kept=kept,
        own_trials=_own_trials(study, plan),
    )  # fmt: skip
    search = Rehearsed(
        study=study, plan=plan, space=space, trainer=trainer, slots=slots,
        seconds=seconds, begun=begun, kept=kept, part=part,
    )  # fmt: skip
    runs = _rehearsals(search)
    ends_itself = all(run.ended_because == RAN_DRY for run in runs)
    if ends_itself and not part.is_whole:  # as the whole does, whatever its budget
        part = Part(budget=left, slots=slots.count)
        runs = _rehearsals(replace(search, part=part))
    if not math.isfinite(part.times):
        return None
    factor = part.times
    epoch_s = statistics.fmean(seconds)
    compared_s = COMPARED_S + COMPARED_COST * epoch_s
    after = [compared_s * len(run.repeated) for run in runs]
    if plan.averages:
        added = AVERAGE_COST * epoch_s
        averaged = [
            added * len(best_trained(run.ledger.trials(), trainer.direction)) for run in runs
        ]
        after = [time + own for time, own in zip(after, averaged, strict=True)]
    times = [start_s + run.total_s(part.longer) + own for run, own in zip(runs, after, strict=True)]
    times, tenth = sorted(times), len(times) // 10

    def typical(count: Callable[[Rehearsal], float], scale: float = factor) -> int:
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
        start_points=max(run.start_points for run in runs),
        longest=None if ends_itself else _longest(runs, part, earlier),
        busy_share=statistics.median(run.executor.busy_share() for run in runs),
        only_default=part.is_whole and all(run.has_only_the_default() for run in runs),
    )


def _rehearsals(search: Rehearsed) -> list[Rehearsal]:
    """Rehearse a search until that was done often enough."""
    begun = search.begun
    seen = SeenCurves.of([] if begun is None else begun.trials())
    so_far = begun.copied() if begun is not None and search.goes_on else None
    runs: list[Rehearsal] = []
    began = monotonic()
    while not _are_enough(runs, monotonic() - began):
        speed, seed = SPEEDS[len(runs) % len(SPEEDS)], len(runs)
        new = Ledger.create(None, search.trainer.direction) if so_far is None else so_far.copied()
        runs.append(search.rehearse(new, seen, speed=speed, seed=seed))
    return runs


def _longest(runs: Sequence[Rehearsal], part: Part, earlier: Sequence[TrialRecord]) -> int | None:
    """Epochs of the trial that has the most; None where the whole goes on for longer."""
    if part.longer != 1.0:
        return None
    longest = [run.longest for run in runs]
    if part.is_whole:
        return round(statistics.median(longest))
    return max([*longest, *(t.epochs for t in earlier if not t.stage.left)])


def _own_trials(study: StudySpec, plan: StudyPlan) -> int | None:
    """Trials after which the algorithm ends by itself; None where only the search can tell."""
    entry = find_algorithm(plan.algorithm)
    if entry.num_trials is None:
        return None
    style, length = plan.route_style, Length(plan.num_epochs, plan.validated_every)
    options = resolve_options(
        entry.name, entry.options, study.search.algorithm_options, route=style is not None
    )
    if entry.fit is not None:
        options |= entry.fit(options, length, plan.planned_trials)
    return entry.num_trials(options, length, style or "running")


def epoch_times(probe: Mapping[str, Any], num_epochs: int) -> list[float]:
    """Seconds of every epoch, as a probe tells them or all alike; empty where it tells none."""
    mean = float(probe.get("seconds_per_epoch") or 0.0)
    if not mean or not math.isfinite(mean):
        return []
    told = probe.get("epoch_seconds") or ()
    is_usable = len(told) == num_epochs and all(is_number(each) and each > 0 for each in told)
    return list(map(float, told)) if is_usable else [mean] * num_epochs


def _are_enough(runs: Sequence[Rehearsal], seconds: float) -> bool:
    """Whether there are enough rehearsals, which have taken so long."""
    if seconds > MOST_REHEARSING_S and len(runs) >= LEAST_REHEARSALS:
        return True
    if len(runs) % len(SPEEDS):
        return False  # each speed as often
    if len({run.epochs_of(run.trained) for run in runs}) == 1:
        return True  # no chance in it, so others would be the same
    return sum(len(run.trained) for run in runs) >= REHEARSED_TRIALS


def _seconds_seen(earlier: Sequence[TrialRecord], probed: Sequence[float]) -> list[float]:
    """Seconds of every epoch: by those trained, or the probe's where the machine has changed."""
    seen = [t for t in earlier if not t.stage.left]
    expected = sum(sum(probed[t.base_epoch : t.epochs]) for t in seen)
    ratio = sum(t.seconds for t in seen) / expected if expected else 1.0
    ratio = ratio if 1 / SAME_MACHINE <= ratio <= SAME_MACHINE else 1.0
    return [ratio * each for each in probed]
