"""Creates a job's folder: checks and writes everything before anything starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.core.errors import RunError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import flatten, merged
from hpo.core.yaml_io import to_yaml
from hpo.jobs.compose_spec import JobRequest, choose_page, compose, results_dir_of, without
from hpo.jobs.inference import JobContext
from hpo.jobs.job import (
    COMMAND_SPEC_FILE,
    ENDED,
    PENDING,
    RESULTS,
    SPEC_FILE,
    Job,
    find_job,
    new_folder,
    read_job,
)
from hpo.jobs.pages import load_pages, pages_with
from hpo.jobs.parents import Parent, find_parent, lineage
from hpo.jobs.run_command import command_of
from hpo.study.batches import Adjusted, adjust_batch, batch_key, describe_change
from hpo.study.plan import as_user_errors
from hpo.study.skill import Skill, load_skill
from hpo.study.trainers import find_trainer, registered_trainer
from hpo.study.weights import check_weights

logger = logging.getLogger(__name__)

DEFAULT_NETWORK = "ml_recog"
_NEW_KEY = {
    True: "not in the schema; kept in the spec, without effect: the trainer has no such key",
    False: "not in the schema; passed on to the trainer as given",
}
"""Whether a trainer is registered, so that its keys are known -> what becomes of others."""


class JobMaker:
    """Makes jobs below one root.

    Args:
        root: jobs lie in `<root>/results/<job_id>/`.
        skill_dir: the skill whose actions are run; None takes the parent's, else that of the
            registered recognition trainer.
    """

    def __init__(self, root: Path | str = ".", skill_dir: Path | str | None = None) -> None:
        self.root = Path(root).absolute()
        self.skill_dir = None if skill_dir is None else Path(skill_dir).absolute()

    def prepare_job(
        self,
        request: JobRequest,
        *,
        parent_job_id: str = "",
        job_id: str = "",
        checkpoint: str | int = "best_model",
        base_checkpoint: str = "",
    ) -> Job:
        """Make a job's folder with its full spec; nothing is started.

        Args:
            request: action, overrides, roots.
            parent_job_id: job, run or path that the job starts from.
            job_id: the new job's id; the next free `<action>-<n>` where empty.
            checkpoint: which checkpoint of the parent: `best_model`, `latest_model` or an epoch.
            base_checkpoint: weights that a training starts from.

        Raises:
            HpoError: one line about what is wrong; no folder is left behind then.
        """
        parent = find_parent(self.root, parent_job_id) if parent_job_id else None
        pages = load_pages(self._skill_of(parent))
        fitting = pages_with(pages, request.action)
        with new_folder(self.root, request.action, job_id) as folder:
            context = JobContext(
                results_dir=folder,
                parent=parent,
                checkpoint=checkpoint,
                base_checkpoint=_absolute_file(base_checkpoint),
            )
            page = choose_page(fitting, request, context)
            job = Job(
                id=folder.name,
                action=request.action,
                skill_dir=str(pages[0].path),
                folder=folder,
                network_arch=page.network_arch,
                parent_job_id=self._lasting(parent),
                checkpoint=checkpoint,
                base_checkpoint=context.base_checkpoint,
                page=pages.index(page),
                created=time.time(),
            )
            return self._write(job, page, request, context)

    def prepare_resume(self, job_id: str, overrides: Mapping[str, Any] | None = None) -> Job:
        """Make a job that has ended ready to run again in its folder, from its own newest state.

        Args:
            job_id: a training that ended early, or one that is to go on further.
            overrides: spec keys to change, such as `train.num_epochs`.

        Raises:
            RunError: when it is still running.
        """
        job = find_job(self.root, job_id)
        if job.status not in ENDED:
            raise RunError(f"{job_id}: is {job.status}; only a job that has ended can be resumed")
        page = load_pages(Path(job.skill_dir))[job.page]
        base = without(job.spec(), job.inferred)  # which is found anew
        request = JobRequest(
            action=job.action, overrides=overrides or {}, roots=job.roots, base=base
        )
        parent = find_parent(self.root, job.parent_job_id) if job.parent_job_id else None
        context = JobContext(
            results_dir=job.results_dir,
            parent=parent,
            checkpoint=job.checkpoint,
            base_checkpoint=job.base_checkpoint,
            is_resumed=True,
        )
        return self._write(
            replace(job, status=PENDING, created=time.time()), page, request, context
        )

    def find_page(self, action: str, job_id: str = "") -> Skill:
        """The page that knows an action, of the skill of a job or of this maker's own.

        Raises:
            HpoError: when there is no such job, or no such action.
        """
        parent = find_parent(self.root, job_id) if job_id else None
        return pages_with(load_pages(self._skill_of(parent)), action)[0]

    def _skill_of(self, parent: Parent | None) -> Path:
        if self.skill_dir is not None:
            return self.skill_dir
        return parent.skill_dir if parent else find_trainer(DEFAULT_NETWORK).skill_dir

    def _lasting(self, parent: Parent | None) -> str:
        """What the same parent is found by from any working folder, and after later searches."""
        if parent is None:
            return ""
        is_sibling = parent.place.parent == self.root / RESULTS
        return parent.place.name if is_sibling else str(parent.place)

    def _write(self, job: Job, page: Skill, request: JobRequest, context: JobContext) -> Job:
        trainer = registered_trainer(page.network_arch)
        also = None if trainer is None else load_skill(trainer.skill_dir).known_spec(request.action)
        line = list(lineage(context.parent))
        composed = compose(page, request, context, line, also)
        spec, found = composed.spec, Adjusted()
        if trainer is not None and request.action == "train":
            known = without(spec, composed.new)
            with as_user_errors():
                found = _adjusted(trainer, page, request, known, is_resumed=context.is_resumed)
                spec = merged(spec, found.values)
                trainer.validate(without(spec, composed.new))
        job = replace(
            job,
            command=_command(job, page, request.action, spec, composed.new if trainer else ()),
            own_results_dir=results_dir_of(spec, request.action, job.folder),
            roots=composed.roots,
            inferred=composed.inferred,
            adjustments=list(found.records),
        )
        for key in composed.new:
            logger.warning("%s: %s", key, _NEW_KEY[trainer is not None])
        for record in found.records:
            logger.warning("%s", describe_change(record))
        job.save()
        return read_job(job.folder)


def _command(
    job: Job, page: Skill, action: str, spec: Mapping[str, Any], unknown: tuple[str, ...]
) -> list[str]:
    """Write the spec, and return the command on it; a trainer sees only the keys that it has."""
    file = job.folder / SPEC_FILE
    file.write_text(to_yaml(spec), encoding="utf-8")
    if unknown:
        file = job.folder / COMMAND_SPEC_FILE
        file.write_text(to_yaml(without(spec, unknown)), encoding="utf-8")
    return command_of(page.command(action), file)


def _adjusted(
    trainer: Trainer, page: Skill, request: JobRequest, spec: Mapping[str, Any], *, is_resumed: bool
) -> Adjusted:
    """Fit a batch that nobody chose to the data, as a search does."""
    if is_resumed:
        return Adjusted()
    full = trainer.validate(spec)
    key = batch_key(page)
    return adjust_batch(
        full,
        key,
        multiple_of=trainer.multiple_of,
        limit=trainer.limits(full).get(key, (None, None)),
        explicit=set(flatten(page.expand(request.overrides))),
    )


def _absolute_file(text: str) -> str:
    """Local weights by absolute path; addresses and several joined by commas stay as they are.

    Raises:
        SpecError: when a local file is missing.
    """
    if not text or "," in text:
        return text
    return check_weights(text, "base checkpoint", "name a file of weights")
