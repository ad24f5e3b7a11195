"""Builds the review before a search: data, duration, disk space."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from hpo.algorithms.staged import LATEST
from hpo.core.budget import Spent
from hpo.core.bytes import render_bytes
from hpo.core.event_bus import EventBus
from hpo.core.events import Preparing, Review
from hpo.core.forecast import Forecast
from hpo.core.protocols import Executor, Progress, Trainer, takes
from hpo.core.selection import REPEATS
from hpo.core.spec_dicts import merged, nest
from hpo.core.text import count_of, is_number
from hpo.executors.division import Slots
from hpo.executors.gpu_sharing import Packing
from hpo.results.average import NEAR
from hpo.results.model_costs import Architectures
from hpo.run.checkpoint_retention import ALL
from hpo.run.disk_space import SPARE_BYTES, Left
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.confirm_share import CONFIRM_SHARE, SPARE, confirming_budget
from hpo.searching.forecast import epoch_times, forecast
from hpo.study.plan import StudyPlan, as_user_errors, held_out_sources
from hpo.study.sections import LAST
from hpo.study.spec import StudySpec
from hpo.study.stages import PlannedStage

if TYPE_CHECKING:
    from search_spaces import SearchSpace

logger = logging.getLogger(__name__)

MOST_COUNTED = 10_000
"""Configurations of a space, which take a fifth of a second to count; no larger one is tried to
its end."""


class Reviewed(Protocol):
    """What is asked of a search that is about to start (`hpo.searching.session.Session`)."""

    run: RunDir
    study: StudySpec
    plan: StudyPlan
    trainer: Trainer
    ledger: Ledger
    space: SearchSpace
    stages: list[PlannedStage]
    slots: Slots
    bus: EventBus
    architectures: Architectures
    spent_before: Spent

    def measure(
        self, executor: Executor, spec: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Packing | None]:
        """Measure an epoch in every slot at once."""

    def disk_warning(self, probe: Mapping[str, Any], expected: Forecast | None) -> str:
        """Say that checkpoints may find no room; empty while they will."""


def review_of(session: Reviewed, executor: Executor, progress: Progress | None) -> Review:
    """Prepare the data, measure an epoch, and say what will happen."""
    began = time.monotonic()
    session.bus.emit(Preparing(what="images"))
    with as_user_errors():
        session.trainer.prepare(session.plan.base_spec, progress)
        data = look_at_data(session.trainer, session.plan)
        session.bus.emit(Preparing(what="probe"))
        probe_spec = merged(session.plan.base_spec, {"results_dir": str(session.run)})
        probe, packing = session.measure(executor, probe_spec)
        session.architectures.measure(executor, session.trainer, progress)
    expected = _foresee(session, probe)
    gpus = session.slots.gpus * session.slots.count
    return Review(
        study=session.study.name,
        trainer=session.study.trainer,
        data=data,
        searched=[parameter.name for parameter in session.space.parameters],
        earlier={
            stage.name: [parameter.name for parameter in stage.space.parameters]
            for stage in session.stages
        },
        pinned={pin.name: pin.reason for pin in session.space.pinned},
        warnings=[
            *session.space.warnings,
            *session.plan.idle,
            *filter(None, [session.plan.warning, session.disk_warning(probe, expected)]),
            *filter(None, [seed_warning(session.study, session.plan, session.slots.count)]),
            *([_hopeless(session.plan)] if expected and expected.only_default else []),
            *few_configurations(session),
            *too_short_for_stages(session, expected, probe),
            *too_short_to_confirm(session.study, session.plan.num_epochs, session.slots, probe),
        ],
        algorithm=session.plan.algorithm,
        pruner=session.plan.pruner,
        reason=session.plan.reason,
        start=list(session.plan.start),
        first=[start["source"] for start in session.plan.first],
        learned={
            **{stage.name: len(stage.plan.learned) for stage in session.stages},
            LAST: len(session.plan.learned),
        },
        budget=session.study.budget,
        epochs_per_trial=session.plan.num_epochs,
        concurrent=session.slots.count,
        cpus_per_trial=session.slots.cpus,
        gpus_per_trial=session.slots.gpus,
        packing=asdict(packing) if packing else None,
        probe=probe,
        estimate_s=expected.seconds if expected else session.study.budget.seconds_on(gpus),
        forecast=expected,
        prepared_in_s=round(time.monotonic() - began, 2),
    )


def _hopeless(plan: StudyPlan) -> str:
    """Say that a budget ends before a first trial has climbed to the last epoch."""
    return (
        f"budget: it ends before {plan.algorithm} lets any trial but the default come to its last "
        "epoch, and the best is chosen among those that do; give a larger one, fewer epochs, or an "
        "algorithm whose trials run on, such as tpe"
    )


def few_configurations(session: Reviewed) -> Iterator[str]:
    """Say that a budget of trials is larger than the space."""
    trials, space = session.study.budget.trials, session.space
    if trials is None or session.stages:
        return
    most = min(trials, MOST_COUNTED)
    count = sum(1 for _ in islice(space.points(random.Random(0)), most))
    if 0 < count < most:
        yield (
            f"budget: there are no more than {count_of(count, 'configuration')} in the search "
            f"space; none is tried twice, so fewer than the {trials} trials of the budget may come"
        )


def too_short_for_stages(
    session: Reviewed, expected: Forecast | None, probe: Mapping[str, Any]
) -> Iterator[str]:
    """Say that a stage is skipped, as the default takes too much of the budget."""
    has_begun = any(trial.number for trial in session.ledger.trials())
    if not session.stages or expected is None or expected.earlier or has_begun:
        return
    stage, study = session.stages[-1], session.study
    searched = {parameter.name for parameter in session.space.parameters}
    lost = [p.name for p in stage.space.parameters if p.name not in searched]
    training = {"trials": 1, **_training(session.plan.num_epochs, session.slots, probe)}
    own = 1 - CONFIRM_SHARE if study.search.confirm else 1.0
    needed = {name: math.ceil(SPARE * cost / LATEST / own) for name, cost in training.items()}
    larger = study.budget.mapped(lambda name, limit: max(limit, needed[name]))
    yield (
        f"stages: {stage.name} will be skipped, as the default configuration takes {LATEST:.0%} of "
        f"the budget or more, and what they search ({', '.join(lost)}) keeps its default; give "
        f"--budget {larger.to_text()} or more, or --stages none"
    )


def _training(num_epochs: int, slots: Slots, probe: Mapping[str, Any]) -> dict[str, float]:
    """What a training in full takes of each limit."""
    seconds = sum(epoch_times(probe, num_epochs))
    return {"epochs": num_epochs, "seconds": seconds, "gpu_seconds": seconds * slots.gpus}


def too_short_to_confirm(
    study: StudySpec, num_epochs: int, slots: Slots, probe: Mapping[str, Any]
) -> Iterator[str]:
    """Say that the share of a budget that repeats may take holds none of them."""
    training = _training(num_epochs, slots, probe)
    larger = confirming_budget(study.budget, training, slots.count)
    if study.search.confirm and larger is not None:
        yield (
            f"confirm: a training in full takes more than the {CONFIRM_SHARE:.0%} of the budget "
            "that are kept for repeats, so the search has it all and probably nothing is trained "
            f"again; give --budget {larger.to_text()} or more, or a budget of trials"
        )


def seed_warning(study: StudySpec, plan: StudyPlan, slots: int) -> str:
    """Say that a named seed does not bring the same search again; empty where it may."""
    if study.search.seed is None or slots == 1 or plan.route_style is not None:
        return ""
    return (
        f"seed: {slots} trials run at a time, and what is tried next depends on which of them ends "
        "first; for the same search again give --concurrent 1, and a budget of trials or epochs"
    )


def look_at_data(trainer: Trainer, plan: StudyPlan) -> dict[str, Any]:
    """What the trainer says of the pictures, and of the test pictures that wait for the end."""
    data, held_out = trainer.inspect_data(plan.base_spec), held_out_sources(plan.sources)
    if held_out is None:
        return data
    look: Callable[..., dict[str, Any]] = trainer.inspect_data
    is_compared = takes(look, "beside")
    if is_compared:
        look = partial(look, beside=plan.base_spec)
    waiting = look(merged(plan.base_spec, nest(trainer.data_overrides(held_out))))
    splits = dict(data.get("splits", {}))
    if "query" in waiting.get("splits", {}):
        splits["test"] = waiting["splits"]["query"]
    own = waiting.get("findings") if is_compared else None
    return {**data, "splits": splits, "findings": [*(data.get("findings") or ()), *(own or ())]}


def share_of(data: Mapping[str, Any]) -> float | None:
    """Of how many pictures the metric is a share, where the trainer tells a number that can be."""
    told = data.get("share_of")
    return told if is_number(told) and told > 0 else None


def _foresee(session: Reviewed, probe: Mapping[str, Any]) -> Forecast | None:
    """Rehearse what is left of a search; one that cannot be rehearsed goes on without."""
    try:
        return forecast(
            session.study, session.plan, session.space, session.trainer, session.slots,
            spent=session.spent_before, begun=session.ledger, probe=probe,
        )  # fmt: skip
    except Exception as error:
        logger.warning(
            "how long it takes could not be estimated: %s: %s", type(error).__name__, error
        )
        logger.debug("the traceback", exc_info=True)
        return None


def count_staying(
    study: StudySpec,
    spent: Spent,
    expected: Forecast | None,
    architectures: Sequence[Mapping[str, Any]] = (),
) -> int:
    """Trials whose checkpoints will be on disk at a time, beside those that train.

    Args:
        study: how many trials there will be, and whose checkpoints stay.
        spent: what earlier starts have used; their checkpoints are on disk already.
        expected: what is left of the search, where it could be foreseen.
        architectures: those that are searched, with what they cost.
    """
    confirm, planned = study.search.confirm, study.budget.trials
    repeats = REPEATS * (confirm + 1) if confirm else 0
    if study.keep == ALL and expected is not None:
        return max(1, expected.trials + expected.earlier) + repeats
    if study.keep == ALL and planned is not None:
        return max(1, planned - spent.trials) + repeats
    # The winner and the default, the others near it, and the best of other architectures.
    near = NEAR if study.search.average else 0
    chosen = 2 + max(0, confirm - 1, near) + max(0, len(architectures) - 1)
    starts, earlier = (expected.start_points, expected.earlier) if expected else (0, 0)
    return chosen + repeats + starts + min(chosen, earlier)  # each with its parent


def disk_warning(keep: str, left: Left, checkpoint_bytes: int, files: int) -> str:
    """Say that checkpoints may find no room; empty while they will, or nothing is known of them.

    Args:
        keep: `best` or `all`.
        left: what may still be written.
        checkpoint_bytes: of one checkpoint, as the probe found it.
        files: checkpoints at a time.
    """
    needed = SPARE_BYTES + checkpoint_bytes * files
    if not checkpoint_bytes or left.bytes >= needed:
        return ""
    helps = "make room or give --keep best" if keep == ALL else "make room"
    return (
        f"disk: {left.words}, and checkpoints of {render_bytes(checkpoint_bytes)} each will take "
        f"up to {render_bytes(needed)} (--keep {keep}); {helps}, or the search will wait for room"
    )
