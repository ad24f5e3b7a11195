"""`hpo automl`: a search or one plain training of a skill folder, as an agent skill calls it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.cli.driving import drive, machine_output
from hpo.cli.run_flags import (
    add_json_argument,
    add_out_argument,
    add_ray_argument,
    add_repeatable,
    add_sharing_argument,
    data_roots,
    print_json,
    print_table,
)
from hpo.core.errors import SpecError
from hpo.run.folder_of_runs import DEFAULT_OUT

if TYPE_CHECKING:
    from hpo.automl.request import Request
    from hpo.core.route_events import Routed
    from hpo.searching.settings import SearchResult, SearchSettings
    from hpo.study.skill import Skill

DEFAULT_RECOMMENDATIONS = 10
ALGORITHM = "bayesian"
_OF_SEARCHES = (
    "hyperparameters", "ranges", "eval_set", "no_baseline", "in_process", "trials_per_gpu",
    "ray_address",
)  # fmt: skip
"""Flags that a plain training does not use."""

HELP = "search or train a skill folder, as an agent skill asks for it"
EPILOG = """\
examples:
  hpo automl --skill-dir skills/models/ml_recog --data /data/retail --review-only
      what would run: data, baseline, ranges, the first configurations, time; nothing is trained
  hpo automl --skill-dir SKILL --data /data/retail --set num_epochs=30 --yes --json
      10 recommendations, one event a line on stdout, no questions
  hpo automl --skill-dir SKILL --data /data/retail --request "plain training, no HPO"
      one plain training: the request says so (for this run only)
  hpo automl --skill-dir SKILL --data ROOT --settings algorithm=hyperband automl_max_epochs=27
  hpo automl list --skill-bank skills          which skills can be searched, and what blocks others
  hpo automl --skill-bank skills --skill ml_recog --data ROOT     by folder, network or alias

A workspace is an ordinary run: `hpo status`, `hpo resume`, `hpo best` and `hpo job --parent`
take it. Exit codes: 0 done, 2 wrong input or more than --max-hours (one line), 1 no trial has a
result or a bug, 130 interrupted or not confirmed (resumable).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("what", nargs="?", choices=["list"], help="list the skills of a bank")
    skill = parser.add_argument_group("skill")
    skill.add_argument("--skill-dir", metavar="DIR", help="the network's skill folder")
    skill.add_argument("--skill-bank", metavar="DIR", help="folder of skill folders")
    skill.add_argument("--skill", metavar="NAME", help="folder, network or alias in the bank")
    skill.add_argument("--action", metavar="NAME", default="train", help="default: train")
    route = parser.add_argument_group("route")
    route.add_argument("--policy", metavar="P", help="on or off; beats the request's words")
    route.add_argument("--request", metavar="TEXT", default="", help="the user's own words")
    data = parser.add_argument_group("data: roots that hold what the skill lists")
    data.add_argument("--data", metavar="ROOT", default="", help="root of all data")
    data.add_argument("--eval-data", metavar="ROOT", default="", help="root of evaluation data")
    add_repeatable(
        data,
        "--eval-set KEY=VALUE",
        "data key of the final evaluation (repeatable), where no root says where they lie",
    )
    data.add_argument("--weights", metavar="FILE", default="", help="weights to start from")
    data.add_argument(
        "--parent", metavar="JOB", default="", help="job or run whose model to start from"
    )
    how = parser.add_argument_group("search")
    add_repeatable(how, "--set KEY=VALUE", "spec key of every trial, dotted or short (repeatable)")
    how.add_argument(
        "--settings", metavar="FILE|KEY=VALUE", nargs="+", action="extend", default=[],
        help="settings of the search: a YAML file, key=value, or both",
    )  # fmt: skip
    how.add_argument(
        "--hyperparameters", metavar="NAME", nargs="+", help="search exactly these parameters"
    )
    how.add_argument("--ranges", metavar="FILE", help="YAML file of custom_param_ranges")
    how.add_argument("--review-only", action="store_true", help="show the review and stop")
    how.add_argument("--max-hours", metavar="H", type=float, help="stop at the review if longer")
    how.add_argument(
        "--no-baseline", action="store_true", help="go on when the baseline cannot be evaluated"
    )
    run = parser.add_argument_group("run")
    run.add_argument(
        "--workspace",
        metavar="DIR",
        help="workspaces are made here (default: automl-NETWORK below --out)",
    )
    run.add_argument("--resume", metavar="RUN", help="go on with this workspace")
    add_out_argument(parser)
    run.add_argument("--yes", action="store_true", help="do not ask")
    run.add_argument(
        "--in-process", action="store_true", help="one trial at a time in this process, without Ray"
    )
    add_sharing_argument(run)
    add_ray_argument(run)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Route the request and carry it out."""
    from hpo.automl.policy import resolve_policy
    from hpo.automl.routing import AUTOML, decide_route, open_skill

    if args.what == "list":
        return _list_bank(args)
    if args.max_hours is not None and not args.max_hours > 0:
        raise SpecError(f"--max-hours: must be above 0, got {args.max_hours:g}")
    for one, other in (("resume", "workspace"), ("weights", "parent")):
        if getattr(args, one) and getattr(args, other):
            raise SpecError(f"--{other}: not used with --{one}; give one of them")
    policy = resolve_policy(_stated_policy(args), args.request)
    skill = open_skill(_skill_dir(args))
    if args.resume and not policy.is_on:
        raise SpecError(f"--resume: goes on with a search, and {policy.describe()}; leave one out")
    routed = decide_route(skill, args.action, policy)
    if args.resume or routed.route == AUTOML:
        return _search(args, skill, routed)
    return _train_plainly(args, skill, routed)


def _stated_policy(args: argparse.Namespace) -> Any:
    """The policy that a flag, a spec key or a setting states; None where none does."""
    from hpo.automl.policy import POLICY, resolve_policy
    from hpo.core.spec_dicts import parse_assignments

    given = {} if args.policy is None else {"--policy": args.policy}
    for flag, values in (
        ("--set", parse_assignments(args.set)),
        ("--settings", _read_settings(args.settings)),
    ):
        if POLICY in values:
            given[f"{flag} {POLICY}"] = "" if values[POLICY] is None else values[POLICY]
    if len({resolve_policy(value).is_on for value in given.values()}) > 1:
        both = " and ".join(f"{flag} {resolve_policy(v).shown}" for flag, v in given.items())
        raise SpecError(f"{POLICY}: {both} contradict each other; give one of them")
    return next(iter(given.values()), None)


def _overrides(args: argparse.Namespace, skill: Skill) -> dict[str, Any]:
    """The spec keys of `--set`; the policy is none of the spec's."""
    from hpo.automl.policy import POLICY
    from hpo.study.text_values import read_assignments

    given = read_assignments(args.set, lambda: skill, args.action)
    return {key: value for key, value in given.items() if key != POLICY}


