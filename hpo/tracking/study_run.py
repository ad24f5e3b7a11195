"""Writes the parent run of a study: summary, progress, description, prepared view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.core.trial import TrialRecord
from hpo.tracking import rows, summary
from hpo.tracking.registry import register_winner
from hpo.tracking.rows import Study
from hpo.tracking.store import find_runs, log, steps_of
from hpo.tracking.view import VIEW_TAG, view_id, view_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_STUDY_FILES = ("study.yaml", "report.html", "best/spec.yaml", "best/report.json")


class StudyRun:
    """The parent run.

    Example: `StudyRun(client, study, experiment_id, began)` finds or creates it; `write(records,
    "running", "RUNNING", now)` as often as there is news; `write_files()`; `write(records,
    "finished", "FINISHED", now)`.
    """

    def __init__(
        self, client: MlflowClient, study: Study, experiment_id: str, began: float
    ) -> None:
        self._client = client
        self._study = study
        self._experiment_id = experiment_id
        self._status = "RUNNING"
        self._params: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._steps: set[int] = set()
        self._files: dict[str, int] = {}
        self._view = ""
        found = list(find_runs(client, experiment_id, study.uuid, rows.STUDY_ROLE))
        self.run_id = self._adopt(found[0]) if found else self._create(began)
        self._write_summary()

    def write(self, records: list[TrialRecord], state: str, status: str, now: float) -> None:
        """Bring the run up to date.

        Args:
            records: all trials.
            state: the search's state in words.
            status: the same as MLflow calls it.
            now: unix time, which becomes the end time when the state is final.
        """
        study = self._study
        points = summary.progress(records, study.metric, study.direction, self._steps)
        tags = {rows.STATE_TAG: state, rows.NOTE_TAG: summary.describe(study, records, state)}
        changed = {k: v for k, v in tags.items() if self._tags.get(k) != v}
        log(self._client, self.run_id, points=points, tags=changed)
        self._steps |= {p.step for p in points}
        self._tags |= changed
        self._write_view(records)
        if status != self._status:
            if status == "RUNNING":
                self._client.update_run(self.run_id, status=status)
            else:
                self._client.set_terminated(self.run_id, status, rows.milliseconds(now))
            self._status = status

    def write_files(self) -> None:
        """Add the study's files that are new or have changed."""
        for name in _STUDY_FILES:
            path = self._study.run.path / name
            if not path.is_file():
                continue
            stamp = path.stat().st_mtime_ns
            if self._files.get(name) != stamp:
                place = None if path.parent == self._study.run.path else path.parent.name
                self._client.log_artifact(self.run_id, str(path), place)
                self._files[name] = stamp

    def register_winner(self) -> None:
        """Put the exported winner into the model registry, where it has changed."""
        number = register_winner(self._client, self._study, self.run_id)
        if number is not None and self._tags.get(rows.MODEL_TAG) != number:
            log(self._client, self.run_id, tags={rows.MODEL_TAG: number})
            self._tags[rows.MODEL_TAG] = number

    def _adopt(self, run: Run) -> str:
        self._params = dict(run.data.params)
        self._tags = dict(run.data.tags)
        self._status = str(run.info.status)
        self._steps = steps_of(self._client, run.info.run_id, summary.STEPS_METRIC)
        return str(run.info.run_id)

    def _create(self, began: float) -> str:
        run = self._study.run
        created = self._client.create_run(
            self._experiment_id,
            start_time=rows.milliseconds(began),
            run_name=f"search {run.home.name}",
            tags={
                **rows.SOURCE_TAGS,
                rows.STUDY_TAG: self._study.uuid,
                rows.ROLE_TAG: rows.STUDY_ROLE,
                rows.RUN_TAG: run.label,
            },
        )
        return str(created.info.run_id)

    def _write_summary(self) -> None:
        """Log the summary as params; what a resume has changed goes to tags: params are final."""
        texts = rows.texts(self._study.summary)
        fresh = {k: v for k, v in texts.items() if k not in self._params}
        changed = {f"hpo.{k}": v for k, v in texts.items() if self._params.get(k, v) != v}
        log(self._client, self.run_id, params=fresh, tags=changed)
        self._params |= fresh

    def _write_view(self, records: list[TrialRecord]) -> None:
        value = view_tag(self._study, records)
        if value != self._view:
            key = VIEW_TAG + view_id(self._study.uuid)
            self._client.set_experiment_tag(self._experiment_id, key, value)
            self._view = value
