"""`AutoMLRunner`: one skill folder, searched; the calls that the published skill makes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.automl.errors import AutoMLError, ReviewDeclinedError
from hpo.automl.facts import Facts, is_workspace, read_facts
from hpo.automl.hooks import Hooks
from hpo.automl.outcome import build_result
from hpo.automl.planning import Planned, Request, as_value_errors, plan_request
from hpo.automl.platform import Platform
from hpo.automl.routing import demand_runnable, name_of, open_skill
from hpo.automl.session import RouteSettings, with_session
from hpo.automl.settings import MAX_RECOMMENDATIONS
from hpo.core.budget import Budget
from hpo.core.errors import RunError, SpecError
from hpo.core.rundir import ROUTE_PREFIX, RunDir
from hpo.core.specs import flatten
from hpo.core.study_spec import StudySpec, load_study
from hpo.search import SearchResult, SearchSettings, resume_search, start_search

logger = logging.getLogger(__name__)

DEFAULT_WORKSPACE = "automl_workspace"
Listeners = tuple[Callable[..., Any], ...]


class AutoMLRunner:
    """Searches the hyperparameters of one network.

    Args:
        skill_dir: the network's skill folder.
        platform_sdk: where trials run, any object with `create_job`, `get_job_status`,
            `get_job_logs` and `get_failure_analysis`; None means this machine.
        workspace_dir: where workspaces are made, unless `run` is told.
        action: what is searched.
        sdk: the same as `platform_sdk`.
        trainer: a registered trainer to use in place of the network's own.

    Raises:
        FileNotFoundError: when the folder is no skill folder, naming the full path.
    """

    def __init__(
        self,
        skill_dir: str | Path | None = None,
        platform_sdk: Platform | None = None,
        workspace_dir: str | Path | None = None,
        action: str = "train",
        *,
        sdk: Platform | None = None,
        trainer: str = "",
    ) -> None:
        if skill_dir is None:
            raise AutoMLError("skill_dir: must be given; no environment variable stands in for it")
        if sdk is not None and platform_sdk is not None and sdk is not platform_sdk:
            raise AutoMLError("platform_sdk: and sdk are the same; give one of them")
        self.skill = open_skill(skill_dir)
        self.skill_dir = self.skill.path
        self.network_arch = name_of(self.skill)
        self.action = action
        self._platform = platform_sdk if platform_sdk is not None else sdk
        self._workspace_dir = workspace_dir
        self._trainer = trainer

    def run(  # noqa: PLR0913 - the published call
        self,
        *,
        train_dataset_uri: str = "",
        eval_dataset_uri: str = "",
        base_checkpoint: str = "",
        image: str = "",
        automl_algorithm: str | None = None,
        automl_settings: Mapping[str, Any] | None = None,
        automl_hyperparameters: Sequence[str] | None = None,
        custom_param_ranges: Any = None,
        spec_overrides: Mapping[str, Any] | None = None,
        eval_overrides: Mapping[str, Any] | None = None,
        workspace_path: str | Path | None = None,
        workspace_dir: str | Path | None = None,
        resume: bool = False,
        metric_extractor: Callable[[str, str], float | None] | None = None,
        eval_fn: Callable[..., float | None] | None = None,
        final_eval_fn: Callable[..., Any] | None = None,
        on_recommendation: Callable[..., Any] | None = None,
        on_result: Callable[..., Any] | None = None,
        wandb_config: Mapping[str, Any] | None = None,
        confirm: Callable[[dict[str, Any]], bool] | None = None,
        max_hours: float | None = None,
        accept_no_baseline: bool = False,
        in_process: bool = False,
        listeners: Listeners = (),
        should_stop: Callable[[], bool] = lambda: False,
        **platform_kwargs: Any,
    ) -> dict[str, Any]:
        """Search to the end of the budget and return the result.

        Args:
            train_dataset_uri: root of the training data, joined with the skill's table.
            eval_dataset_uri: root of the data of the final evaluation.
            base_checkpoint: weights that every trial starts from, and the baseline.
            image: container image of platform jobs; empty means the skill's.
            automl_algorithm: the same as `automl_settings["algorithm"]`.
            automl_settings: see `docs/automl.md`; one of the two names the algorithm.
            automl_hyperparameters: searched parameters; None means the schema's default list.
            custom_param_ranges: name -> {valid_min, valid_max, valid_options, option_weights, ...}.
            spec_overrides: dotted, nested or short spec keys for every trial.
            eval_overrides: data keys of the final evaluation, where no root says where they lie.
            workspace_path: a new `run_<timestamp>` is made in it; with `resume` it is that folder.
            workspace_dir: the same as `workspace_path`.
            resume: go on with `workspace_path` as it is.
            metric_extractor: `(logs, metric_name) -> value or None`.
            eval_fn: `(rec, train_job_id) -> value or None`; its value beats the log's.
            final_eval_fn: `(best_rec, train_job_id) -> value or {"metric_value": ...}`.
            on_recommendation: `(rec)`, before a trial starts.
            on_result: `(rec, metric, status)`, after it was told to the algorithm.
            wandb_config: `{"enabled", "project"}`.
            confirm: asked with the review before the first trial; False ends the run.
            max_hours: longer searches stop at the review.
            accept_no_baseline: go on when the baseline cannot be evaluated.
            in_process: one trial at a time in this process, without workers.
            listeners: factories of further event listeners, as `SearchSettings.listeners`.
            should_stop: asked at every step whether to pause.
            **platform_kwargs: passed on to every `create_job`.

        Returns:
            See `hpo.automl.outcome.build_result`.

        Raises:
            ValueError: for wrong settings, overrides or ranges, all at once where possible.
            FileNotFoundError: when schema or template of the skill are missing.
            HpoError: for anything else that the caller can mend, before a trial starts.
        """
        if workspace_path and workspace_dir and Path(workspace_path) != Path(workspace_dir):
            raise AutoMLError("workspace_path: and workspace_dir are the same; give one of them")
        if platform_kwargs and self._platform is None:
            names = ", ".join(sorted(platform_kwargs))
            raise AutoMLError(f"run: {names}: no such argument; it would go to a platform's jobs")
        place = Path(
            workspace_path or workspace_dir or self._workspace_dir or DEFAULT_WORKSPACE
        ).expanduser().resolve()  # fmt: skip
        request = Request(
            skill=self.skill,
            action=self.action,
            workspace=place,
            settings=automl_settings or {},
            algorithm=automl_algorithm,
            hyperparameters=automl_hyperparameters,
            ranges=custom_param_ranges,
            overrides=spec_overrides or {},
            eval_overrides=eval_overrides or {},
            roots={
                name: uri
                for name, uri in (
                    ("train_dataset_uri", train_dataset_uri),
                    ("eval_dataset_uri", eval_dataset_uri),
                )
                if uri
            },
            base_checkpoint=base_checkpoint,
            image=image,
            platform=type(self._platform).__name__ if self._platform is not None else "",
            trainer=self._trainer,
            reports_at_end=eval_fn is not None,
        )
        hooks = Hooks(
            metric_extractor=metric_extractor,
            eval_fn=eval_fn,
            final_eval_fn=final_eval_fn,
            on_recommendation=on_recommendation,
            on_result=on_result,
        )
        route = RouteSettings(
            hooks=hooks,
            platform=self._platform,
            platform_facts={k: v for k, v in platform_kwargs.items() if k != "poll_interval"},
            poll_s=float(platform_kwargs.get("poll_interval", 5.0)),
            max_hours=max_hours,
            accept_no_baseline=accept_no_baseline,
        )
        search = SearchSettings(
            executor="inprocess" if in_process else "ray",
            probe=self._platform is None,
            confirm_start=confirm or (lambda _review: True),
            listeners=(*listeners, *_wandb(wandb_config)),
            should_stop=should_stop,
            name_prefix=ROUTE_PREFIX,
        )
        return self._go(request, route, search, resume=resume)

    def review(self, **arguments: Any) -> dict[str, Any]:
        """Do everything up to the review and return it; nothing is trained.

        Args:
            **arguments: those of `run`.
        """
        seen: dict[str, Any] = {}

        def keep(review: dict[str, Any]) -> bool:
            seen.update(review)
            return False

        try:
            self.run(**{**arguments, "confirm": keep})
        except ReviewDeclinedError:
            if not seen:
                raise
        return seen

    def _go(
        self, request: Request, route: RouteSettings, search: SearchSettings, *, resume: bool
    ) -> dict[str, Any]:
        result, found = execute(request, route, search, resume=resume)
        if route.declined:
            raise ReviewDeclinedError(f"{result.run}: {route.declined}")
        return found


def execute(
    request: Request, route: RouteSettings, search: SearchSettings, *, resume: bool = False
) -> tuple[SearchResult, dict[str, Any]]:
    """Plan, review and search; or go on with the workspace that the request names.

    Returns:
        How the search ended, and the route's result of it; `route.declined` says why the review
        stopped it, if it did.

    Raises:
        HpoError: for whatever the caller can mend.
    """
    demand_runnable(request.skill, request.action)
    search = with_session(replace(search, name_prefix=ROUTE_PREFIX), route)
    with as_value_errors():
        if resume:
            result = _resume(request, route, search)
        else:
            planned = plan_request(request)
            route.secrets = planned.settings.secrets
            search = replace(search, fill=planned.facts.write)
            result = start_search(planned.study, request.workspace.parent, search)
    return result, _result_of(result, route)


def _with_fallbacks(found: dict[str, Any], count: int) -> dict[str, Any]:
    """Say how often another sampler had to stand in for a language model."""
    if count:
        found["warnings"].append(
            f"{found['progress']['algorithm']}: {count} of {len(found['history'])} configurations "
            "were not proposed by the model: its endpoint failed and another sampler stood in"
        )
    return {**found, "fallbacks": count}


def _resume(request: Request, route: RouteSettings, search: SearchSettings) -> SearchResult:
    folder = request.workspace
    if not is_workspace(folder):
        raise RunError(
            f"{folder}: is no AutoML workspace; give the full path, .../{ROUTE_PREFIX}<timestamp>"
        )
    run = RunDir(folder)
    budget = None
    given = (request.settings, request.algorithm, request.overrides, request.ranges)
    if any(given) or request.hyperparameters is not None:
        study = load_study(run.study_file)
        planned = plan_request(_completed(request, study, read_facts(folder)))
        route.secrets = planned.settings.secrets
        _demand_same(folder, study, planned)
        budget = _extended(study, planned)
    return resume_search(run, search, budget=budget)


def _result_of(result: SearchResult, route: RouteSettings) -> dict[str, Any]:
    from hpo.core.ledger import Ledger

    session = route.session
    assert session is not None  # noqa: S101 - every search makes one
    session.ledger = Ledger.open(result.run.ledger_file)
    try:
        ended = str(result.finished.get("ended_because", "interrupted"))
        found = build_result(
            result.run, session.ledger, session.facts, session.show, ended_because=ended
        )
        return _with_fallbacks(found, int(result.finished.get("fallbacks") or 0))
    finally:
        session.ledger.close()


def _completed(request: Request, study: StudySpec, facts: Facts) -> Request:
    """What a resumed search is asked for: what was begun, under what is given now."""
    begun: dict[str, Any] = {"metric": facts.metric, "direction": facts.direction}
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
    )


def _demand_same(folder: Path, study: StudySpec, planned: Planned) -> None:
    """Refuse to go on with another algorithm; another space is refused by its digest."""
    new = planned.study
    if new.search.algorithm != study.search.algorithm:
        raise SpecError(
            f"{folder}: was begun with {study.search.algorithm}, got {new.search.algorithm}; "
            "resume with the same algorithm, or start a new workspace"
        )
    if planned.facts.metric != read_facts(folder).metric:
        raise SpecError(
            f"{folder}: was begun for {read_facts(folder).metric!r}, got "
            f"{planned.facts.metric!r}; start a new workspace for another metric"
        )
    if dict(new.spec) != dict(study.spec):
        old, now = flatten(study.spec), flatten(new.spec)
        changed = [key for key in sorted({*old, *now}) if old.get(key) != now.get(key)]
        raise SpecError(
            f"{folder}: its spec has changed ({', '.join(changed)}); start a new workspace for it"
        )
    for name in ("over", "custom_param_ranges", "override_automl_disabled_params"):
        old, now = getattr(study.search, name), getattr(new.search, name)
        if _plain(old) != _plain(now):
            raise SpecError(
                f"{folder}: its search space has changed ({name}: {old!r} -> {now!r}); "
                "start a new workspace for another space"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _extended(study: StudySpec, planned: Planned) -> Budget | None:
    """A larger number of recommendations extends the search."""
    total = planned.facts.total
    if total is None or MAX_RECOMMENDATIONS not in planned.settings.given:
        return None
    return None if total == study.budget.trials else Budget(trials=total)


def _wandb(config: Mapping[str, Any] | None) -> Listeners:
    if not config or not config.get("enabled"):
        return ()
    from hpo.automl.wandb_table import make_listener

    return (functools.partial(make_listener, config),)
