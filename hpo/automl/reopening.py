"""Compares what a workspace is asked for when it is opened again with what it was begun for.

What is given is used or refused, never passed over; what is not given is as it was begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpo.algorithms.pruners import PRUNERS
from hpo.algorithms.registry import AUTO
from hpo.automl.data_keys import anchored_roots
from hpo.automl.planning import Planned
from hpo.automl.policy import without_policy
from hpo.automl.request import Request
from hpo.automl.schema_skill import is_written
from hpo.automl.settings import (
    EVALUATION_KEYS,
    MAX_RECOMMENDATIONS,
    SAMPLE_COUNT,
    SAMPLE_COUNT_NAMES,
    UNSAFE_BATCH,
    read_settings,
)
from hpo.automl.workspace import WorkspaceFacts, demand_platform
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, plain
from hpo.run.next_commands import BY_CALLER
from hpo.study.skill import INFO_FILE, Skill
from hpo.study.skill_address import TrainerFacts, moved_name, read_address
from hpo.study.spec import StudySpec

_OBJECTIVES = frozenset(
    {"objectives", "multi_objective", "metric_weight", "metric_scale",
     "latency_metric", "latency_direction", "latency_weight", "latency_scale"}
)  # fmt: skip
_BATCH = frozenset({SAMPLE_COUNT, UNSAFE_BATCH})
_BATCH_NAMES = {*SAMPLE_COUNT_NAMES, UNSAFE_BATCH}
_CONCURRENT = frozenset({"automl_max_concurrent", "max_concurrent"})
_ENDPOINT = "llm_"
"""How names of options begin that say how a language model is reached and asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a start of a workspace changes of it, by field."""

    study: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def needs_planning(request: Request) -> bool:
    """Whether a request says anything that only a plan of it can compare with the workspace."""
    batch = _BATCH_NAMES & request.platform_arguments.keys()
    given = (request.settings, request.algorithm, request.overrides, request.ranges,
             request.eval_overrides, request.trials_per_gpu, batch)  # fmt: skip
    return any(given) or request.hyperparameters is not None


def complete_request(request: Request, study: StudySpec, facts: WorkspaceFacts) -> Request:
    """What a resumed search is asked for: what was begun, under what is given now."""
    settings = without_policy(request.settings, "automl_settings")
    settings = {key: value for key, value in settings.items() if value is not None}
    begun = _begun_settings(request, settings, study, facts)
    sharing = request.trials_per_gpu
    if sharing is None and not _CONCURRENT & {*begun, *settings}:
        sharing = study.trials_per_gpu
    roots = request.roots if facts.roots is None else facts.roots
    says_data = bool(request.overrides or request.eval_overrides)
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
        trainer=request.trainer or _trainer_of(study).trainer,
        # Where nothing of them is given, the data keys stand in the spec that was begun.
        roots=roots if says_data else {},
        eval_overrides=request.eval_overrides or (facts.eval_keys if says_data and roots else {}),
        base_checkpoint=request.base_checkpoint or facts.base_checkpoint,
        trials_per_gpu=sharing,
    )


def follow_skill(
    study: StudySpec, facts: WorkspaceFacts, skill: Skill
) -> tuple[StudySpec, WorkspaceFacts]:
    """The same workspace with the skill folder that is given now, where its own is gone."""
    if Path(facts.skill_dir).exists():
        return study, facts
    here = str(skill.path)
    trainer = moved_name(study.trainer, {facts.skill_dir: here})
    return replace(study, trainer=trainer), replace(facts, skill_dir=here)


def _begun_settings(
    request: Request, settings: Mapping[str, Any], study: StudySpec, facts: WorkspaceFacts
) -> dict[str, Any]:
    """The settings of a workspace, but those that are given now by whatever spelling."""
    search, trainer = study.search, _trainer_of(study)
    is_named = {"algorithm", "automl_algorithm"} & settings.keys() or request.algorithm
    told = read_settings(settings, algorithm=request.algorithm or (
        None if is_named else search.algorithm
    ))  # fmt: skip
    begun: dict[str, Any] = {"metric": facts.metric, "direction": facts.direction}
    if facts.objectives and not told.given & _OBJECTIVES:
        begun["objectives"] = facts.objectives
    if not is_named:
        begun["algorithm"] = search.algorithm
    if told.algorithm == search.algorithm:
        begun |= {key: value for key, value in search.algorithm_options.items()
                  if key not in told.given and key not in _CONCURRENT}  # fmt: skip
    if not told.given & _CONCURRENT and request.trials_per_gpu is None:
        begun["automl_max_concurrent"] = study.concurrent
    if not told.given & _BATCH and not _BATCH_NAMES & request.platform_arguments.keys():
        begun |= {SAMPLE_COUNT: trainer.samples, UNSAFE_BATCH: trainer.samples is None}
    begun["force"] = facts.force if "force" not in told.given else None
    begun["override_automl_disabled_params"] = search.override_automl_disabled_params
    return {key: value for key, value in begun.items() if value is not None}


def _trainer_of(study: StudySpec) -> TrainerFacts:
    return read_address(study.trainer.partition("@")[2])[1]


def demand_same_start(
    folder: Path, request: Request, study: StudySpec, facts: WorkspaceFacts
) -> None:
    """Refuse what says by itself that another search is asked for.

    Raises:
        SpecError: naming it, what was begun, and what was got.
        RunError: its trials are jobs of a platform that was not passed.
    """
    if _kind(request.platform) != _kind(facts.platform):
        if request.platform:
            raise _other(folder, "trials on", facts.platform or "this machine", request.platform)
        demand_platform(folder, facts, is_given=False)
    if request.action != facts.action:
        raise _other(folder, "action", facts.action, request.action)
    _demand_same_skill(folder, request.skill, facts)
    roots, held = (
        {} if facts.roots is None else anchored_roots(some or {}, request.platform)
        for some in (request.roots, facts.roots)
    )
    begun = {
        "image": facts.image,
        "base_checkpoint": facts.base_checkpoint,
        "execution": facts.execution,
        "trainer": _trainer_of(study).trainer,
        **{name: held.get(name, "") for name in roots},
    }
    given = {
        "image": request.image,
        "base_checkpoint": request.base_checkpoint,
        "execution": request.execution,
        "trainer": request.trainer,
        **roots,
    }
    for name, now in given.items():
        if now and plain(now) != plain(begun[name]):
            raise _other(folder, name, begun[name] or "none", now)


def _kind(platform: str) -> int:
    """Whether trials are trained here, by the caller, or as jobs of whichever platform."""
    return bool(platform) + (platform == BY_CALLER)


def _demand_same_skill(folder: Path, skill: Skill, facts: WorkspaceFacts) -> None:
    """Refuse another skill folder; a copy is the same one.

    Where the old one is gone, the search spaces are compared, and of a foreign network its files.
    """
    old, new = Path(facts.skill_dir), skill.path
    are_written = is_written(old) and is_written(new)  # of these the search spaces are compared
    is_same = not old.exists() or old == new or are_written or _is_copy(old, skill, facts)
    if skill.title != facts.network or not is_same:
        raise SpecError(
            f"{folder}: was begun with the skill folder {old}, got {new}; give that one, or start "
            "a new workspace"
        )


def _is_copy(old: Path, skill: Skill, facts: WorkspaceFacts) -> bool:
    """Whether a folder holds the files of another one that say what is searched."""
    action = facts.action
    files = (skill.path / INFO_FILE, skill.schema_file(action), skill.template_file(action))
    return all(_bytes_of(file) == _bytes_of(old / file.relative_to(skill.path)) for file in files)


def _bytes_of(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _other(folder: Path, name: str, old: Any, now: Any) -> SpecError:
    return SpecError(
        f"{folder}: was begun with {name} {old}, got {now}; leave it out, or start a new workspace"
    )


def demand_same(folder: Path, study: StudySpec, facts: WorkspaceFacts, planned: Planned) -> None:
    """Refuse to go on with what would be another search.

    Raises:
        SpecError: naming it, what was begun, and what was got.
    """
    new = planned.study
    if new.search.algorithm != study.search.algorithm:
        raise SpecError(
            f"{folder}: was begun with {study.search.algorithm}, got {new.search.algorithm}; "
            "resume with the same algorithm, or start a new workspace"
        )
    for name, old, now in _constants(study, facts, planned):
        if old != now:
            raise _other(folder, name, old, now)
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


def _constants(
    study: StudySpec, facts: WorkspaceFacts, planned: Planned
) -> Iterator[tuple[str, Any, Any]]:
    """What stays while a workspace lives: its name, what was begun, and what is asked for now."""
    new, given = planned.study.search, planned.settings.given
    for name in sorted(given & {"seed", "confirm"}):
        yield name, getattr(study.search, name), getattr(new, name)
    if "pruner" in given and _pruner(study, planned) != _pruner(planned.study, planned):
        yield "pruner", study.search.pruner, new.pruner
    for name in sorted(given & {"session_id", "experiment_id", "force"}):
        if name == "force" and facts.force is None:  # begun by an earlier release
            continue
        yield name, getattr(facts, name), getattr(planned.facts, name)
    begun = study.search.algorithm_options
    for name in sorted(given & new.algorithm_options.keys() - _CONCURRENT):
        if not name.startswith(_ENDPOINT):
            yield name, begun.get(name), new.algorithm_options[name]
    yield SAMPLE_COUNT, _trainer_of(study).samples, _trainer_of(planned.study).samples
    if planned.facts.eval_keys:
        yield "data of the final evaluation", facts.eval_keys, planned.facts.eval_keys


def _pruner(study: StudySpec, planned: Planned) -> str:
    """What is meant by the word for a pruner: none where nothing is pruned, or the algorithm does.

    Earlier releases kept the word that was given.
    """
    idle: tuple[str, ...] = ()
    if planned.settings.stops_trials:
        idle = (AUTO,)
    elif planned.facts.platform or planned.facts.has_eval_fn:
        idle = (AUTO, *PRUNERS)
    return "none" if study.search.pruner in idle else study.search.pruner


def changes_of(study: StudySpec, facts: WorkspaceFacts, planned: Planned) -> Changes:
    """What may change while a workspace lives, as it is asked for now.

    Trials at a time, how a language model is reached, what is deleted, how the start and the best
    trial are evaluated; and the warnings, of what has no effect.
    """
    new, given = planned.study, planned.settings.given
    options = {
        **study.search.algorithm_options,
        **{name: value for name, value in new.search.algorithm_options.items()
           if name.startswith(_ENDPOINT)},
    }  # fmt: skip
    told = planned.facts.evaluations
    wanted = {
        "delete_intermediate": planned.facts.delete_intermediate
        if "automl_delete_intermediate_ckpt" in given else facts.delete_intermediate,
        "warnings": [*facts.warnings, *(
            text for text in planned.settings.warnings if text not in facts.warnings
        )],
        "retention": planned.facts.retention
        if "automl_checkpoint_retention_strategy" in given else facts.retention,
        "evaluations": facts.evaluations | {
            name: told[name] for name in given & {*EVALUATION_KEYS} if name in told
        },
    }  # fmt: skip
    asked = {
        "concurrent": new.concurrent,
        "trials_per_gpu": new.trials_per_gpu,
        "search": replace(study.search, algorithm_options=options),
    }
    return Changes(
        study={name: value for name, value in asked.items() if value != getattr(study, name)},
        facts={name: value for name, value in wanted.items() if value != getattr(facts, name)},
    )