def _skill_dir(args: argparse.Namespace) -> Path:
    if args.skill_dir and not (args.skill_bank or args.skill):
        return Path(args.skill_dir)
    if args.skill_bank and args.skill and not args.skill_dir:
        from hpo.automl.skill_bank import find_in_bank

        return find_in_bank(Path(args.skill_bank), args.skill)
    raise SpecError("--skill-dir: give a skill folder, or --skill-bank and --skill")


def _list_bank(args: argparse.Namespace) -> int:
    from hpo.automl.skill_bank import list_bank

    if not args.skill_bank:
        raise SpecError("--skill-bank: must be given to list its skills")
    known = argparse.ArgumentParser(add_help=False)
    add_arguments(known)
    given = [a for a in known._actions if getattr(args, a.dest) != a.default and a.option_strings]
    if unused := [a.option_strings[-1] for a in given if a.dest not in ("skill_bank", "json")]:
        raise SpecError(f"{', '.join(unused)}: not used by `hpo automl list`; leave it out")
    entries = list_bank(Path(args.skill_bank))
    if args.json:
        print_json([entry.to_dict() for entry in entries])
        return 0
    rows = [[e.folder.name, e.network or "-", e.status, e.problem] for e in entries]
    print_table(["SKILL", "NETWORK", "AUTOML", "PROBLEM"], rows)
    return 0


def _search(args: argparse.Namespace, skill: Skill, routed: Routed) -> int:
    """A search, with the terminal attached."""
    from dataclasses import replace

    from hpo.automl.execute import execute
    from hpo.automl.route_settings import RouteSettings
    from hpo.cli.automl_console import RouteConsole
    from hpo.results.handoff import HandoffError

    request = _request(args, skill, routed)
    settings = RouteSettings(
        max_hours=args.max_hours,
        accept_no_baseline=args.no_baseline,
        review_only=args.review_only,
        routed=routed,
    )

    def start(search: SearchSettings) -> SearchResult:
        listeners = (*search.listeners, lambda *_: RouteConsole(sys.stderr))
        search = replace(search, listeners=listeners)
        if args.review_only:  # nobody is asked
            search = replace(search, confirm_start=lambda _review: True)
        ended = execute(request, settings, search, resume=bool(args.resume))
        found = None if ended.finished is None or ended.declined else ended.result
        if found is not None and found.get("best") is None:
            raise HandoffError(f"no trial has a result: {found.get('cause') or 'none was started'}")
        return ended

    args.no_report = True
    args.ask_always = True
    return drive(args, start)


