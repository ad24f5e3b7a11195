"""Turns the arguments of `run` into a study and a workspace description; starts nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.automl.data_keys import eval_keys, start_weights, study_sources, train_keys
from hpo.automl.errors import AutoMLError
from hpo.automl.intervals import adjust_intervals
from hpo.automl.metrics import DEFAULT_METRIC, monitoring_metrics, resolve_direction, resolve_metric
from hpo.automl.policy import without_policy
from hpo.automl.routing import demand_runnable
from hpo.automl.settings import MAX_EPOCHS, NO_LIMIT, AutoMLSettings, read_settings
from hpo.automl.skill_trainer import SkillTrainer, registered_trainer, trainer_name
from hpo.automl.workspace import RESULTS_DIR, RUNGS_STYLE, RUNNING_STYLE, WorkspaceFacts
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import flatten, lookup, merged, nest
from hpo.core.yaml_io import read_yaml
from hpo.run.checkpoint_retention import ALL
from hpo.study.batches import adjust_batch
from hpo.study.overrides import Overrides, resolve_overrides
from hpo.study.plan import as_user_errors
from hpo.study.sections import SearchOptions
from hpo.study.sharing import check_sharing
from hpo.study.skill import Skill
from hpo.study.spec import StudySpec
from hpo.study.trainers import find_trainer

if TYPE_CHECKING:
    from search_spaces import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a caller asks for."""

    skill: Skill
    action: str = "train"
    workspace: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str | None = None
    hyperparameters: Sequence[str] | None = None
    ranges: Any = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)
    eval_overrides: Mapping[str, Any] = field(default_factory=dict)
    """Data keys of the final evaluation, where they are others than those of training."""
    base_checkpoint: str = ""
    image: str = ""
    platform: str = ""
    """Class of the platform; empty for trials on this machine."""
    trainer: str = ""
    reports_at_end: bool = False
    """Whether a trial's value is known at its end alone."""
    needs_data: bool = True
    """Whether the trainer's data sources must be known here."""
    policy: str = "on"
    trials_per_gpu: int | str | None = None
    """How many trials share a GPU, or `auto`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A study, and what its workspace knows beyond it."""

    study: StudySpec
    facts: WorkspaceFacts
    settings: AutoMLSettings


@contextlib.contextmanager
def as_value_errors() -> Iterator[None]:
    """Turn wrong input into the built-in kind that callers of the published API expect."""
    try:
        with as_user_errors():
            yield
    except SpecError as error:
        if isinstance(error, ValueError | OSError):
            raise
        raise AutoMLError(str(error)) from error


def plan_request(request: Request) -> Planned:
    """Check everything that was asked for and make a study of it.

    Raises:
        AutoMLError: for whatever is wrong with settings, overrides or ranges (a `ValueError`).
        NotRunnableError: when the skill folder lacks schema or template.
        DataError: naming every source that is missing.
    """
    demand_runnable(request.skill, request.action)
    with as_value_errors():
        request = replace(
            request,
            settings=without_policy(request.settings, "automl_settings"),
            overrides=without_policy(request.overrides, "spec_overrides"),
        )
        return _Planner(request).plan()


