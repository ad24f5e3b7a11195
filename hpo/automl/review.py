"""The review of the route before a search: what will run, on which data, for how long."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.workspace import WorkspaceFacts
from hpo.core.asking import ask
from hpo.core.budget import render_seconds
from hpo.core.events import Review
from hpo.core.forecast import Forecast
from hpo.core.machine import free_memory_mib
from hpo.core.protocols import Algorithm
from hpo.core.text import count_of, shell_word
from hpo.core.trial import TrialRecord
from hpo.executors.division import Slots
from hpo.run.ledger import Ledger
from hpo.run.replay import replay
from hpo.searching.rehearsal import TRIAL_START_S

NOT_CONFIRMED, REVIEW_ONLY = "not confirmed", "review only"
"""Why a review ended a search that nothing was wrong with."""


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


def describe_time(
    forecast: Forecast | None,
    *,
    seconds_per_epoch: float | None,
    num_epochs: int,
    slots: int,
) -> dict[str, Any]:
    """Say how long trials and search take, and what that rests on.

    Args:
        forecast: as `hpo.searching.forecast` made it; None where it could not.
        seconds_per_epoch: as the probe measured it; None where it could not.
        num_epochs: length of a full trial.
        slots: trials at a time.
    """
    per_trial = None
    words = "no epoch could be measured here, so the first trial will tell"
    if seconds_per_epoch:
        per_trial = round(num_epochs * seconds_per_epoch + TRIAL_START_S, 1)
        words = f"{seconds_per_epoch:.2g} s an epoch as the probe measured it, {slots} at a time"
        words += (
            f"; simulated: {count_of(forecast.epochs, 'epoch')} in all"
            if forecast
            else "; the algorithm decides by itself how many trials there are"
        )
    return {
        "time_per_trial_s": per_trial,
        "total_s": round(forecast.seconds, 1) if forecast else None,
        "interval_s": [round(forecast.low_s, 1), round(forecast.high_s, 1)] if forecast else None,
        "assumptions": words,
    }


def first_batch(algorithm: Algorithm, ledger: Ledger, count: int) -> list[dict[str, Any]]:
    """The configurations that will be trained first, exactly; nothing is started.

    Trials that were cut off come first, then what the algorithm proposes after all reports so far.

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
            f"about {needed:.0f} MiB are needed for {count_of(slots.count, 'trial')} at a time, "
            f"and {free_memory} MiB are free; lower automl_max_concurrent "
            "(`--settings automl_max_concurrent=N`)"
        )
    return {
        "free_disk_mib": free_disk,
        "free_memory_mib": free_memory,
        "needed_memory_mib": round(needed),
        "warnings": warnings,
    }


def ways_without_baseline(facts: WorkspaceFacts, place: Path, baseline: Mapping[str, Any]) -> str:
    """One line for a start that could not be evaluated."""
    ways = "accept_no_baseline=True"
    if not facts.platform:
        command = f"hpo automl --skill-dir {shell_word(facts.skill_dir)}"
        ways = f"`{command} --resume {shell_word(place)} --no-baseline` ({ways} from Python)"
    return (
        f"the baseline ({baseline['label']}) could not be evaluated: {baseline['reason']}; "
        f"mend that, or go on without one: {ways}"
    )


def ways_to_shorten(
    facts: WorkspaceFacts,
    trials: Sequence[TrialRecord],
    expected: Mapping[str, Any],
    max_hours: float,
    epochs_key: str,
) -> str:
    """One line for a search that would take longer than was allowed, with its trials so far."""
    done = sum(t.is_counted and t.state.is_finished for t in trials)
    total, limit = float(expected["total_s"] or 0.0), max_hours * 3600
    share = limit / total if total else 1.0
    left = 0 if facts.total is None else int((facts.total - done) * share)
    most = max(1, done + left)
    ways = [
        *([] if facts.total is None else [f"automl_max_recommendations={most}"]),
        f"a smaller {epochs_key}",
        "algorithm=hyperband (most configurations are stopped early)",
        "a smaller model or image size",
    ]
    return (
        f"about {render_seconds(total)} are expected ({expected['assumptions']}), more than the "
        f"{max_hours:g} h that were allowed; shorten it with {'; or '.join(ways)}"
    )
