"""Shows what a search would do without starting it: review, first batch, time, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo.core.asking import ask
from hpo.core.budget import Budget
from hpo.core.events import Review
from hpo.core.forecast import Forecast
from hpo.core.own_folder import scratch_folder
from hpo.core.protocols import Executor
from hpo.searching.forecast import forecast
from hpo.searching.session import Session, start_search
from hpo.searching.settings import SearchSettings
from hpo.study.spec import StudySpec

HEADROOM = 0.9
"""Share of a card's memory that trials may fill."""


@dataclass(frozen=True, kw_only=True)
class DryRun(Review):
    """What a search would do, beyond its review."""

    first_batch: Sequence[Mapping[str, Any]]
    """`trial` and `params` of the configurations that would be trained first."""
    with_twice_the_slots: Forecast | None
    """None where none can be made."""
    batch_in_memory: int | None
    """The largest batch that the measured memory allows on a GPU."""


def plan_search(study: StudySpec, settings: SearchSettings) -> DryRun:
    """Prepare a search up to the moment before its first trial and return its review.

    Pictures are looked at and decoded as the search would (what is decoded stays in the cache), an
    epoch is measured, and no run directory is left behind.

    Raises:
        HpoError: for anything that would keep the search from starting.
    """
    kept: list[DryRun] = []

    class Planned(Session):
        """A session that ends where the first trial would start."""

        def disk_warning(self, probe: Mapping[str, Any], expected: Forecast | None) -> str:
            """None: this folder goes away, and another one will hold the checkpoints."""
            del probe, expected
            return ""

        def confirm_review(self, review: Review, executor: Executor) -> bool:
            del executor
            found = DryRun(
                **vars(review),
                first_batch=_first_batch(self),
                with_twice_the_slots=_with_more_slots(self, review.probe),
                batch_in_memory=_batch_in_memory(self, review.probe),
            )
            kept.append(found)
            return False

    with scratch_folder("hpo-plan") as folder:
        start_search(
            study, folder, replace(settings, make_session=Planned, report=False, completes=True)
        )
    return kept[0]


def _first_batch(session: Session) -> list[dict[str, Any]]:
    """Ask a fresh algorithm, with the search's own seed, for what it would propose first."""
    algorithm = session.make_algorithm()
    most = session.study.budget.trials or session.slots.count
    batch = []
    for number in range(min(session.slots.count, most)):
        suggestion = ask(algorithm, number)
        if suggestion is None:
            break
        batch.append({"trial": number, "params": dict(suggestion.params)})
    return batch


def _with_more_slots(session: Session, probe: Mapping[str, Any]) -> Forecast | None:
    """Rehearse with twice as many trials at a time, on twice the hardware."""
    slots = session.slots
    doubled = replace(
        slots,
        count=2 * slots.count,
        total_cpus=2 * slots.total_cpus,
        total_gpus=2 * slots.total_gpus,
    )
    return forecast(
        session.study, session.plan, session.space, session.trainer, doubled,
        spent=session.spent_before, probe=probe,
    )  # fmt: skip


def _batch_in_memory(session: Session, probe: Mapping[str, Any]) -> int | None:
    """Scale the measured memory by the batch: activations grow with it, and most of it is those."""
    from hpo.core.spec_dicts import lookup

    total, peak = probe.get("total_memory_mib"), probe.get("peak_memory_mib")
    name = next(iter(session.trainer.multiple_of), None)
    if not total or not peak or name is None:
        return None
    batch = int(lookup(session.plan.base_spec, name))
    step = int(lookup(session.plan.base_spec, session.trainer.multiple_of[name]))
    fits = int(batch * HEADROOM * total / peak)
    return max(step, fits - fits % step)


def cost_of(review: Review, price_per_gpu_hour: float, budget: Budget) -> float | None:
    """What the GPUs of a search cost, by its forecast; None without GPUs or forecast."""
    gpus = review.gpus_per_trial * review.concurrent
    if not gpus or review.forecast is None:
        return None
    seconds = review.forecast.seconds
    if budget.gpu_seconds is not None:
        seconds = min(seconds, budget.gpu_seconds / gpus)
    return seconds * gpus / 3600 * price_per_gpu_hour
