"""The engine behind `AutoML`, in which the caller trains the trials."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.algorithms.for_study import build_algorithm
from hpo.automl.planning import Planned, plan_request
from hpo.automl.reopening import (
    changes_of,
    complete_request,
    demand_same,
    demand_same_start,
    extended_budget,
    follow_skill,
)
from hpo.automl.request import Request
from hpo.automl.schema_skill import is_written
from hpo.automl.workspace import is_workspace, read_facts
from hpo.core.durable_files import rename_durably, write_atomically
from hpo.core.errors import RunError
from hpo.core.protocols import Algorithm, Emit, Trainer
from hpo.core.yaml_io import to_yaml
from hpo.run.create_run import demand_place, make_draft
from hpo.run.ledger import Ledger
from hpo.run.run_dir import LEDGER_FILE, STUDY_FILE, RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.budget_account import remark_on
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from hpo.searching.make_plan import plan_study
from hpo.study.plan import StudyPlan, planned_space, read_plan
from hpo.study.spec import StudySpec, load_study
from hpo.study.trainers import find_trainer


def build_engine(
    run: RunDir, study: StudySpec, plan: StudyPlan, trainer: Trainer, ledger: Ledger, emit: Emit,
    *, secrets: Mapping[str, Any], slots: int,
) -> tuple[Engine, Algorithm]:  # fmt: skip
    """Bring engine and algorithm to where the ledger is.

    Raises:
        RunError: when the search space has changed since the search began.
    """
    space = planned_space(run.path, study, trainer, plan)
    algorithm = build_algorithm(study, plan, trainer, space, slots=slots, secrets=secrets)
    engine = Engine(
        ledger=ledger,
        algorithm=algorithm,
        plan=Plan(
            # The caller keeps specs and checkpoints, so there is no run to write them into.
            specs=TrialSpecs(base_spec=plan.base_spec, seed_key=trainer.seed_key, space=space),
            budget=study.budget,
            confirm=study.search.confirm,
            study_seed=study.search.used_seed,
            num_epochs=plan.num_epochs,
        ),
        emit=emit,
    )
    return engine, algorithm


def plan_opened(request: Request) -> Planned:
    """Plan a request; in a workspace that is there, what it does not say is as it was begun.

    Raises:
        SpecError: for settings, a spec or a space that the workspace was not begun with.
    """
    folder = request.workspace
    if not is_workspace(folder):
        return plan_request(request)
    study, facts = load_study(RunDir(folder).study_file), read_facts(folder)
    demand_same_start(folder, request, study, facts)
    study, facts = follow_skill(study, facts, request.skill)
    planned = plan_request(complete_request(request, study, facts))
    demand_same(folder, study, facts, planned)
    return planned


def take_over(run: RunDir, planned: Planned) -> None:
    """Keep what is asked for anew, such as more recommendations; the caller has the lock.

    A workspace whose skill folder is gone takes the one that is given now. So does one over a bare
    schema: an earlier release named it otherwise, and let all schemas of a network share it.

    Raises:
        RunError: when the given schema has another search space.
    """
    study, facts = load_study(run.study_file), read_facts(run.path)
    changes, budget = changes_of(study, facts, planned), extended_budget(study, planned)
    of_study, of_facts = dict(changes.study), dict(changes.facts)
    if budget is not None:
        remark_on(budget, run, study.search.confirm)
        of_study["budget"], of_facts["total"] = budget, budget.trials
    is_free = is_written(planned.facts.skill_dir) or not Path(facts.skill_dir).exists()
    if is_free and facts.skill_dir != planned.facts.skill_dir:
        trainer = planned.study.trainer
        planned_space(run.path, planned.study, find_trainer(trainer), read_plan(run.path))
        of_study["trainer"], of_facts["skill_dir"] = trainer, planned.facts.skill_dir
    if of_study:
        write_atomically(run.study_file, to_yaml(replace(study, **of_study).to_dict()))
    if of_facts:
        replace(facts, **of_facts).write(run.path)


def demand_free(folder: Path) -> None:
    """Refuse, before anything is written, a path where there is no workspace and none can be.

    A workspace that is held by what this program has dropped, and not finished, gets free.

    Raises:
        RunError: when something else lies there, or it lies within a run.
    """
    if is_workspace(folder):
        if RunDir(folder).is_held_here():
            gc.collect()
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: holds something else; give a folder that is new or empty")
    demand_place(folder.resolve())


def open_or_create(folder: Path, planned: Planned) -> RunDir:
    """The workspace at exactly this path: gone on with, or made in one step.

    Raises:
        RunError: when another process has just made it.
    """
    if is_workspace(folder):
        return RunDir(folder)
    study = planned.study
    trainer = find_trainer(study.trainer)
    plan = plan_study(study, trainer, route_style=planned.style)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = make_draft(folder.parent)
    try:
        (draft / STUDY_FILE).write_text(to_yaml(study.to_dict()), encoding="utf-8")
        plan.write(draft)
        Ledger.create(draft / LEDGER_FILE, trainer.direction).close()
        planned.facts.write(draft)
        rename_durably(draft, folder)  # also onto an empty folder
    except OSError as error:
        if is_workspace(folder):
            raise RunError(f"{folder}: another process has just made it; open it again") from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # is gone where it has taken its place
    return RunDir(folder)
