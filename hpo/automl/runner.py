"""`AutoMLRunner`: searches one skill folder through the calls of the published skill."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.automl.errors import AutoMLError, ReviewDeclinedError
from hpo.automl.execute import execute
from hpo.automl.hooks import Hooks
from hpo.automl.planning import Request
from hpo.automl.platform import Platform
from hpo.automl.routing import open_skill
from hpo.automl.session import RouteSettings
from hpo.automl.workspace import choose_place
from hpo.core.event_json import data_of
from hpo.core.process.imports import warnings_stay_harmless
from hpo.searching.session import SearchSettings

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
        self.network_arch = self.skill.title
        self.action = action
        self._platform = platform_sdk if platform_sdk is not None else sdk
        self._workspace_dir = workspace_dir
        self._trainer = trainer

    @warnings_stay_harmless()
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
            trials_per_gpu: how many trials share a GPU, or `auto`; None leaves one on each.
            ray_address: a Ray cluster that is up already: `auto`, or `host:port` of its head.
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
        wanted = workspace_path or workspace_dir or self._workspace_dir
        own = {} if self._platform is None else dict(spec_overrides or {})
        given = {} if own else spec_overrides or {}
        place, overrides = choose_place(wanted, given, Path(DEFAULT_WORKSPACE))
        request = Request(
            skill=self.skill,
            action=self.action,
            workspace=place,
            settings=automl_settings or {},
            algorithm=automl_algorithm,
            hyperparameters=automl_hyperparameters,
            ranges=custom_param_ranges,
            overrides=own or overrides,
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
            trials_per_gpu=trials_per_gpu,
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
            ray_address=ray_address,
            probe=self._platform is None,
            confirm_start=lambda review: confirm is None or confirm(data_of(review)),
            listeners=(*listeners, *_wandb(wandb_config)),
            should_stop=should_stop,
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


def _wandb(config: Mapping[str, Any] | None) -> Listeners:
    if not config or not config.get("enabled"):
        return ()
    from hpo.automl.wandb_table import make_listener

    return (functools.partial(make_listener, config),)
