"""Writes one study to MLflow: finds its runs again by their tags and adds what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo.core.rundir import RunDir
from hpo.core.trial import TrialRecord
from hpo.tracking import rows, summary
from hpo.tracking.store import connect, ensure_experiment
from hpo.tracking.view import VIEW_TAG, view_id, view_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRIAL_FILES = ("spec.yaml", "status.jsonl", "log.txt")
STUDY_FILES = ("study.yaml", "report.html", "best/spec.yaml", "best/report.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What stays the same about a mirrored study."""

    run: RunDir
    name: str
    uuid: str
    direction: str
    metric: str
    summary: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class _Child:
    """What is known to stand in MLflow about one trial."""

    run_id: str
    is_done: bool = False
    steps: set[int] | None = None
    """Epochs that have arrived; None until asked."""
    written: tuple[Any, ...] = ()
    """What `write_trial` wrote last."""
    tags: set[str] = field(default_factory=set)


class StudyWriter:
    """The runs of one study in MLflow.

    Example: `StudyWriter.open(study, uri)` -> parent run found or created;
    `write_trial(record, "running", "")` -> its child run has all epochs; called again with the same
    record nothing is sent; `write_files(record)` after its end; `write_parent(records, "running")`.
    """

    def __init__(self, client: MlflowClient, study: Study, experiment_id: str) -> None:
        self._client = client
        self._study = study
        self._experiment_id = experiment_id
        self._parent_id = ""
        self._parent_status = "RUNNING"
        self._parent_params: dict[str, str] = {}
        self._parent_steps: set[int] = set()
        self._parent_tags: dict[str, str] = {}
        self._view = ""
        self._files: dict[str, int] = {}
        self._children: dict[int, _Child] = {}

    @classmethod
    def open(cls, study: Study, tracking_uri: str) -> StudyWriter:
        """Connect, and find what a former search has written; raises whatever MLflow raises."""
        client = connect(tracking_uri)
        writer = cls(client, study, ensure_experiment(client, tracking_uri, study.name))
        writer._find_runs()
        return writer

    def write_trial(self, record: TrialRecord, state: str, reason: str) -> None:
        """Bring the child run of a trial up to date; nothing is sent when it is."""
        from mlflow.entities import Metric

        child = self._children.get(record.number) or self._create_child(record)
        facts = (state, reason, record.epochs, record.retries)
        if child.is_done or child.written == facts:
            return
        if child.steps is None:
            child.steps = self._steps_of(child.run_id, self._study.metric)
        points = rows.trial_points(record, self._study.metric, self._study.direction)
        fresh = [p for p in points if p.step not in child.steps]
        self._log(
            child.run_id,
            metrics=[Metric(p.name, p.value, p.timestamp_ms, p.step) for p in fresh],
            params=rows.texts(record.params),
            tags=rows.trial_tags(record, state, reason),
        )
        if record.state.is_finished:
            end = rows.milliseconds(record.ended or record.started)
            self._client.set_terminated(child.run_id, rows.STATUS[record.state], end)
        child.steps |= {p.step for p in fresh}
        child.written = facts

    def write_files(self, record: TrialRecord) -> None:
        """Add spec, log and receipt of an ended trial, after which it is complete."""
        child = self._children[record.number]
        if child.is_done:
            return
        folder = self._study.run.trial_dir(record.number)
        for name in TRIAL_FILES:
            if (folder / name).is_file():
                self._client.log_artifact(child.run_id, str(folder / name))
        if record.receipt is not None:
            text = json.dumps(record.receipt, indent=1, default=str)
            self._client.log_text(child.run_id, text, "receipt.json")
        self._client.set_tag(child.run_id, rows.DONE_TAG, "yes")
        child.is_done = True

    def write_parent(self, records: list[TrialRecord], state: str, status: str) -> None:
        """Bring the parent run up to date: progress, description and the prepared page.

        Args:
            records: all trials.
            state: the search's state in words.
            status: the same as MLflow calls it.
        """
        from mlflow.entities import Metric

        study = self._study
        points = summary.progress(records, study.metric, study.direction, self._parent_steps)
        tags = {rows.STATE_TAG: state, rows.NOTE_TAG: summary.describe(study, records)}
        changed = {k: v for k, v in tags.items() if self._parent_tags.get(k) != v}
        self._log(
            self._parent_id,
            metrics=[Metric(p.name, p.value, p.timestamp_ms, p.step) for p in points],
            tags=changed,
        )
        self._parent_steps |= {p.step for p in points}
        self._parent_tags |= changed
        self._write_view(records)
        if status != self._parent_status:
            if status == "RUNNING":
                self._client.update_run(self._parent_id, status=status)
            else:
                self._client.set_terminated(self._parent_id, status)
            self._parent_status = status

    def mark_winner(self, records: list[TrialRecord]) -> None:
        """Tag the winner's run, and no other."""
        best = summary.winner(records, self._study.direction)
        number = None if best is None else best.number
        for other, child in self._children.items():
            if other == number and rows.WINNER_TAG not in child.tags:
                self._client.set_tag(child.run_id, rows.WINNER_TAG, "yes")
                child.tags.add(rows.WINNER_TAG)
            elif other != number and rows.WINNER_TAG in child.tags:
                self._client.delete_tag(child.run_id, rows.WINNER_TAG)
                child.tags.remove(rows.WINNER_TAG)

    def write_study_files(self) -> None:
        """Add the study's files that are new or have changed."""
        for name in STUDY_FILES:
            path = self._study.run.path / name
            if not path.is_file() or self._files.get(name) == path.stat().st_mtime_ns:
                continue
            stamp = path.stat().st_mtime_ns
            place = None if path.parent == self._study.run.path else path.parent.name
            self._client.log_artifact(self._parent_id, str(path), place)
            self._files[name] = stamp

    # Finding and creating ----------------------------------------------------------------------

    def _find_runs(self) -> None:
        """Find parent and children; a child that a lost answer has doubled is removed."""
        self._children.clear()
        parents = list(self._search(rows.STUDY_ROLE))
        if parents:
            self._adopt_parent(parents[0])
        else:
            self._create_parent()
        for run in self._search(rows.TRIAL_ROLE):
            number = int(run.data.tags[rows.TRIAL_TAG])
            if number in self._children:
                self._client.delete_run(run.info.run_id)
                continue
            self._children[number] = _Child(
                run_id=run.info.run_id,
                is_done=rows.DONE_TAG in run.data.tags,
                tags=set(run.data.tags),
            )

    def _search(self, role: str) -> Iterable[Run]:
        """Runs of this study in a role, the oldest first."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                rows.query(self._study.uuid, role),
                order_by=["start_time ASC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _adopt_parent(self, run: Run) -> None:
        self._parent_id = run.info.run_id
        self._parent_params = dict(run.data.params)
        self._parent_steps = self._steps_of(self._parent_id, "trials_ended")
        self._parent_status = str(run.info.status)
        self._parent_tags = dict(run.data.tags)
        self._write_summary()

    def _create_parent(self) -> None:
        run = self._study.run
        created = self._client.create_run(
            self._experiment_id,
            run_name=f"search {run.path.name}",
            tags={
                rows.STUDY_TAG: self._study.uuid,
                rows.ROLE_TAG: rows.STUDY_ROLE,
                rows.RUN_TAG: rows.run_label(run),
            },
        )
        self._parent_id = created.info.run_id
        self._write_summary()

    def _write_summary(self) -> None:
        """Log the summary as params; what a resume has changed goes to tags: params are final."""
        texts = rows.texts(self._study.summary)
        fresh = {k: v for k, v in texts.items() if k not in self._parent_params}
        changed = {f"hpo.{k}": v for k, v in texts.items() if self._parent_params.get(k, v) != v}
        self._log(self._parent_id, params=fresh, tags=changed)
        self._parent_params |= fresh

    def _create_child(self, record: TrialRecord) -> _Child:
        created = self._client.create_run(
            self._experiment_id,
            start_time=rows.milliseconds(record.started),
            run_name=rows.run_name(record.number),
            tags={
                rows.STUDY_TAG: self._study.uuid,
                rows.ROLE_TAG: rows.TRIAL_ROLE,
                rows.TRIAL_TAG: f"{record.number:04d}",
                rows.PARENT_TAG: self._parent_id,
            },
        )
        child = _Child(run_id=created.info.run_id, steps=set())
        self._children[record.number] = child
        return child

    # Small things ------------------------------------------------------------------------------

    def _steps_of(self, run_id: str, name: str) -> set[int]:
        return {m.step for m in self._client.get_metric_history(run_id, name)}

    def _log(
        self,
        run_id: str,
        *,
        metrics: Iterable[Any] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Param, RunTag

        self._client.log_batch(
            run_id,
            metrics=list(metrics),
            params=[Param(k, v) for k, v in (params or {}).items()],
            tags=[RunTag(k, v) for k, v in (tags or {}).items()],
        )

    def _write_view(self, records: list[TrialRecord]) -> None:
        value = view_tag(self._study, records)
        if value != self._view:
            key = VIEW_TAG + view_id(self._study.uuid)
            self._client.set_experiment_tag(self._experiment_id, key, value)
            self._view = value
