"""The launch review of the route: what will run, on which data, for how long."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.workspace import RUNGS_STYLE, WorkspaceFacts
from hpo.core.asking import ask
from hpo.core.budget import render_seconds
from hpo.core.events import Review
from hpo.core.machine import free_memory_mib
from hpo.core.protocols import Algorithm
from hpo.executors.division import Slots
from hpo.run.ledger import Ledger
from hpo.run.replay import replay

QUICKER, SLOWER = 0.8, 1.4
"""Ends of the interval around the expected time: what a probe of a few steps is good for."""
START_S = 1.0
"""Seconds that a trial takes beside its epochs."""


@dataclass(frozen=True, kw_only=True)
class RouteReview(Review):
    """The review of a search of the route, with what the route adds to it."""

    network: str
    skill_dir: str
    platform: str
    image: str
    workspace: str
    metric: str
    direction: str
    recommendations: int | None
    """Trials in all; None where the algorithm decides."""
    data_keys: Mapping[str, Any]
    parameters: Sequence[Mapping[str, Any]]
    adjustments: Sequence[Mapping[str, Any]]
    """Values that were changed: `param`, `from`, `to`, `reason`."""
    first_batch: Sequence[Mapping[str, Any]] | None
    """Configurations that are trained first; None where an outside model proposes them."""
    expected: Mapping[str, Any]
    """`time_per_trial_s`, `total_s`, `interval_s` and `assumptions`."""
    machine: Mapping[str, Any]
    baseline: Mapping[str, Any]
    final_evaluation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long the search will take, as far as can be said before it."""

    per_trial_s: float | None = None
    total_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    assumptions: str = "no epoch could be measured here, so the first trial will tell"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "time_per_trial_s": self.per_trial_s,
            "total_s": self.total_s,
            "interval_s": None if self.low_s is None else [self.low_s, self.high_s],
            "assumptions": self.assumptions,
        }


def estimate(
    facts: WorkspaceFacts,
    options: Mapping[str, Any],
    *,
    seconds_per_epoch: float | None,
    num_epochs: int,
    slots: int,
    done: int = 0,
) -> Estimate:
    """Say how long trials and search take.

    Args:
        facts: for the number of trials.
        options: of the algorithm; brackets tell how many epochs are trained in all.
        seconds_per_epoch: as the probe measured it; None where it could not.
        num_epochs: length of a full trial.
        slots: trials at a time.
        done: trials that have ended already.
    """
    if not seconds_per_epoch:
        return Estimate()
    per_trial = num_epochs * seconds_per_epoch + START_S
    if facts.total is None:
        return Estimate(
            per_trial_s=round(per_trial, 1),
            assumptions="the algorithm decides by itself how many trials there are",
        )
    left = max(0, facts.total - done)
    share = _share_of_epochs(facts, options, num_epochs)
    total = left * (share * num_epochs * seconds_per_epoch + START_S) / min(slots, max(1, left))
    words = f"{seconds_per_epoch:.2g} s an epoch as the probe measured it, {slots} at a time"
    if share < 1.0:
        words += f", brackets train {share:.0%} of the epochs"
    return Estimate(
        per_trial_s=round(per_trial, 1),
        total_s=round(total, 1),
        low_s=round(QUICKER * total, 1),
        high_s=round(SLOWER * total, 1),
        assumptions=words,
    )


def _share_of_epochs(facts: WorkspaceFacts, options: Mapping[str, Any], num_epochs: int) -> float:
    """Epochs that are trained, of those that as many full trials would take."""
    if "rounds" not in options:
        return 1.0
    from hpo.algorithms.brackets import hyperband_brackets

    brackets = hyperband_brackets(
        num_epochs, int(options.get("epoch_multiplier") or 1), int(options["reduction_factor"])
    )
    trained = trials = 0
    for bracket in brackets:
        steps = [b - a for a, b in zip((0, *bracket.rungs), bracket.rungs, strict=False)]
        trained += sum(size * step for size, step in zip(bracket.sizes, steps, strict=True))
        trials += sum(bracket.sizes) if facts.style == RUNGS_STYLE else bracket.sizes[0]
    return min(1.0, trained / (trials * num_epochs))


def first_batch(algorithm: Algorithm, ledger: Ledger, count: int) -> list[dict[str, Any]]:
    """The configurations that will be trained first, exactly; nothing is started.

    Trials that were cut off come first, then what the algorithm proposes after all it has heard.

    Args:
        algorithm: a fresh one, which is used up.
        ledger: what has happened so far.
        count: trials at a time.
    """
    waiting = [t for t in ledger.trials() if not t.state.is_finished and t.purpose == "search"]
    batch = [
        {"rec_id": t.number, "specs": dict(t.params), "goes_on_from_epoch": t.epochs}
        for t in waiting
    ]
    replay(algorithm, ledger)
    number = ledger.next_number
    while len(batch) < count:
        suggestion = ask(algorithm, number)
        if suggestion is None:
            break
        batch.append({"rec_id": number, "specs": dict(suggestion.params)})
        number += 1
    return batch[:count]


def look_at_machine(folder: Path, probe: Mapping[str, Any], slots: Slots) -> dict[str, Any]:
    """Disk and memory, with a warning where they will not do."""
    free_disk = shutil.disk_usage(folder).free // 2**20
    free_memory = free_memory_mib()
    warnings = []
    if free_disk < 1024:
        warnings.append(f"{folder}: only {free_disk} MiB of disk are left for checkpoints")
    needed = float(probe.get("peak_memory_mib") or 0.0) * slots.count
    is_host = not str(probe.get("device", "cpu")).startswith("cuda")
    if is_host and free_memory is not None and needed > free_memory:
        warnings.append(
            f"{slots.count} trials at a time need about {needed:.0f} MiB, and {free_memory} MiB "
            "are free; lower --concurrent"
        )
    return {
        "free_disk_mib": free_disk,
        "free_memory_mib": free_memory,
        "needed_memory_mib": round(needed),
        "warnings": warnings,
    }


def ways_to_shorten(
    facts: WorkspaceFacts, expected: Mapping[str, Any], max_hours: float, epochs_key: str
) -> str:
    """One line for a search that would take longer than was allowed."""
    total, limit = float(expected["total_s"] or 0.0), max_hours * 3600
    share = limit / total if total else 1.0
    trials = max(1, int((facts.total or 1) * share))
    ways = [
        f"automl_max_recommendations={trials}",
        f"a smaller {epochs_key}",
        "algorithm=hyperband (most configurations are stopped early)",
        "a smaller model or image size",
    ]
    return (
        f"about {render_seconds(total)} are expected ({expected['assumptions']}), more than the "
        f"{max_hours:g} h that were allowed; shorten it with {'; or '.join(ways)}"
    )
