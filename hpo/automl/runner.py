"""`AutoMLRunner`: searches one skill folder through the calls of the published skill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hpo.automl.arguments import (
    check_functions,
    check_listeners,
    check_path,
    check_platform,
    check_spec,
    check_text,
    check_truth,
    text_of,
)
from hpo.automl.errors import AutoMLError, ReviewDeclinedError
from hpo.automl.execute import execute
from hpo.automl.hooks import Hooks
from hpo.automl.request import Request
from hpo.automl.route_settings import RouteSettings
from hpo.automl.routing import demand_action, open_skill
from hpo.automl.script import read_execution
from hpo.automl.sdk import Platform
from hpo.automl.settings import SAMPLE_COUNT_NAMES, UNSAFE_BATCH
from hpo.automl.wandb_table import Listeners, wandb_listeners
from hpo.automl.workspace import choose_place
from hpo.core.event_json import data_of
from hpo.core.process.imports import calls_stay_harmless
from hpo.searching.settings import SearchSettings
from hpo.tracking.listener import mlflow_listener

logger = logging.getLogger(__name__)

_DEFAULT_WORKSPACE = "automl_workspace"
POLL_S = 30.0
_LONGEST_POLL_S = 86_400
OURS = (*SAMPLE_COUNT_NAMES, UNSAFE_BATCH)
"""Arguments for platform jobs that are read here and say nothing to the platform."""


@calls_stay_harmless
class AutoMLRunner:
    """Searches the hyperparameters of one network.

    Args:
        sdk: where trials run, any object with `create_job`, `get_job_status` and `get_job_logs`
            (`hpo.automl.sdk.Platform`); None means this machine.
        skill_dir: the network's skill folder.
        action: what is searched.
        poll_interval: seconds between two looks at a platform's jobs.
        workspace_dir: where workspaces are made, unless `run` is told.
        platform_sdk: the same as `sdk`.
        trainer: a registered trainer to use in place of the network's own.

    Raises:
        FileNotFoundError: when the folder is no skill folder, naming the full path.
        KeyError: when the skill has no such action, naming those that it has.
    """

    def __init__(
        self,
        sdk: Platform | str | Path | None = None,
        skill_dir: str | Path | None = None,
        action: str = "train",
        poll_interval: float = POLL_S,
        *,
        platform_sdk: Platform | None = None,
        workspace_dir: str | Path | None = None,
        trainer: str = "",
    ) -> None:
        if isinstance(sdk, str | Path) and skill_dir is None:  # AutoMLRunner("/skills/net")
            sdk, skill_dir = None, sdk
        if skill_dir is None:
            raise AutoMLError("skill_dir: must be given; no environment variable stands in for it")
        if sdk is not None and platform_sdk is not None and sdk is not platform_sdk:
            raise AutoMLError("platform_sdk: and sdk are the same; give one of them")
        check_path(skill_dir, "skill_dir")
        check_text(action, "action")
        check_text(trainer, "trainer")
        self.skill = open_skill(skill_dir)
        demand_action(self.skill, action)
        self.skill_dir = self.skill.path
        self.network_arch = self.skill.title
        self.action = action
        self.poll_interval = _seconds(poll_interval)
        self._platform = cast(Platform | None, sdk if sdk is not None else platform_sdk)
        check_platform(self._platform)
        self._workspace_dir = workspace_dir
        self._trainer = trainer
        read_execution(self.skill.path, self.skill.action(action))  # what it names must be there

    def run(  # noqa: PLR0913, PLR0917 - the published call
        self,
        train_dataset_uri: str = "",
        eval_dataset_uri: str = "",
        base_checkpoint: str = "",
        image: str | None = "",
        automl_settings: Mapping[str, Any] | None = None,
        automl_hyperparameters: Sequence[str] | None = None,
        custom_param_ranges: Any = None,
        workspace_path: str | Path | None = None,
        spec_overrides: Mapping[str, Any] | None = None,
        resume: bool = False,
        metric_extractor: Callable[[str, str], float | None] | None = None,
        eval_fn: Callable[..., Any] | None = None,
        final_eval_fn: Callable[..., Any] | None = None,
        on_recommendation: Callable[..., Any] | None = None,
        on_result: Callable[..., Any] | None = None,
        workspace_id: str | None = None,
        baseline_fn: Callable[[dict[str, Any]], Any] | None = None,
        execution: Mapping[str, Any] | None = None,
        *,
        feedback_fn: Callable[..., Any] | None = None,
        automl_algorithm: str | None = None,
        eval_overrides: Mapping[str, Any] | None = None,
        workspace_dir: str | Path | None = None,
        wandb_config: Mapping[str, Any] | None = None,
        confirm: Callable[[dict[str, Any]], bool] | None = None,
        max_hours: float | None = None,
        accept_no_baseline: bool = False,
        review_only: bool = False,
        in_process: bool = False,
        trials_per_gpu: int | str | None = None,
        ray_address: str = "",
        listeners: Listeners = (),
        should_stop: Callable[[], bool] = lambda: False,
        **platform_kwargs: Any,
    ) -> dict[str, Any]:
        """Search to the end of the budget and return the result.

        Args:
            train_dataset_uri: root of the training data, joined with the skill's table.
            eval_dataset_uri: root of the data of the final evaluation.
            base_checkpoint: weights that every trial starts from, and the baseline.
            image: container image of platform jobs; empty means the action's, then the skill's.
            automl_settings: see `docs/automl.md`.
            automl_hyperparameters: searched parameters; None means the schema's default list.
            custom_param_ranges: name -> {valid_min, valid_max, valid_options, option_weights, ...}.
            workspace_path: a new `run_<timestamp>` is made in it; with `resume` it is that folder.
            spec_overrides: dotted, nested or short spec keys for every trial.
            resume: go on with `workspace_path` as it is.
            metric_extractor: `(logs, metric_name) -> value or None`.
            eval_fn: `(rec, train_job_id) -> value, {metric: value} or None`; it beats the log.
            final_eval_fn: `(best_rec, train_job_id) -> value or {"metric_value": ...}`.
            on_recommendation: `(rec)`, before a trial starts.
            on_result: `(rec, metric, status)`, after it was told to the algorithm.
            workspace_id: the platform's name of the workspace; kept, and not passed to its jobs.
            baseline_fn: `(base_specs) -> value or None`, asked once before the first trial.
            execution: a `python_script` in place of the action's own.
            feedback_fn: `(rec, train_job_id) -> notes`, kept with each trial.
            automl_algorithm: the same as `automl_settings["algorithm"]`.
            eval_overrides: data keys of the final evaluation, where no root says where they lie.
            workspace_dir: the same as `workspace_path`.
            wandb_config: `{"enabled", "project"}`.
            confirm: asked with the review before the first trial; False ends the run.
            max_hours: longer searches stop at the review.
            accept_no_baseline: go on when the baseline cannot be evaluated.
            review_only: end behind the review, whatever `confirm` says.
            in_process: one trial at a time in this process, without workers.
            trials_per_gpu: how many trials share a GPU, or `auto`; None leaves one on each.
            ray_address: a Ray cluster that is up already: `auto`, or `host:port` of its head.
            listeners: factories of further event listeners, as `SearchSettings.listeners`.
            should_stop: asked at every step whether to pause.
            **platform_kwargs: passed on to every job of the platform as they are.

        Returns:
            The keys are stable; more may be added. Plain data:

            ``best``: None, or ``rec_id``, ``specs``, ``metric_value``, ``objective_score``,
            ``objective_values``, ``adjustments``, ``job_id`` and more.
            ``progress``: ``completed``, ``total``, ``best_metric``, ``best_rec_id``, ``algorithm``.
            ``baseline``: ``enabled``, ``metric_name``, ``metric_value``, ``status``,
            ``comparison_to_best`` (None where ``not_compared`` says why), ``failure_reason``,
            ``record_path``.
            ``final_evaluation``: the same with ``comparison_to_baseline``, ``source`` and whatever
            `final_eval_fn` returned; ``callback_error`` is its status where that raised.
            ``history``: ``rec_id``, ``metric``, ``objective_score``, ``objective_values``,
            ``status``, ``failure_reason``, ``adjustments``, ``specs``, ``job_id`` of each trial.
            ``pareto_front``: with several objectives, the trials that none other beats.
            See `hpo.automl.outcome.build_result` for the rest.

        Raises:
            ValueError: for wrong settings, overrides or ranges, all at once where possible.
            FileNotFoundError: when schema or template of the skill are missing.
            HpoError: for anything else that the caller can mend, before a trial starts.
        """
        for name, path in (("workspace_path", workspace_path), ("workspace_dir", workspace_dir)):
            if path:
                check_path(path, name)
        check_spec(spec_overrides, "spec_overrides")
        check_truth(resume, "resume")
        check_truth(in_process, "in_process")
        check_truth(review_only, "review_only")
        check_functions({"confirm": confirm, "should_stop": should_stop})
        check_listeners(listeners)
        if workspace_path and workspace_dir and Path(workspace_path) != Path(workspace_dir):
            raise AutoMLError("workspace_path: and workspace_dir are the same; give one of them")
        poll_s = _seconds(platform_kwargs.pop("poll_interval", self.poll_interval))
        if image and (execution or self.skill.action(self.action).get("execution")):
            raise AutoMLError("image: must be left out, as a Python script runs without one")
        unknown = sorted(set(platform_kwargs) - set(OURS))
        if unknown and self._platform is None:
            raise AutoMLError(
                f"run: {', '.join(unknown)}: no such argument; it would go to a platform's jobs"
            )
        here = {
            "in_process": in_process,
            "ray_address": ray_address,
            "trials_per_gpu": trials_per_gpu,
        }
        if self._platform is not None and (given := [name for name in here if here[name]]):
            raise AutoMLError(
                f"{', '.join(given)}: trials are jobs of {type(self._platform).__name__}, which "
                "says where they run; leave it out"
            )
        if image and self._platform is None:
            logger.warning("image %s: not used, as trials run on this machine", image)
        if workspace_id is not None:
            logger.info("workspace_id %s: kept here, not passed to jobs", workspace_id)
        wanted = workspace_path or workspace_dir or self._workspace_dir
        overrides = dict(spec_overrides or {})
        is_here = self._platform is None  # elsewhere `results_dir` is a path of the platform
        place, rest = choose_place(wanted, overrides if is_here else {}, Path(_DEFAULT_WORKSPACE))
        roots = {"train_dataset_uri": train_dataset_uri, "eval_dataset_uri": eval_dataset_uri}
        request = Request(
            skill=self.skill,
            action=self.action,
            workspace=place,
            settings=automl_settings or {},
            algorithm=automl_algorithm,
            hyperparameters=automl_hyperparameters,
            ranges=custom_param_ranges,
            overrides=rest if is_here else overrides,
            eval_overrides=eval_overrides or {},
            roots={name: text for name, uri in roots.items() if (text := text_of(uri, name))},
            base_checkpoint=text_of(base_checkpoint, "base_checkpoint"),
            image=image or "",
            platform=type(self._platform).__name__ if self._platform is not None else "",
            trainer=self._trainer,
            reports_at_end=eval_fn is not None,
            has_extractor=metric_extractor is not None,
            trials_per_gpu=trials_per_gpu,
            execution=execution,
            platform_arguments=platform_kwargs,
        )
        hooks = Hooks(
            metric_extractor=metric_extractor,
            eval_fn=eval_fn,
            baseline_fn=baseline_fn,
            final_eval_fn=final_eval_fn,
            feedback_fn=feedback_fn,
            on_recommendation=on_recommendation,
            on_result=on_result,
        )
        route = RouteSettings(
            hooks=hooks,
            platform=self._platform,
            platform_arguments={k: v for k, v in platform_kwargs.items() if k not in OURS},
            poll_s=poll_s,
            max_hours=max_hours,
            accept_no_baseline=accept_no_baseline,
            review_only=review_only,
        )
        search = SearchSettings(
            executor="inprocess" if in_process else "ray",
            ray_address=ray_address,
            probe=self._platform is None,
            confirm_start=lambda review: confirm is None or confirm(data_of(review)),
            listeners=(mlflow_listener, *listeners, *wandb_listeners(wandb_config)),
            should_stop=should_stop,
        )
        ended = execute(request, route, search, resume=resume)
        if ended.declined:
            raise ReviewDeclinedError(f"{ended.run}: {ended.declined}")
        return ended.result

    def review(self, *given: Any, **arguments: Any) -> dict[str, Any]:
        """Do everything up to the review and return it; nothing is trained.

        A search that is over has none: what comes back is empty, and nothing is changed.

        Args:
            *given: those of `run`.
            **arguments: those of `run`.
        """
        seen: dict[str, Any] = {}

        def keep(review: dict[str, Any]) -> bool:
            seen.update(review)
            return False

        try:
            self.run(*given, **{**arguments, "confirm": keep, "review_only": True})
        except ReviewDeclinedError:
            if not seen:
                raise
        return seen


def _seconds(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= _LONGEST_POLL_S:
        raise AutoMLError(
            f"poll_interval: must be a number of seconds above 0, at most a day, got {value!r}"
        )
    return float(value)