class _Planner:
    """One request on its way to a study."""

    def __init__(self, request: Request) -> None:
        from search_spaces import load_schema

        self.request, self.skill = request, request.skill
        self.schema: Schema = load_schema(self.skill.schema_file(request.action))
        self.template = read_yaml(self.skill.template_file(request.action))
        self.settings = read_settings(request.settings, algorithm=request.algorithm)
        self.warnings = list(self.settings.warnings)
        named = request.trainer
        self.registered: Trainer | None = (
            find_trainer(named) if named else registered_trainer(self.skill.network_arch)
        )
        self.overrides = self._read_overrides()

    def plan(self) -> Planned:
        """Make the study."""
        metric, direction = self._metric()
        options = dict(self.settings.options)
        train_data = train_keys(self.request, self.overrides)
        eval_data, no_eval = eval_keys(self.request)
        name = trainer_name(
            self.skill.path,
            metric=metric,
            direction=direction,
            trainer=self.request.trainer,
            samples=self.settings.values["train_sample_count"],
            is_elsewhere=bool(self.request.platform),
        )
        trainer = SkillTrainer(name.partition("@")[2])
        given = merged(
            self.overrides.nested,
            nest(train_data),
            nest(start_weights(self.request, self.overrides, trainer)),
            nest(self._epochs(options)),
        )
        given, adjustments = self._adjust(trainer, given, options)
        total = self._total(options, int(lookup(trainer.validate(given), trainer.epochs_key)))
        study = StudySpec(
            name=self.request.workspace.name,
            trainer=name,
            data=study_sources(self.request, trainer, given, eval_data),
            spec=given,
            budget=Budget(trials=total or NO_LIMIT),
            search=self._search(options),
            **self._slots(options),
            keep=ALL,  # `automl_delete_intermediate_ckpt` says what goes, at the end
        )
        facts = replace(
            self._facts(metric, direction),
            total=total,
            adjustments=adjustments,
            warnings=list(self.warnings),
            train_keys=train_data,
            eval_keys=eval_data,
            no_eval_reason=no_eval,
        )
        return Planned(study=study, facts=facts, settings=self.settings)

    def _facts(self, metric: str, direction: str) -> WorkspaceFacts:
        """What the request alone says of the workspace."""
        request, values = self.request, self.settings.values
        return WorkspaceFacts(
            skill_dir=str(self.skill.path),
            network=self.skill.title,
            metric=metric,
            direction=direction,
            algorithm=self.settings.algorithm,
            style=RUNGS_STYLE if self._is_rungs() else RUNNING_STYLE,
            platform=request.platform,
            image=request.image,
            base_checkpoint=request.base_checkpoint,
            policy=request.policy,
            session_id=str(values["session_id"]),
            run_final_evaluation=bool(values["run_final_evaluation"]),
            delete_intermediate=bool(values["automl_delete_intermediate_ckpt"]),
        )

    def _read_overrides(self) -> Overrides:
        from search_spaces import load_schema

        more: set[str] = set()
        if self.registered is not None:
            from hpo.study.skill import load_skill

            file = load_skill(self.registered.skill_dir).schema_file("train")
            more = set(load_schema(file).leaves) if file.is_file() else set()
        found = resolve_overrides(
            self.request.overrides, self.skill, self.schema, self.template, known=more
        )
        if text := found.warning(is_registered=self.registered is not None):
            self.warnings.append(text)
        if self.request.platform and found.nested.get(RESULTS_DIR):
            self.warnings.append(
                f"{RESULTS_DIR}: {found.nested[RESULTS_DIR]} is of no use to jobs of "
                f"{self.request.platform}, each of which has a folder of its own"
            )
        return found

    def _metric(self) -> tuple[str, str]:
        named = self.settings.metric
        metric = resolve_metric(named, self.skill, self.registered)
        direction, warning = resolve_direction(metric, str(self.settings.values["direction"]))
        if warning:
            self.warnings.append(warning)
        own = monitoring_metrics(self.skill, self.registered)
        if "metric" not in self.settings.given and own:
            self.warnings.append(
                f"metric: none was given, so {DEFAULT_METRIC!r}, the published default, is "
                f"optimized; this model is judged by {own[0]!r}: pass metric='kpi' for that"
            )
        return metric, direction

    def _epochs(self, options: dict[str, Any]) -> dict[str, int]:
        """Let the algorithm's longest trial and the spec's number of epochs be one number."""
        longest = self.settings.max_epochs
        if longest is None:
            return {}
        key = self._epochs_key()
        own = flatten(self.overrides.nested).get(key)
        if own is None:
            return {key: longest}
        if MAX_EPOCHS in self.settings.given or "automl_max_epochs" in self.settings.given:
            if int(own) != longest:
                raise AutoMLError(
                    f"automl_max_epochs: {longest} contradicts {key} {own} in spec_overrides; "
                    "give one of them"
                )
        else:
            options[MAX_EPOCHS] = int(own)
        return {}

    def _epochs_key(self) -> str:
        if self.registered is not None:
            return self.registered.epochs_key

        return self.skill.shorthands.get("num_epochs", "train.num_epochs")

    def _adjust(
        self, trainer: SkillTrainer, given: dict[str, Any], options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Bring batch and intervals into what can be searched; returns the spec and the records."""
        full, key = trainer.validate(given), trainer.batch_key
        batch = adjust_batch(
            full,
            key,
            multiple_of=trainer.multiple_of,
            limit=trainer.own_limits(full).get(key, (None, None)),
            cap=trainer.batch_cap(full),
            explicit=self.overrides.names,
            force=bool(self.settings.values["force"]),
        )
        self.warnings += batch.warnings
        given = merged(given, nest(batch.values))
        often = adjust_intervals(
            trainer.validate(given),
            trainer.epochs_key,
            options,
            is_length_searched=trainer.epochs_key in self._searched(),
        )
        return merged(given, nest(often.values)), [*batch.records, *often.records]

    def _search(self, options: Mapping[str, Any]) -> SearchOptions:
        names = self.request.hyperparameters
        if names is not None and (isinstance(names, str) or not list(names)):
            raise AutoMLError(
                f"automl_hyperparameters: must be None or a list of dotted names, got {names!r}"
            )
        for name in sorted(self._searched() & self.overrides.names):
            self.warnings.append(
                f"{name}: is set in spec_overrides and searched too; the first trial has its value"
            )
        values = self.settings.values
        return SearchOptions(
            algorithm=self.settings.algorithm,
            algorithm_options=dict(options),
            pruner="none" if self._is_rungs() else str(values["pruner"]),
            seed=int(values["seed"]),
            confirm=int(values["confirm"]),
            over=tuple(names or ()),
            custom_param_ranges=_by_name(self.request.ranges),
            override_automl_disabled_params=bool(values["override_automl_disabled_params"]),
        )

    def _searched(self) -> set[str]:
        return set(self.request.hyperparameters or self.schema.default_parameters)

    def _is_rungs(self) -> bool:
        """Whether every rung is a job of its own: where values are known at the end alone."""
        at_end = self.request.platform or self.request.reports_at_end or self.registered is None
        return bool(at_end and self.settings.stops_trials)

    def _slots(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """How many trials run at a time: a number, or by how many share a GPU."""
        concurrent, asked = self._concurrent(options), self.request.trials_per_gpu
        if asked is None:
            return {"concurrent": concurrent}
        return {"trials_per_gpu": check_sharing(asked, concurrent, "trials_per_gpu")}

    def _concurrent(self, options: Mapping[str, Any]) -> int | None:
        asked = options.get("max_concurrent") or self.settings.values["automl_max_concurrent"]
        if "automl_max_concurrent" in self.settings.given or "max_concurrent" in (
            self.settings.given
        ):
            return int(asked)
        if self.request.platform:
            return int(asked or 1)
        return None

    def _total(self, options: Mapping[str, Any], num_epochs: int) -> int | None:
        """How many trials there will be; None where only the search itself can tell."""
        asked = self.settings.max_recommendations
        if asked is not None or "rounds" not in options:
            return asked
        from hpo.algorithms.brackets import hyperband_brackets

        brackets = hyperband_brackets(
            int(options.get(MAX_EPOCHS) or num_epochs),
            int(options.get("epoch_multiplier") or 1),
            int(options["reduction_factor"]),
        )
        sizes = [sum(b.sizes) if self._is_rungs() else b.sizes[0] for b in brackets]
        return int(options["rounds"]) * sum(sizes)


def _by_name(ranges: Any) -> dict[str, Any]:
    """Custom ranges by name, from either published form."""
    if ranges is None:
        return {}
    if isinstance(ranges, Mapping):
        return {str(name): dict(entry) if isinstance(entry, Mapping) else entry
                for name, entry in ranges.items()}  # fmt: skip
    if not isinstance(ranges, list | tuple):
        raise AutoMLError(f"custom_param_ranges: must be a mapping or a list, got {ranges!r}")
    found = {}
    for entry in ranges:
        if not isinstance(entry, Mapping) or "parameter" not in entry:
            raise AutoMLError(
                f"custom_param_ranges: each entry of a list needs 'parameter', got {entry!r}"
            )
        found[str(entry["parameter"])] = {k: v for k, v in entry.items() if k != "parameter"}
    return found
