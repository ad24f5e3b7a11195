"""Executes a request: plan, review and search, or resume an existing workspace."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

from hpo.automl.arguments import digests_of
from hpo.automl.planning import as_value_errors, plan_request
from hpo.automl.reopening import (
    Changes,
    changes_of,
    complete_request,
    demand_same,
    demand_same_start,
    extended_budget,
    follow_skill,
    needs_planning,
)
from hpo.automl.request import Request
from hpo.automl.retention import demand_deletion
from hpo.automl.route_settings import RouteSettings
from hpo.automl.routing import demand_runnable
from hpo.automl.script import read_execution
from hpo.automl.session import AutoMLSession, RouteResult
from hpo.automl.submission import Submission
from hpo.automl.workspace import WorkspaceFacts, demand_own, is_workspace, read_facts
from hpo.core.errors import RunError
from hpo.run.run_dir import ROUTE_PREFIX, RunDir
from hpo.searching.session import resume_search, start_search
from hpo.searching.settings import SearchResult, SearchSettings
from hpo.study.spec import load_study


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
    _demand_jobs(request, route, planned.facts)
    session = partial(AutoMLSession, route=route)
    facts = replace(planned.facts, job_arguments=digests_of(route.platform_arguments))
    search = replace(search, fill=facts.write, route_style=planned.style, make_session=session)
    return start_search(planned.study, request.workspace.parent, search)


def _demand_jobs(request: Request, route: RouteSettings, facts: WorkspaceFacts) -> None:
    """Refuse, before the first job, what no job of the platform could be made of."""
    if route.platform is None:
        return
    skill, action = request.skill, facts.action
    Submission(
        platform=route.platform, skill=skill, action=action,
        execution=read_execution(skill.path, skill.action(action), facts.execution),
        image=facts.image, name_of=str, arguments=route.platform_arguments,
    ).check()  # fmt: skip
    demand_deletion(facts, route.platform, route.platform_arguments)


def _resume(request: Request, route: RouteSettings, search: SearchSettings) -> SearchResult:
    demand_runnable(request.skill, request.action)
    folder = request.workspace
    demand_own(folder)
    if not is_workspace(folder):
        raise RunError(
            f"{folder}: is not an AutoML workspace; "
            f"give the full path, .../{ROUTE_PREFIX}<timestamp>"
        )
    run = RunDir(folder)
    study, facts = load_study(run.study_file), read_facts(folder)
    demand_same_start(folder, request, study, facts)
    old = facts.skill_dir
    study, facts = follow_skill(study, facts, request.skill)
    budget, changes = None, Changes()
    if needs_planning(request):
        planned = plan_request(complete_request(request, study, facts))
        route = replace(route, secrets=planned.settings.secrets)
        demand_same(folder, study, facts, planned)
        budget, changes = extended_budget(study, planned), changes_of(study, facts, planned)
    if facts.skill_dir != old:
        changes = replace(
            changes,
            study={**changes.study, "trainer": study.trainer},
            facts={**changes.facts, "skill_dir": facts.skill_dir},
        )
    _demand_jobs(request, route, replace(facts, **changes.facts))
    session = partial(AutoMLSession, route=replace(route, changes=changes.facts))
    search = replace(search, make_session=session)
    return resume_search(run, search, budget=budget, changes=changes.study)
