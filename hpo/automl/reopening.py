"""Compares what a workspace is asked for when it is opened again with what it was begun for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.automl.planning import Planned
from hpo.automl.request import Request
from hpo.automl.settings import MAX_RECOMMENDATIONS
from hpo.automl.workspace import WorkspaceFacts
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten
from hpo.study.spec import StudySpec


def complete_request(request: Request, study: StudySpec, facts: WorkspaceFacts) -> Request:
    """What a resumed search is asked for: what was begun, under what is given now."""
    begun: dict[str, Any] = {"metric": facts.metric, "direction": facts.direction}
    begun |= {"objectives": facts.objectives} if facts.objectives else {}
    if request.algorithm is None:
        begun["algorithm"] = study.search.algorithm
    settings = {key: value for key, value in request.settings.items() if value is not None}
    if "automl_algorithm" in settings:
        begun.pop("algorithm", None)
    return replace(
        request,
        workspace=request.workspace.parent,
        settings=begun | settings,
        overrides=request.overrides or study.spec,
        ranges=request.ranges or study.search.custom_param_ranges,
        hyperparameters=request.hyperparameters
        if request.hyperparameters is not None
        else (list(study.search.over) or None),
        platform=request.platform or facts.platform,
        execution=request.execution or facts.execution,
    )


def demand_same(folder: Path, study: StudySpec, facts: WorkspaceFacts, planned: Planned) -> None:
    """Refuse to go on with what would be another search."""
    new = planned.study
    if new.search.algorithm != study.search.algorithm:
        raise SpecError(
            f"{folder}: was begun with {study.search.algorithm}, got {new.search.algorithm}; "
            "resume with the same algorithm, or start a new workspace"
        )
    for name in sorted(planned.settings.given & {"seed", "pruner", "confirm"}):
        old, now = getattr(study.search, name), getattr(new.search, name)
        if old != now:
            raise SpecError(
                f"{folder}: was begun with {name} {old}, got {now}; leave it out, or start a new "
                "workspace"
            )
    if planned.facts.objectives != facts.objectives:
        raise SpecError(
            f"{folder}: was begun with other objectives; start a new workspace for these"
        )
    if planned.facts.metric != facts.metric:
        raise SpecError(
            f"{folder}: was begun for {facts.metric!r}, got {planned.facts.metric!r}; "
            "start a new workspace for another metric"
        )
    if planned.facts.direction != facts.direction:
        raise SpecError(
            f"{folder}: was begun to {facts.direction} {facts.metric!r}, got "
            f"{planned.facts.direction}; start a new workspace for another direction"
        )
    if dict(new.spec) != dict(study.spec):
        old, now = flatten(study.spec), flatten(new.spec)
        changed = [key for key in sorted({*old, *now}) if old.get(key) != now.get(key)]
        raise SpecError(
            f"{folder}: its spec has changed ({', '.join(changed)}); start a new workspace for it"
        )
    for name in ("over", "custom_param_ranges", "override_automl_disabled_params"):
        old, now = getattr(study.search, name), getattr(new.search, name)
        if old != now:
            raise SpecError(
                f"{folder}: its search space has changed ({name}: {old!r} -> {now!r}); "
                "start a new workspace for another space"
            )


def extended_budget(study: StudySpec, planned: Planned) -> Budget | None:
    """A larger number of recommendations extends the search."""
    total = planned.facts.total
    if total is None or MAX_RECOMMENDATIONS not in planned.settings.given:
        return None
    return None if total == study.budget.trials else Budget(trials=total)