def _request(args: argparse.Namespace, skill: Skill, routed: Routed) -> Request:
    from hpo.automl.request import Request
    from hpo.automl.workspace import choose_place
    from hpo.study.text_values import read_assignments

    wanted = args.resume or args.workspace
    default = Path(args.out) / f"automl-{skill.title}"
    place, overrides = choose_place(wanted, _overrides(args, skill), default)
    settings = _settings(args.settings)
    if not args.resume:
        named = {"algorithm", "automl_algorithm"} & set(settings)
        settings = {**({} if named else {"algorithm": ALGORITHM}), **settings}
        settings = {"metric": _metric_of(skill), **settings}
        if not _limits_trials(settings):
            settings["automl_max_recommendations"] = DEFAULT_RECOMMENDATIONS
    return Request(
        skill=skill,
        action=args.action,
        workspace=place,
        settings=settings,
        hyperparameters=args.hyperparameters,
        ranges=_read_mapping(args.ranges, "--ranges") if args.ranges else None,
        overrides=overrides,
        eval_overrides=read_assignments(args.eval_set, lambda: skill, "evaluate", "--eval-set"),
        roots=data_roots(args),
        base_checkpoint=args.weights or _parent_weights(args),
        policy=routed.automl_policy,
        trials_per_gpu=args.trials_per_gpu,
    )


def _parent_weights(args: argparse.Namespace) -> str:
    """The model of `--parent`, which every trial starts from."""
    if not args.parent:
        return ""
    from hpo.jobs.parents import find_parent, model_of

    return str(model_of(find_parent(Path.cwd(), args.parent, Path(args.out))).path)


def _metric_of(skill: Skill) -> str:
    """The model's own metric where it has one; else the published default."""
    from hpo.automl.metrics import DEFAULT_METRIC, KPI, monitoring_metrics
    from hpo.study.trainers import registered_trainer

    has_own = monitoring_metrics(skill, registered_trainer(skill.network_arch))
    return KPI if has_own else DEFAULT_METRIC


def _limits_trials(settings: dict[str, Any]) -> bool:
    """Whether the number of trials is given, or left to the algorithm."""
    from hpo.automl.settings import MAX_RECOMMENDATIONS, read_settings

    read = read_settings(settings)
    return MAX_RECOMMENDATIONS in read.given or read.ends_itself


def _settings(words: list[str]) -> dict[str, Any]:
    """The settings of the search; the policy decides whether there is one, and is none of them."""
    from hpo.automl.policy import POLICY

    return {key: value for key, value in _read_settings(words).items() if key != POLICY}


def _read_settings(words: list[str]) -> dict[str, Any]:
    """Read files and assignments in order; later ones win, but no word over another one."""
    from hpo.automl.settings import NAME_KEYS
    from hpo.core.spec_dicts import parse_assignments, refuse_two

    found: dict[str, Any] = {}
    worded: dict[str, Any] = {}
    for word in words:
        if "=" in word:
            name, _, text = word.partition("=")
            given = parse_assignments([word], "--settings")
            given = {name: text} if name in NAME_KEYS and text else given
            for key, value in given.items():
                refuse_two(f"--settings {key}", worded.setdefault(key, value), value)
            found |= given
        else:
            found |= _read_mapping(word, "--settings", names=NAME_KEYS)
    return found


def _read_mapping(file: str, flag: str, *, names: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Read a file of keys; those among `names` keep their values as they are written."""
    from hpo.core.yaml_io import as_written, parse_texts, parse_yaml, read_text

    text = read_text(Path(file))
    data = parse_yaml(text, file)
    if not isinstance(data, dict):
        raise SpecError(f"{flag} {file}: must be a mapping of keys, got {type(data).__name__}")
    texts = parse_texts(text, file)
    return {k: as_written(v, texts.get(k)) if k in names else v for k, v in data.items()}


def _train_plainly(args: argparse.Namespace, skill: Skill, routed: Routed) -> int:
    """One plain run of the action, as a job."""
    from hpo.automl.plain_run import run_directly
    from hpo.cli.automl_console import print_job, print_route
    from hpo.cli.job_views import exit_code
    from hpo.jobs.parents import find_parent

    if args.max_hours is not None:
        raise SpecError("--max-hours: does not limit a plain training; leave it out")
    unused = {"--settings": bool(_settings(args.settings))}
    unused |= {f"--{name.replace('_', '-')}": getattr(args, name) for name in _OF_SEARCHES}
    if any(unused.values()):
        names = ", ".join(flag for flag, value in unused.items() if value)
        print(f"hpo automl: a plain training does not use {names}", file=sys.stderr)
    out = "." if args.out == DEFAULT_OUT else args.out
    root = Path(args.workspace or out).expanduser()
    parent = args.parent
    if parent and root.resolve() != Path.cwd():  # the job is to find it from there
        parent = str(find_parent(Path.cwd(), parent, root).place)
    with machine_output() as output:
        stream = output if args.json else None
        print_route(routed, stream)
        job = run_directly(
            skill,
            args.action,
            root=root,
            overrides=_overrides(args, skill),
            roots=data_roots(args),
            base_checkpoint=args.weights,
            parent_job_id=parent,
            review_only=args.review_only,
        )
        print_job(job, stream)
    return exit_code(job)
