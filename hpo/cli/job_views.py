"""Terminal output of `hpo job`: start and end of a job, the list, one job, its log."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from hpo.cli.run_flags import print_json, print_table
from hpo.core.errors import RunError
from hpo.core.text import shell_word

if TYPE_CHECKING:
    from hpo.jobs.job import Job
    from hpo.jobs.platform import LocalJobs

_MESSAGE_WIDTH = 80
"""Longer reasons are cut in the table; `hpo job status` has them whole."""


def print_start(job: Job) -> None:
    """Say what was found for the spec, so that nothing is chosen in silence."""
    from hpo.core.spec_dicts import flatten

    flat = flatten(job.spec())
    parent = f" from {job.parent_job_id}" if job.parent_job_id else ""
    print(f"{job.id}: {job.action}{parent}", file=sys.stderr)
    for name, how in job.inferred.items():
        if name != "results_dir":
            print(f"  {name} = {flat.get(name, '')}  ({how})", file=sys.stderr)


def echo(stream: str, line: str) -> None:
    """Print a line of the command where it came from."""
    print(line, file=sys.stdout if stream == "stdout" else sys.stderr, flush=True)


def print_end(job: Job) -> None:
    """Say how a job ended; id and folder are its results."""
    seconds = (job.ended or 0.0) - (job.started or 0.0)
    more = "" if job.status == "success" else f" (exit code {job.exit_code}); log: {job.log_file}"
    print(f"{job.id}: {job.status} after {seconds:.1f} s{more}", file=sys.stderr)
    print(f"job: {job.id}")
    print(f"folder: {job.folder}")


def exit_code(job: Job) -> int:
    """The code by which a command ends that has run a job."""
    if job.status == "canceled":
        return 130
    return job.exit_code if job.exit_code in (0, 1, 2) else int(job.status == "failure")


def command(args: argparse.Namespace, *words: str) -> str:
    """A command on the jobs of the same root, to be copied into a shell."""
    root = [] if args.root == "." else ["--root", shell_word(args.root)]
    return " ".join(["hpo job", *words, *root])


def show_list(jobs: LocalJobs, args: argparse.Namespace) -> int:
    """`hpo job ls`."""
    from hpo.jobs.job import list_jobs

    found = list_jobs(jobs.root)
    if args.json:
        print_json([job.to_dict() for job in found])
        return 0
    if not found:
        train = command(args, "train", "--data ROOT")
        print(f"no jobs below {jobs.root / 'results'}; `{train}` makes one")
        return 0
    rows = [
        [job.id, job.action, job.status, job.parent_job_id or "-", _age(job), _headline(job)]
        for job in found
    ]
    print_table(["JOB", "ACTION", "STATUS", "PARENT", "SECONDS", "RESULT"], rows)
    return 0


def _age(job: Job) -> str:
    if job.started is None:
        return "-"
    # A clock that was set back gives less than nothing.
    return f"{max(0.0, (job.ended or time.time()) - job.started):.0f}"


def _headline(job: Job) -> str:
    """The first figure of a result, or why there is none."""
    if text := job.message:
        return text if len(text) <= _MESSAGE_WIDTH else f"{text[:_MESSAGE_WIDTH]}..."
    numbers = [
        (k.removeprefix("metrics."), v) for k, v in job.result.items() if isinstance(v, float)
    ]
    return f"{numbers[0][0]} {numbers[0][1]:.4g}" if numbers else ""


def show_status(jobs: LocalJobs, args: argparse.Namespace) -> int:
    """`hpo job status ID`."""
    job = jobs.get_job(args.job_id)
    if args.json:
        print_json(job.to_dict())
        return 0
    rows: dict[str, Any] = {
        "job": job.id,
        "action": job.action,
        "status": job.status + (f": {job.message}" if job.message else ""),
        "parent": job.parent_job_id or "-",
        "results": job.results_dir,
        "log": job.log_file,
        **job.result,
    }
    for name, value in rows.items():
        print(f"{name:<10} {value}")
    return 0


def show_logs(jobs: LocalJobs, args: argparse.Namespace) -> int:
    """`hpo job logs ID`."""
    from hpo.study.checks import check_count

    check_count(args.tail, "--tail", least=1)
    lines = jobs.get_job_logs(args.job_id).splitlines()
    lines = lines[-args.tail :] if args.tail else lines
    if args.json:
        print_json({"job": args.job_id, "lines": lines})
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def stop(jobs: LocalJobs, args: argparse.Namespace) -> int:
    """`hpo job stop ID`."""
    from hpo.jobs.job import ENDED

    if (known := jobs.get_job(args.job_id)).status in ENDED:
        raise RunError(f"{known.id}: is not running ({known.status}), so there is nothing to stop")
    job = jobs.cancel_job(args.job_id)
    if args.json:
        print_json(job.to_dict())
    else:
        print(f"{job.id}: {job.status}")
    return 0
