"""`hpo job`: run one action of a skill, started from an earlier job by its id."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hpo.cli import job_views as views
from hpo.cli.run_flags import add_json_argument, add_repeatable, data_roots, print_json
from hpo.core.errors import SpecError

if TYPE_CHECKING:
    from hpo.jobs.job import Job
    from hpo.jobs.platform import LocalJobs

HELP = "run one action (evaluate, export, ...) from an earlier job or search; list jobs"
EPILOG = """\
actions are those of the skill: train, evaluate, inference, export, gen_trt_engine
verbs:
  hpo job ls                                   all jobs
  hpo job status ID, hpo job logs ID           how one stands; what it wrote
  hpo job stop ID                              ask it to end

examples:
  hpo job train --data /data/retail --set num_epochs=30
  hpo job evaluate --parent train-1            its best checkpoint, on classes it never saw
  hpo job export --parent runs/retail/20260101-120000        the best trial of a search
  hpo job gen_trt_engine --parent export-1 --set trt_data_type=INT8
  hpo job evaluate --parent gen_trt_engine-1   the engine, on the same pictures
  hpo job train --resume train-1 --set num_epochs=60

Jobs lie in <root>/results/<job_id>/ with job.json, spec.yaml and log.txt. Data come from --set,
else from a root below which the skill's table says where they lie, else from the parent.
Exit codes: those of the action: 0 done, 2 wrong input (one line), 1 a bug, 130 interrupted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "action", metavar="ACTION", help="action of the skill, or ls, status, logs, stop"
    )
    parser.add_argument("job_id", metavar="ID", nargs="?", help="job, for status, logs and stop")
    start = parser.add_argument_group("what a job starts from")
    start.add_argument("--parent", metavar="JOB", default="", help="job id, search run or folder")
    start.add_argument(
        "--checkpoint",
        metavar="WHICH",
        default="",
        help="of a training parent: best_model (default), latest_model, or an epoch",
    )
    start.add_argument("--weights", metavar="FILE", default="", help="weights to train from")
    start.add_argument(
        "--resume",
        metavar="JOB",
        default="",
        help="go on with this job itself; --set alone may change it",
    )
    data = parser.add_argument_group("data: roots that hold what the skill lists")
    data.add_argument("--data", metavar="ROOT", default="", help="root of all data (s3://, folder)")
    data.add_argument("--eval-data", metavar="ROOT", default="", help="root for evaluation")
    data.add_argument("--calibration-data", metavar="ROOT", default="", help="root for INT8")
    data.add_argument("--data-format", metavar="NAME", default="", help="must be the skill's")
    add_repeatable(
        parser,
        "--set KEY=VALUE",
        "spec key (dotted or shorthand); beats everything else; may be repeated",
    )
    parser.add_argument("--skill-dir", metavar="DIR", help="skill folder (default: the parent's)")
    parser.add_argument(
        "--root", metavar="DIR", default=".", help="jobs lie in DIR/results/ (default: here)"
    )
    parser.add_argument("--detach", action="store_true", help="start it and return at once")
    parser.add_argument("--dry-run", action="store_true", help="print the spec, start nothing")
    parser.add_argument("--tail", metavar="N", type=int, help="logs: only the last N lines")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Run an action, or look at jobs."""
    from hpo.jobs.platform import LocalJobs

    jobs = LocalJobs(args.root, args.skill_dir)
    verb = _VERBS.get(args.action)
    _refuse_unused(args)
    if verb is None:
        if args.job_id:
            raise SpecError(
                f"{args.job_id}: an action takes no job id; to start from a job, --parent "
                f"{args.job_id}"
            )
        return _run_action(jobs, args)
    if args.action != "ls" and not args.job_id:
        raise SpecError(f"{args.action}: needs a job id; `{views.command(args, 'ls')}` lists them")
    return verb(jobs, args)


def _refuse_unused(args: argparse.Namespace) -> None:
    """Refuse what is given and would have no effect."""
    where, unused = f"by `hpo job {args.action}`", ["tail"]
    if args.action in _VERBS:
        unused = ["resume", *_OF_NEW_JOBS, "set", "detach"]
        unused += {"ls": ["job_id", "tail"], "logs": []}.get(args.action, ["tail"])
    elif args.resume:
        where, unused = "with --resume", [*_OF_NEW_JOBS, "tail"]
    elif args.dry_run:
        where, unused = "with --dry-run, which starts nothing", ["detach", "tail"]
    given = [name for name in unused if getattr(args, name)]
    flags = ["ID" if name == "job_id" else f"--{name.replace('_', '-')}" for name in given]
    if flags:
        raise SpecError(f"{', '.join(flags)}: not used {where}; leave it out")


def _run_action(jobs: LocalJobs, args: argparse.Namespace) -> int:
    if args.dry_run:
        return _show_plan(_prepared(jobs, args), args)
    job = _prepared(jobs, args)
    if not args.json:
        views.print_start(job)
    if args.detach:
        jobs.start(job)
        if args.json:
            print_json(job.to_dict())
        else:
            status = views.command(args, "status", job.id)
            print(f"{job.id}: started; `{status}` tells how it stands")
        return 0
    job = jobs.run(job, None if args.json else views.echo)
    if args.json:
        print_json(job.to_dict())
    else:
        views.print_end(job)
    return views.exit_code(job)


def _prepared(jobs: LocalJobs, args: argparse.Namespace) -> Job:
    from hpo.jobs.compose_spec import JobRequest
    from hpo.study.text_values import read_assignments

    overrides = read_assignments(
        args.set, lambda: jobs.find_page(args.action, args.resume or args.parent), args.action
    )
    if args.resume:
        job = jobs.get_job(args.resume)
        if job.action != args.action:
            raise SpecError(f"--resume {job.id}: is a job of {job.action}, not of {args.action}")
        return jobs.prepare_resume(args.resume, overrides)
    request = JobRequest(
        action=args.action,
        overrides=overrides,
        roots=data_roots(args),
        data_format=args.data_format,
    )
    return jobs.prepare_job(
        request,
        parent_job_id=args.parent,
        checkpoint=args.checkpoint or "best_model",
        base_checkpoint=args.weights,
    )


def _show_plan(job: Job, args: argparse.Namespace) -> int:
    """Print what would be run, and leave nothing behind."""
    import shutil

    text = job.spec_file.read_text(encoding="utf-8")
    if args.json:
        print_json({**job.to_dict(), "spec": job.spec()})
    else:
        views.print_start(job)
        print(text, end="")
    shutil.rmtree(job.folder)
    return 0


_OF_NEW_JOBS = (
    "parent", "checkpoint", "weights", "data", "eval_data", "calibration_data", "data_format",
    "skill_dir", "dry_run",
)  # fmt: skip
_VERBS = {
    "ls": views.show_list,
    "status": views.show_status,
    "logs": views.show_logs,
    "stop": views.stop,
}
