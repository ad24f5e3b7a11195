"""Turns the arguments of `run` into a study and a workspace description; starts nothing."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo.algorithms.brackets import Length
from hpo.algorithms.pruners import PRUNERS
from hpo.algorithms.registry import AUTO, find_algorithm
from hpo.automl.command_trainer import full_template
from hpo.automl.data_keys import anchored_roots, eval_keys, start_weights, study_sources, train_keys
from hpo.automl.errors import AutoMLError
from hpo.automl.intervals import adjust_intervals
from hpo.automl.metrics import DEFAULT_METRIC, monitoring_metrics, resolve_metric
from hpo.automl.objectives import Objectives, read_objectives
from hpo.automl.plan_parts import all_ranges, altered_keys, count_samples, described_cap
from hpo.automl.policy import without_policy
from hpo.automl.request import Request
from hpo.automl.routing import demand_runnable, read_template
from hpo.automl.script import read_execution
from hpo.automl.script_schema import check_script_schema, check_script_spec
from hpo.automl.settings import (
    DEFAULT_ALGORITHM,
    EVALUATION_KEYS,
    MAX_EPOCHS,
    AutoMLSettings,
    read_settings,
)
from hpo.automl.skill_trainer import SkillTrainer, find_registered, keys_of
from hpo.automl.workspace import RESULTS_DIR, RUNGS_STYLE, RUNNING_STYLE, WorkspaceFacts
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, merged, nest
from hpo.jobs.spec_formats import demand_command
from hpo.run.checkpoint_retention import ALL
from hpo.study.batches import adjust_batch
from hpo.study.overrides import Overrides, resolve_overrides
from hpo.study.plan import as_user_errors, num_epochs_of, validated_every
from hpo.study.sections import SearchOptions
from hpo.study.sharing import check_sharing
from hpo.study.skill_address import TrainerFacts, trainer_name
from hpo.study.spec import StudySpec
from hpo.study.spec_paths import anchored_spec
from search_spaces import Schema, load_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A study, and what its workspace knows beyond it."""

    study: StudySpec
    facts: WorkspaceFacts
    settings: AutoMLSettings
    style: str
    """`rungs` where every rung is a job of its own, else `running`."""


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


def _in_order(names: Collection[str]) -> tuple[str, ...]:
    """Names as they were listed; those of a set in an order that every process finds again."""
    return tuple(sorted(names) if isinstance(names, Set) else names)


