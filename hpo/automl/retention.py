"""Decides which checkpoints and artifacts of platform jobs are kept.

Inside a job its own spec says how many checkpoints are kept; after each result the artifacts of
jobs that nothing can need any more are deleted by the platform.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from hpo.automl.active_jobs import DELETED, ArtifactJobs
from hpo.automl.errors import AutoMLError
from hpo.automl.outcome import front_of_trials
from hpo.automl.sdk import Platform, attempt
from hpo.automl.workspace import WorkspaceFacts
from hpo.core.events import Event, TrialEnded
from hpo.core.spec_dicts import flatten, merged, nest, value_at
from hpo.core.trial import TrialState
from hpo.run import checkpoint_retention
from hpo.run.ledger import Ledger

logger = logging.getLogger(__name__)

KEEP_ALL = ("hybrid", "pbt")
"""Algorithms that may come back to every success."""
_CHECKPOINTER = "train.checkpointer"
INTERVAL, UNIT = "train.checkpoint_interval", "train.checkpoint_interval_unit"


def is_on(facts: WorkspaceFacts, platform: Platform | None) -> bool:
    """Whether artifacts are deleted: by default on a platform that can, and not on this machine."""
    if facts.delete_intermediate is not None:
        return facts.delete_intermediate
    return _can_delete(platform)


def _can_delete(platform: Platform | None) -> bool:
    """Whether a platform can delete what a job has left."""
    return getattr(platform, "delete_job_artifacts", None) is not None


def demand_deletion(
    facts: WorkspaceFacts, platform: Platform, arguments: Mapping[str, Any]
) -> None:
    """Refuse, before the first job, a retention that a platform cannot carry out.

    Raises:
        AutoMLError: when it was asked for and the platform cannot delete.
        Exception: whatever the platform's own `validate_artifact_retention` raises.
    """
    if not is_on(facts, platform):
        return
    if not _can_delete(platform):
        raise AutoMLError(
            f"automl_delete_intermediate_ckpt: {type(platform).__name__} cannot delete what jobs "
            "have left (no delete_job_artifacts); leave it out"
        )
    validate = getattr(platform, "validate_artifact_retention", None)
    if validate is not None:
        validate(**arguments)


def keep_few(
    spec: Mapping[str, Any],
    facts: WorkspaceFacts,
    known: Collection[str],
    epochs: int,
    *,
    goes_on: bool = False,
) -> dict[str, Any]:
    """Change a spec so that its job keeps one checkpoint, or two where another job may go on.

    `best` lets the trainer's own checkpointer keep the best one; `terminal` saves the last epoch
    alone; `auto` takes the first where the spec has a checkpointer. Keys that the schema and the
    spec do not know are not added.

    Args:
        spec: of one job, nested.
        facts: for strategy, metric and direction.
        known: spec keys that are legal.
        epochs: what the job trains until.
        goes_on: whether another job may go on from its last epoch, which is then kept, too.
    """
    if facts.action != "train":
        return dict(spec)
    found = value_at(spec, _CHECKPOINTER)
    own = found if isinstance(found, Mapping) else None
    strategy = facts.retention
    if strategy == "auto":
        strategy = "best" if own is not None else "terminal"
    wanted = _best_keys(own or {}, facts) if strategy == "best" else {}
    if goes_on and wanted:
        wanted[f"{_CHECKPOINTER}.replace_periodic"] = False
    if goes_on or not wanted:
        wanted |= {INTERVAL: epochs, UNIT: "epoch"}
    legal = {*known, *flatten(spec)}
    fits = {name: value for name, value in wanted.items() if name in legal or (
        own is not None and name.startswith(f"{_CHECKPOINTER}.")
    )}  # fmt: skip
    return merged(spec, nest(fits))


def _best_keys(own: Mapping[str, Any], facts: WorkspaceFacts) -> dict[str, Any]:
    wanted: dict[str, Any] = {"enable_topk": True, "replace_periodic": True, "save_top_k": 1}
    if not own.get("monitor"):
        wanted["monitor"] = facts.metric
    if not own.get("mode"):
        wanted["mode"] = "max" if facts.direction == "maximize" else "min"
    return {f"{_CHECKPOINTER}.{name}": value for name, value in wanted.items()}


def needed_trials(
    ledger: Ledger, facts: WorkspaceFacts, algorithm: object, *, name: str, confirm: int
) -> set[int]:
    """Trials whose checkpoints are still needed; whatever deletes some asks here.

    Args:
        ledger: the study.
        facts: of the workspace.
        algorithm: may start trials from others.
        name: of the algorithm.
        confirm: how many finalists are trained again.
    """
    trials, direction = ledger.trials(), ledger.direction
    needed = checkpoint_retention.needed_trials(
        trials,
        direction,
        confirm=confirm,
        start_points=checkpoint_retention.start_points_of(algorithm),
        compared=lambda _repeat: True,  # nothing of a repeat is looked at but its value
        also=lambda some: front_of_trials(some, direction, facts),
        compares_default=False,
    )
    if name in KEEP_ALL:
        needed |= {t.number for t in trials if t.state is not TrialState.FAILED}
    return needed


class ArtifactCleaner:
    """Deletes what losing jobs have left, after each result; implements a listener.

    Args:
        platform: that deletes.
        artifacts: the record of what was deleted.
        ledger: the study.
        job_of: a trial's job id and folder.
        needed: trials whose artifacts are still needed.
    """

    def __init__(
        self,
        platform: Platform,
        artifacts: ArtifactJobs,
        ledger: Ledger,
        job_of: Callable[[int], tuple[str, str]],
        needed: Callable[[], Collection[int]],
    ) -> None:
        self._platform, self._artifacts, self._ledger = platform, artifacts, ledger
        self._job_of, self._needed = job_of, needed
        self._has_warned = False

    def handle(self, event: Event) -> None:
        """Delete what is no longer needed once a trial has ended."""
        if isinstance(event, TrialEnded):
            self.sweep()

    def close(self) -> None:
        """Nothing is held."""

    def sweep(self) -> None:
        """Delete the artifacts of every ended job that nothing can need."""
        running = {t.number for t in self._ledger.trials() if not t.state.is_finished}
        needed = {*self._needed()}
        if lost := sorted(n for n in needed - running if not self._job_of(n)[0]):
            self._warn(lost)
            return
        # By ids: a platform may give that of an old job to a new one, and a trial whose job was
        # lost has had several.
        kept = {self._job_of(number)[0] for number in needed | running}
        for job_id, state in list(self._artifacts.states.items()):
            if state != DELETED and job_id not in kept:
                self._delete(job_id)

    def _warn(self, lost: list[int]) -> None:
        """Say once that nothing is deleted: any job may be that of a trial that is needed."""
        if not self._has_warned:
            numbers = ", ".join(map(str, lost))
            why = "which jobs these trials were is no longer known"
            logger.warning("no artifacts of jobs are deleted: %s: %s", why, numbers)
        self._has_warned = True

    def _delete(self, job_id: str) -> None:
        delete = self._platform.delete_job_artifacts  # type: ignore[attr-defined]
        answer, error = attempt(delete, job_id)
        if error is not None:
            logger.warning("job %s: its artifacts cannot be deleted: %s", job_id, error)
        elif answer is True:
            self._artifacts.put(job_id, DELETED)
