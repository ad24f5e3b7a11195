"""Finds the values of a platform's job: in its log, in its files, by the caller's extractor."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hpo.automl.active_jobs import ActiveJob
from hpo.automl.artifacts import FolderValues, values_by_reader
from hpo.automl.hooks import Hooks
from hpo.automl.metrics import find_in_log
from hpo.automl.objectives import Objectives
from hpo.automl.sdk import FAILED, Platform, attempt, attempt_by_name
from hpo.run.checkpoints import choose_checkpoint
from hpo.run.plain_files import is_folder


class JobValues:
    """Finds the values of jobs.

    Args:
        platform: may read files of a job that are not on this disk.
        objectives: whose values are wanted.
        hooks: the caller's functions.
        action: that the jobs run.
    """

    def __init__(
        self, platform: Platform, objectives: Objectives, hooks: Hooks, action: str
    ) -> None:
        self._platform, self._objectives = platform, objectives
        self._hooks, self._action = hooks, action

    def read(self, active: ActiveJob, logs: str, *, is_over: bool) -> None:
        """Keep the newest values: the caller's extractor, files on this disk, the log, files."""
        names = self._objectives.names
        files = self._files(active) if is_over or active.is_local else {}
        for name in names:
            primary = name == names[0]
            places = [find_in_log(logs, name, is_primary=primary), files.get(name)]
            if active.is_local:
                places.reverse()
            places.insert(0, self._hooks.extract(logs, name))
            value = next((value for value in places if value is not None), None)
            if value is not None:
                active.values[name] = value

    def are_kept(self, active: ActiveJob, status: str) -> bool:
        """Whether a job that was ended by its log has left its values in files."""
        return status not in FAILED and not self._objectives.missing(self._files(active))

    def tell_the_end(self, active: ActiveJob) -> bool:
        """Whether a job that its platform has forgotten left its last epoch on this disk."""
        if self._hooks.eval_fn is None and self._objectives.missing(self._files(active)):
            return False
        return active.is_local and self.has_last_checkpoint(active)

    def has_last_checkpoint(self, active: ActiveJob) -> bool:
        """Whether the checkpoint of a job's last epoch is on this disk."""
        folder, length = Path(active.results_dir), active.until_epoch
        goal = self._objectives.primary
        choose = partial(choose_checkpoint, direction=goal.direction, trained=length)
        return attempt(choose, folder, length, goal.metric)[1] is None

    def _files(self, active: ActiveJob) -> dict[str, float]:
        """The values in the files of a job, on this disk or by the platform's reader."""
        names = self._objectives.names
        if active.is_local and is_folder(Path(active.results_dir)):
            active.files = active.files or FolderValues(Path(active.results_dir), names)
            return active.files.read()
        read = partial(attempt_by_name, self._platform, "read_job_result_file", active.job_id)
        return values_by_reader(lambda place: read(place)[0], names, self._action)
