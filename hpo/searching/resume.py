"""Refuses to resume a run whose results before and after would not be comparable."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hpo.core.errors import RunError, SpecError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import merged
from hpo.run.next_commands import resume_command
from hpo.run.plain_files import read_object
from hpo.run.run_dir import AUTOML_FACTS, RunDir, lost_facts
from hpo.study.plan import (
    StudyPlan,
    build_space,
    find_unapplied,
    num_epochs_of,
    read_plan,
    settle_space,
)
from hpo.study.provenance import MOST_NAMED, find_changes, take_origin, write_origin
from hpo.study.skill import demand_handoff
from hpo.study.skill_address import ELSEWHERE
from hpo.study.spec import StudySpec, load_study
from hpo.study.stages import digests_of, planned_stages
from hpo.study.trainers import find_trainer

logger = logging.getLogger(__name__)


def load_run_study(run: RunDir) -> StudySpec:
    """Read the study of a run.

    Raises:
        SpecError: when it is no study file, or the end of it is gone: keys that are not there would
            silently have their defaults.
    """
    study = load_study(run.study_file)
    if not run.study_file.read_text(encoding="utf-8").endswith(("\n", "}")):
        raise SpecError(
            f"{run.study_file}: must end with a line break; what was written last is cut off, so "
            "bring the file back, or end its last line if it is whole"
        )
    return study


def find_startable(study: StudySpec, *, is_route: bool) -> Trainer:
    """The trainer of a search that begins here.

    Args:
        study: what is searched.
        is_route: whether the AutoML route starts it, which hands the best on without a model, too.

    Raises:
        SpecError: when its trials are started by other calls alone, so that each would fail, or
            the best of them could not be handed on.
    """
    trainer, data = find_trainer(study.trainer), study.data
    if not is_route and getattr(trainer, "is_elsewhere", False):
        raise SpecError(
            "trainer.is_elsewhere: must be left out of a study that is searched here, or "
            "AutoMLRunner(platform_sdk=...) or AutoML(...) must start it; got true"
        )
    if not is_route:
        has_test = data.folder or data.is_default or "test_query" in data.splits
        demand_handoff(trainer, evaluates=bool(study.search.confirm or has_test))
    return trainer


def open_plan(run: RunDir, name: str, *, is_route: bool) -> tuple[StudyPlan, Trainer]:
    """The plan of a run and its trainer.

    Args:
        run: the run.
        name: the trainer, as its study has it.
        is_route: whether the AutoML route goes on with it.

    Raises:
        RunError: when it is a workspace whose facts are lost, or whose trials run elsewhere.
    """
    plan, trainer = read_plan(run.path), find_trainer(name)
    is_elsewhere = getattr(trainer, "is_elsewhere", False)
    if is_route or not (is_elsewhere or plan.route_style is not None):
        return plan, trainer
    if not read_object(run.path / AUTOML_FACTS):
        raise RunError(lost_facts(run.path))
    if is_elsewhere:
        raise RunError(f"{run.path}: {ELSEWHERE}")
    return plan, trainer


def settle_origin(
    run: RunDir, study: StudySpec, plan: StudyPlan, trainer: Trainer, *, force: bool
) -> StudyPlan:
    """Compare what a run began with and what there is now.

    Args:
        run: the run, locked.
        study: as it stands in the run.
        plan: as it stands in the run.
        trainer: as it is installed now.
        force: whether to go on from what there is now, which is then kept as the new origin.

    Returns:
        The plan to go on with.

    Raises:
        RunError: when something that matters has changed: what, from, to.
    """
    space = build_space(study, trainer, plan.base_spec, num_trials=plan.planned_trials)
    lost = find_unapplied(study, trainer, plan, space)
    now = take_origin(space, plan.sources, plan.base_spec, trainer)
    changes = find_changes(run, now, plan.sources)
    if not changes and space.digest != plan.space_digest:
        changes = [
            "the search space has changed since the search began "
            f"(digest {plan.space_digest[:12]} -> {space.digest[:12]})"
        ]
    if lost:
        changes.append(describe_unapplied(lost))
    if not changes:
        return plan
    if not force:
        raise RunError(
            f"{run}: {'; '.join(changes)}; start a new search (`--warm-start` tries the best of "
            f"this one first), or go on all the same with `{resume_command(run, '--force')}`"
        )
    logger.warning("going on with --force although %s", "; ".join(changes))
    base_spec, space = settle_space(
        study,
        trainer,
        merged(plan.base_spec, {name: wanted for name, (wanted, _) in lost.items()}),
        num_trials=plan.planned_trials,
    )
    plan = replace(
        plan,
        base_spec=base_spec,
        space_digest=space.digest,
        num_epochs=num_epochs_of(base_spec, trainer),
    )
    plan = replace(plan, earlier=digests_of(planned_stages(study, plan, trainer)))
    plan.write(run.path)
    write_origin(run.path, take_origin(space, plan.sources, plan.base_spec, trainer))
    return plan


def describe_unapplied(lost: Mapping[str, tuple[Any, Any]]) -> str:
    """Say in one line which decided values the trials of a run do not have."""
    listed = [f"{name}: {wanted!r}, not {has!r}" for name, (wanted, has) in lost.items()]
    more = f"; and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return (
        f"the study says what its trials were not trained with ({'; '.join(listed[:MOST_NAMED])}"
        f"{more}); with --force trials have it from now on"
    )
