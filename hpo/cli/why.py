"""`hpo why`: explain why a trial ended."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hpo.cli.run_flags import add_trial_arguments, chosen_run, print_json

if TYPE_CHECKING:
    from hpo.core.protocols import Algorithm
    from hpo.report.why import MakeAlgorithm
    from hpo.run.run_dir import RunDir

HELP = "say why a trial ended as it did"
EPILOG = """\
examples:
  hpo why 3                 trial 3 of the newest run
  hpo why retail 3          of the newest run of the study `retail`

A pruned trial: at which rung, against whom, and the value that would have let it go on. That value
is asked of the algorithm itself, brought to the same moment again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_trial_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the reasons."""
    from hpo.cli.status import describe
    from hpo.core.selection import roles, shown_role
    from hpo.report.why import explain
    from hpo.results.story import read_finalist, read_story
    from hpo.run.handed_on import extent_of
    from hpo.run.ledger import Ledger

    chosen = chosen_run(args, looks=True)
    ledger = Ledger.read(chosen.ledger_file)
    try:
        make, judged = _maker(chosen)
        found = explain(ledger, args.trial, make, stops_by=judged)
        trials, direction = ledger.trials(), ledger.direction
    finally:
        ledger.close()
    role = roles(trials, direction).get(args.trial, "")
    found["role"] = shown_role(role, describe(chosen)["status"])
    extent = extent_of([t.trained_epochs for t in trials])
    if role.startswith("winner"):
        found["lines"] += read_story(chosen, extent)
    else:
        found["lines"] += read_finalist(chosen, extent, args.trial, direction)
    if args.json:
        print_json(found)
        return 0
    print(f"trial {found['trial']}  {found['state']}" + (f"  {found['role']}" if role else ""))
    for line in found["lines"]:
        print(f"  {line}")
    return 0


def _maker(chosen: RunDir) -> tuple[MakeAlgorithm, tuple[str, float] | None]:
    """How the run's algorithm is built again, and what it stops trials by."""
    from hpo.algorithms.for_study import build_algorithm, stops_by
    from hpo.study.plan import build_space, read_plan
    from hpo.study.spec import load_study
    from hpo.study.trainers import find_trainer

    study, plan = load_study(chosen.study_file), read_plan(chosen.path)
    trainer = find_trainer(study.trainer)
    space = build_space(study, trainer, plan.base_spec, num_trials=plan.planned_trials)

    def make() -> Algorithm:
        return build_algorithm(study, plan, trainer, space)

    return make, stops_by(plan, trainer)
