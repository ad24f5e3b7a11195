"""Runs an action once without a search, as a job."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.spec_dicts import flatten
from hpo.jobs.compose_spec import JobRequest
from hpo.jobs.job import Job
from hpo.jobs.platform import LocalJobs
from hpo.study.overrides import WHERE
from hpo.study.skill import Skill


def run_directly(
    skill: Skill,
    action: str,
    *,
    root: Path,
    overrides: Mapping[str, Any],
    roots: Mapping[str, str],
    base_checkpoint: str = "",
    parent_job_id: str = "",
    review_only: bool = False,
) -> Job:
    """Run an action of a skill once, its output on stderr.

    Args:
        skill: the folder.
        action: such as `train`.
        root: the job lies in `<root>/results/<job_id>/`.
        overrides: dotted, nested or short spec keys.
        roots: data roots by name.
        base_checkpoint: weights to start from.
        parent_job_id: what the action starts from.
        review_only: make the spec, start nothing and leave nothing behind.

    Raises:
        HpoError: one line about what is wrong, before anything is started.
    """
    jobs = LocalJobs(root, skill.path)
    request = JobRequest(
        action=action, overrides=flatten(skill.expand(overrides, WHERE)), roots=roots
    )
    job = jobs.prepare_job(request, base_checkpoint=base_checkpoint, parent_job_id=parent_job_id)
    if review_only:
        shutil.rmtree(job.folder)
        return job
    return jobs.run(job, _echo)


def _echo(_stream: str, line: str) -> None:
    sys.stderr.write(line + "\n")
