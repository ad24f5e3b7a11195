"""Executes a request: plan, review and search, or resume an existing workspace."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from hpo.automl.planning import Planned, as_value_errors, plan_request
from hpo.automl.request import Request
from hpo.automl.retention import demand_deletion
from hpo.automl.route_settings import RouteSettings
from hpo.automl.routing import demand_runnable
from hpo.automl.script import read_execution
from hpo.automl.session import AutoMLSession, RouteResult
from hpo.automl.settings import MAX_RECOMMENDATIONS
from hpo.automl.submission import Submission
from hpo.automl.workspace import WorkspaceFacts, is_workspace, read_facts
from hpo.core.budget import Budget
from hpo.core.errors import RunError, SpecError
from hpo.core.spec_dicts import flatten
from hpo.run.run_dir import ROUTE_PREFIX, RunDir
from hpo.searching.session import SearchResult, SearchSettings, resume_search, start_search
from hpo.study.spec import StudySpec, load_study


def execute(
    request: Request, route: RouteSettings, search: SearchSettings, *, resume: bool = False
) -> RouteResult:
    """Plan, review and search; or go on with the workspace that the request names.

    Raises:
        HpoError: for whatever the caller can mend.
    """
    search = replace(search, name_prefix=ROUTE_PREFIX)
    begin = _resume if resume else _start
    with as_value_errors():
        return cast(RouteResult, begin(request, route, search))


def _start(request: Request, route: RouteSettings, search: SearchSettings) -> SearchResult:
    planned = plan_request(request)
    route = replace(route, secrets=planned.settings.secrets)
    if route.platform is not None:
        skill = request.skill
        execution = read_execution(skill.path, skill.action(request.action), request.execution)
        Submission(
            platform=route.platform, skill=skill, action=request.action, execution=execution,
            image=request.image, name_of=str, arguments=route.platform_arguments,
        ).check()  # fmt: skip
        demand_deletion(planned.facts, route.platform, route.platform_arguments)
    session = partial(AutoMLSession, route=route)
    search = replace(
        search, fill=planned.facts.write, route_style=planned.style, make_session=session
    )
    return start_search(planned.study, request.workspace.parent, search)


def _resume(request: Request, route: RouteSettings, search: SearchSettings) -> SearchResult:
    demand_runnable(request.skill, request.action)
    folder = request.workspace
    if not is_workspace(folder):
        raise RunError(
            f"{folder}: is not an AutoML workspace; "
            f"give the full path, .../{ROUTE_PREFIX}<timestamp>"
        )
    run = RunDir(folder)
    budget = None
    given = (request.settings, request.algorithm, request.overrides, request.ranges)
    if any(given) or request.hyperparameters is not None:
        study, facts = load_study(run.study_file), read_facts(folder)
        planned = plan_request(_completed(request, study, facts))
        route = replace(route, secrets=planned.settings.secrets)
        _demand_same(folder, study, facts, planned)
        budget = _extended(study, planned)
    search = replace(search, make_session=partial(AutoMLSession, route=route))
    return resume_search(run, search, budget=budget)


def _completed(request: Request, study: StudySpec, facts: WorkspaceFacts) -> Request:
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


def _demand_same(folder: Path, study: StudySpec, facts: WorkspaceFacts, planned: Planned) -> None:
    """Refuse to go on with another algorithm; another space is refused by its digest."""
    new = planned.study
    if new.search.algorithm != study.search.algorithm:
        raise SpecError(
            f"{folder}: was begun with {study.search.algorithm}, got {new.search.algorithm}; "
            "resume with the same algorithm, or start a new workspace"
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


def _extended(study: StudySpec, planned: Planned) -> Budget | None:
    """A larger number of recommendations extends the search."""
    total = planned.facts.total
    if total is None or MAX_RECOMMENDATIONS not in planned.settings.given:
        return None
    return None if total == study.budget.trials else Budget(trials=total)
