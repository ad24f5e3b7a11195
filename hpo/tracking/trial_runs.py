"""Writes one MLflow child run per trial, found again by tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpo.core.trial import TrialRecord
from hpo.tracking import rows
from hpo.tracking.rows import Study
from hpo.tracking.store import find_runs, log, steps_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TRIAL_FILES = ("spec.yaml", "status.jsonl", "log.txt")


@dataclass(slots=True, kw_only=True)
class _Child:
    """What is known to stand in MLflow about one trial."""

    run_id: str
    is_done: bool = False
    """Whether everything of an ended trial has arrived."""
    steps: set[int] | None = None
    """Epochs that have arrived; None until asked."""
    written: tuple[object, ...] = ()
    """The facts that `write` wrote last."""
    tags: set[str] = field(default_factory=set)
    axes: set[str] = field(default_factory=set)
    role: str = ""


class TrialRuns:
    """One child run per trial.

    Example: `TrialRuns(client, study, experiment_id, parent_id)` asks what is there;
    `write(record, "running", "", {})` -> its run has all epochs; called again with the same record
    nothing is sent; `write_files(record)` after its end.
    """

    def __init__(
        self, client: MlflowClient, study: Study, experiment_id: str, parent_id: str
    ) -> None:
        self._client = client
        self._study = study
        self._experiment_id = experiment_id
        self._parent_id = parent_id
        self._children: dict[int, _Child] = {}
        self._find()

    def write(self, record: TrialRecord, state: str, reason: str, axes: Mapping[str, str]) -> None:
        """Bring the run of a trial up to date.

        Args:
            record: the trial.
            state: its state in words.
            reason: why it was stopped, if it was.
            axes: parameters that are shown as logarithms too, see `rows.log_axes`.
        """
        child = self._children.get(record.number) or self._create(record)
        facts = (state, reason, record.epochs, record.retries, len(axes))
        if child.written == facts:
            return
        if not child.is_done:
            self._write_progress(child, record, state, reason)
        fresh = [p for p in rows.axis_points(record, axes) if p.name not in child.axes]
        log(self._client, child.run_id, points=fresh)
        child.axes |= {p.name for p in fresh}
        child.written = facts

    def write_files(self, record: TrialRecord) -> None:
        """Add spec, log and receipt of an ended trial, after which it is complete."""
        child = self._children[record.number]
        if child.is_done:
            return
        folder = self._study.run.trial_dir(record.number)
        for name in _TRIAL_FILES:
            if (folder / name).is_file():
                self._client.log_artifact(child.run_id, str(folder / name))
        if record.receipt is not None:
            text = json.dumps(record.receipt, indent=1, default=str)
            self._client.log_text(child.run_id, text, "receipt.json")
        self._client.set_tag(child.run_id, rows.DONE_TAG, "yes")
        child.is_done = True

    def mark_roles(self, named: Mapping[int, str]) -> None:
        """Tag the winner's run, the default's and repeats, and no others."""
        for number, child in self._children.items():
            role = named.get(number, "")
            if role and role != child.role:
                self._client.set_tag(child.run_id, rows.WINNER_TAG, role)
            elif child.role and not role:
                self._client.delete_tag(child.run_id, rows.WINNER_TAG)
            child.role = role

    def _write_progress(self, child: _Child, record: TrialRecord, state: str, reason: str) -> None:
        study = self._study
        if child.steps is None:
            child.steps = steps_of(self._client, child.run_id, study.metric)
        points = rows.trial_points(record, study.metric, study.direction)
        fresh = [p for p in points if p.step not in child.steps]
        tags = rows.trial_tags(record, state, reason)
        log(
            self._client,
            child.run_id,
            points=fresh,
            params=rows.texts(record.params),
            tags=tags,
        )
        if rows.REASON_TAG in child.tags - tags.keys():  # it was suspended and has gone on
            self._client.delete_tag(child.run_id, rows.REASON_TAG)
            child.tags.remove(rows.REASON_TAG)
        child.tags |= tags.keys()
        if record.state.is_finished:
            end = rows.milliseconds(record.ended or record.started)
            self._client.set_terminated(child.run_id, rows.STATUS[record.state], end)
        child.steps |= {p.step for p in fresh}

    def _find(self) -> None:
        """Find the runs of former searches; one that a lost answer has doubled is removed."""
        for run in find_runs(self._client, self._experiment_id, self._study.uuid, rows.TRIAL_ROLE):
            number = int(run.data.tags[rows.TRIAL_TAG])
            if number in self._children:
                self._client.delete_run(run.info.run_id)
                continue
            if run.data.tags.get(rows.PARENT_TAG) != self._parent_id:
                self._client.set_tag(run.info.run_id, rows.PARENT_TAG, self._parent_id)
            self._children[number] = _Child(
                run_id=run.info.run_id,
                is_done=rows.DONE_TAG in run.data.tags,
                tags=set(run.data.tags),
                role=run.data.tags.get(rows.WINNER_TAG, ""),
                axes=set(run.data.metrics),
            )

    def _create(self, record: TrialRecord) -> _Child:
        created = self._client.create_run(
            self._experiment_id,
            start_time=rows.milliseconds(record.started),
            run_name=rows.run_name(record.number),
            tags={
                **rows.SOURCE_TAGS,
                rows.STUDY_TAG: self._study.uuid,
                rows.ROLE_TAG: rows.TRIAL_ROLE,
                rows.TRIAL_TAG: f"{record.number:04d}",
                rows.PARENT_TAG: self._parent_id,
            },
        )
        child = _Child(run_id=created.info.run_id, steps=set())
        self._children[record.number] = child
        return child