class _Planner:
    """One request on its way to a study."""

    def __init__(self, request: Request) -> None:
        self.request, self.skill = request, request.skill
        self.schema: Schema = load_schema(self.skill.schema_file(request.action))
        self.template = full_template(self.skill, request.action)
        self.settings = read_settings(request.settings, algorithm=request.algorithm)
        self.warnings = list(self.settings.warnings)
        if "algorithm" not in self.settings.given and not request.algorithm:
            self.warnings.append(
                f"algorithm: none was given, so {DEFAULT_ALGORITHM}, the published default, is used"
            )
        self.warnings += altered_keys(read_template(self.skill.template_file(request.action)))
        self.script = read_execution(
            self.skill.path, self.skill.action(request.action), request.execution
        )
        self.registered = find_registered(self.skill, request.action, request.trainer, self.script)
        if self.script is not None:
            check_script_schema(self.skill.schema_file(request.action))
        elif self.registered is None and not request.platform:
            demand_command(self.skill, request.action)
        self.overrides = self._read_overrides()

    def plan(self) -> Planned:
        """Make the study."""
        objectives = self._objectives()
        options = dict(self.settings.options)
        train_data = train_keys(self.request, self.overrides)
        eval_data, no_eval = eval_keys(self.request)
        name = trainer_name(
            self.skill.path,
            TrainerFacts(
                metric=objectives.primary.metric,
                direction=objectives.direction,
                trainer=self.request.trainer,
                samples=count_samples(
                    self.settings.values,
                    self.request.platform_arguments,
                    merged(self.template, self.overrides.nested),
                ),
                is_elsewhere=bool(self.request.platform),
                primary=objectives.primary.direction if objectives.is_several else "",
                action=self.request.action,
                execution=dict(self.request.execution) if self.request.execution else None,
            ),
        )
        trainer = SkillTrainer(name.partition("@")[2])
        given = merged(
            self.overrides.nested,
            nest(train_data),
            nest(start_weights(self.request, self.overrides, trainer)),
            nest(self._epochs(options)),
        )
        given, adjustments = self._adjust(trainer, given, options)
        full = trainer.validate(given)
        every = validated_every(full, trainer, style=self._style())
        length = Length(num_epochs_of(full, trainer), every)
        total = self._fit(options, length)
        if self.script is not None:
            check_script_spec(self.skill.schema_file(self.request.action), trainer.validate(given))
        study = StudySpec(
            name=self.request.workspace.name,
            trainer=name,
            data=study_sources(self.request, trainer, given, eval_data),
            spec=given,
            budget=Budget(trials=total),
            search=self._search(options),
            **self._slots(options),
            keep=ALL,  # `automl_delete_intermediate_ckpt` says what goes, at the end
        )
        facts = replace(
            self._facts(objectives),
            total=total,
            adjustments=adjustments,
            warnings=list(self.warnings),
            train_keys=train_data,
            eval_keys=eval_data,
            no_eval_reason=no_eval,
        )
        return Planned(study=study, facts=facts, settings=self.settings, style=self._style())

    def _facts(self, objectives: Objectives) -> WorkspaceFacts:
        """What the request alone says of the workspace."""
        request, values = self.request, self.settings.values
        session = str(values["session_id"]) or uuid.uuid4().hex[:12]
        return WorkspaceFacts(
            skill_dir=str(self.skill.path),
            network=self.skill.title,
            metric=objectives.primary.metric,
            direction=objectives.primary.direction,
            objectives=objectives.to_list() if objectives.is_several else [],
            algorithm=self.settings.algorithm,
            platform=request.platform,
            image=request.image,
            base_checkpoint=request.base_checkpoint,
            roots=anchored_roots(request.roots, request.platform),
            has_eval_fn=request.reports_at_end,
            has_extractor=request.has_extractor,
            force=bool(values["force"]),
            policy=request.policy,
            session_id=session,
            experiment_id=str(values["experiment_id"]) or session,
            action=request.action,
            execution=dict(request.execution) if request.execution else None,
            evaluations=self._evaluations(),
            delete_intermediate=values["automl_delete_intermediate_ckpt"],
            retention=str(values["automl_checkpoint_retention_strategy"]).strip().lower(),
        )

    def _evaluations(self) -> dict[str, Any]:
        """The settings of baseline and final evaluation, as far as they say something."""
        values = {name: self.settings.values[name] for name in EVALUATION_KEYS}
        return {name: value for name, value in values.items() if value not in (None, "")}

    def _objectives(self) -> Objectives:
        """What is optimized; the primary objective first."""
        objectives, warnings = read_objectives(
            self.settings.values,
            self.settings.given,
            lambda name: resolve_metric(name, self.skill, self.registered),
        )
        self._warn_of_settings(*warnings)
        own = monitoring_metrics(self.skill, self.registered)
        if not self.settings.given & {"metric", "objectives"} and own:
            self.warnings.append(
                f"metric: none was given, so {DEFAULT_METRIC!r}, the published default, is "
                f"optimized; this model is judged by {own[0]!r}: pass metric='kpi' for that"
            )
        return objectives

    def _read_overrides(self) -> Overrides:
        more = keys_of(self.registered) if self.registered is not None else ()
        found = resolve_overrides(
            self.request.overrides, self.skill, self.schema, self.template, known=more
        )
        if text := found.warning(is_registered=self.registered is not None):
            self.warnings.append(text)
        if self.request.platform and found.nested.get(RESULTS_DIR):
            self.warnings.append(
                f"{RESULTS_DIR}: {found.nested[RESULTS_DIR]} is not passed on to "
                f"{self.request.platform}: each trial has a folder of its own"
            )
        if self.request.platform or self.registered is None:
            return found  # paths as the platform, or the command in its own folder, sees them
        return replace(found, nested=anchored_spec(found.nested, self.registered, Path.cwd()))

    def _epochs(self, options: dict[str, Any]) -> dict[str, int]:
        """Let the algorithm's longest trial and the spec's number of epochs be one number."""
        longest, key = self.settings.max_epochs, self._epochs_key()
        if not key and self.settings.stops_trials:
            raise AutoMLError(
                f"automl_settings.algorithm: {self.settings.algorithm} compares trials after "
                f"several numbers of epochs, and {self.skill.title} has none; take bayesian"
            )
        if self.settings.stops_trials and key in self._searched():
            raise AutoMLError(
                f"automl_hyperparameters: {key} cannot be searched by {self.settings.algorithm}, "
                "which sets it itself; name others, or take bayesian"
            )
        if longest is None or not key:
            return {}
        own = flatten(self.overrides.nested).get(key)
        if own is None:
            return {key: longest}
        if MAX_EPOCHS in self.settings.given:
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
        key = self.skill.shorthands.get("num_epochs", "train.num_epochs")
        return key if key in flatten(self.template) else ""

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
        records = [described_cap(record, trainer, full) for record in batch.records]
        given = merged(given, nest(batch.values))
        often = adjust_intervals(
            trainer.validate(given),
            trainer.epochs_key,
            options,
            is_length_searched=trainer.epochs_key in self._searched(),
        )
        return merged(given, nest(often.values)), [*records, *often.records]

    def _search(self, options: Mapping[str, Any]) -> SearchOptions:
        for name in sorted(self._searched() & self.overrides.names):
            self.warnings.append(
                f"{name}: is set in spec_overrides and searched too; the search starts from it"
            )
        values = self.settings.values
        return SearchOptions(
            algorithm=self.settings.algorithm,
            algorithm_options=dict(options),
            pruner=self._pruner(),
            seed=int(values["seed"]),
            confirm=int(values["confirm"]),
            over=_in_order(self.request.hyperparameters or ()),
            custom_param_ranges=all_ranges(self.request.ranges, self.settings.values),
            override_automl_disabled_params=bool(values["override_automl_disabled_params"]),
        )

    def _searched(self) -> set[str]:
        return set(self.request.hyperparameters or self.schema.default_parameters)

    def _pruner(self) -> str:
        """The pruner that was asked for; none where there is only one value to go by."""
        asked, settings = str(self.settings.values["pruner"]), self.settings
        if not self._is_told_at_end():
            return asked
        why = "as a trial's value is known at its end alone"
        if "early_stop_threshold" in settings.options:
            self._warn_of_settings(
                f"early_stop_threshold: {settings.algorithm} stops no trial between rungs, {why}"
            )
        if settings.stops_trials or asked not in (AUTO, *PRUNERS):
            return asked  # refused, with the reason, where it is one
        if asked not in (AUTO, "none"):
            self._warn_of_settings(f"pruner: {asked} has no effect, {why}")
        return "none"

    def _warn_of_settings(self, *texts: str) -> None:
        """Warn of what has no effect, at the start and at each resume that gives it."""
        self.warnings += texts
        self.settings = replace(self.settings, warnings=(*self.settings.warnings, *texts))

    def _is_told_at_end(self) -> bool:
        """Whether the engine gets a trial's value only when the trial has ended."""
        return bool(self.request.platform or self.request.reports_at_end)

    def _style(self) -> str:
        """Whether every rung is a job of its own."""
        at_end = self._is_told_at_end() or self.registered is None
        return RUNGS_STYLE if at_end and self.settings.stops_trials else RUNNING_STYLE

    def _slots(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """How many trials run at a time: a number, or by how many share a GPU."""
        asked = options.get("max_concurrent") or self.settings.values["automl_max_concurrent"]
        is_given = self.settings.given & {"automl_max_concurrent", "max_concurrent"}
        concurrent = int(asked or 1) if is_given or self.request.platform else None
        sharing = self.request.trials_per_gpu
        if sharing is None:
            return {"concurrent": concurrent}
        return {"trials_per_gpu": check_sharing(sharing, concurrent, "trials_per_gpu")}

    def _fit(self, options: dict[str, Any], length: Length) -> int | None:
        """Fit options that were not given; return how many trials there will be, if that is known.

        A published default gives way where the search could not be finished with it.
        """
        asked = self.settings.max_recommendations
        if self.settings.algorithm == AUTO:
            return asked
        entry = find_algorithm(self.settings.algorithm)
        if entry.fit is not None:
            given = {name: options[name] for name in options.keys() & self.settings.given}
            options |= entry.fit(given, length, asked)
        if asked is not None or entry.num_trials is None:
            return asked
        return entry.num_trials(options, length, self._style())
