"""Builds the algorithm of a planned study: for searches, resumes, rehearsals and `hpo why`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpo.algorithms.around import innermost
from hpo.algorithms.entry import Context
from hpo.algorithms.registry import create_algorithm
from hpo.algorithms.unit_points import default_latents
from hpo.core.errors import SpecError
from hpo.core.protocols import Algorithm, Trainer, WarmStarter
from hpo.core.seeds import derive_seed
from hpo.core.trainer_extras import BatchTrainer
from hpo.study.plan import StudyPlan
from hpo.study.sections import LAST, SearchOptions
from hpo.study.spec import StudySpec
from hpo.study.stages import PlannedStage, planned_stages
from hpo.study.trainers import restart_keys

if TYPE_CHECKING:
    from search_spaces import SearchSpace


def build_algorithm(
    study: StudySpec,
    plan: StudyPlan,
    trainer: Trainer,
    space: SearchSpace,
    *,
    slots: int = 1,
    secrets: Mapping[str, Any] | None = None,
    notes: Callable[[], Mapping[int, Any]] = dict,
    is_rehearsal: bool = False,
) -> Algorithm:
    """Build a study's algorithm, without any trial.

    Args:
        study: for its seed, its budget and the algorithm's options.
        plan: for the algorithm, its pruner and how rungs are trained.
        trainer: for the direction, and what no checkpoint can go on under.
        space: what is searched.
        slots: trials at a time.
        secrets: options that no file holds, such as the key of an endpoint.
        notes: what the caller says of trials, by number.
        is_rehearsal: whether its trials are invented, which no language model is asked about.
    """
    options, is_route = dict(study.search.algorithm_options), plan.route_style is not None
    if is_route and study.budget.trials and options.get("max_recommendations") is not None:
        options["max_recommendations"] = study.budget.trials  # which may have been extended
    stages = planned_stages(study, plan, trainer)
    algorithm = create_algorithm(
        plan.algorithm,
        space,
        pruner=plan.pruner,
        direction=trainer.direction,
        num_epochs=plan.num_epochs,
        seed=algorithm_seed(study.search, plan.first),
        options={**options, **(secrets or {})},
        context=Context(
            validated_every=plan.validated_every,
            planned_trials=plan.planned_trials,
            slots=slots,
            style=plan.route_style or "running",
            has_parents=bool(stages),
            route=is_route,
            first=_usable(space, [*(start["latents"] for start in plan.first), *plan.learned]),
            restart_keys=restart_keys(trainer),
            stops_by=stops_by(plan, trainer),
            notes=notes,
            is_rehearsal=is_rehearsal,
        ),
    )
    if not stages:
        return algorithm
    return _staged(algorithm, stages, plan, trainer, space, slots=slots, is_rehearsal=is_rehearsal)


def stops_by(plan: StudyPlan, trainer: Trainer) -> tuple[str, float] | None:
    """What trials are stopped by where that is not their value: see `Context.stops_by`."""
    return None if plan.route_style == "rungs" else getattr(trainer, "stops_by", None)


def _staged(
    algorithm: Algorithm,
    stages: Sequence[PlannedStage],
    plan: StudyPlan,
    trainer: Trainer,
    space: SearchSpace,
    *,
    slots: int,
    is_rehearsal: bool,
) -> Algorithm:
    """Put a study's algorithm behind those of its earlier stages."""
    from hpo.algorithms.staged import Part, StagedAlgorithm

    if isinstance(innermost(algorithm), WarmStarter):
        raise SpecError(
            f"search.algorithm: {plan.algorithm} starts trials from its own ones, so they cannot "
            "begin with those of an earlier stage; choose another, or leave stages out (--stages "
            "none)"
        )
    earlier = [
        Part(
            name=stage.name,
            algorithm=build_algorithm(
                stage.study,
                stage.plan,
                trainer,
                stage.space,
                slots=slots,
                is_rehearsal=is_rehearsal,
            ),
            left=stage.left,
            trials=stage.stage.trials,
            batch=stage.stage.batch if isinstance(trainer, BatchTrainer) else 1,
            share=stage.share,
            carries=frozenset(stage.stage.carries),
        )
        for stage in stages
    ]
    latents = default_latents(space)
    return StagedAlgorithm(
        [*earlier, Part(name=LAST, algorithm=algorithm)],
        default=(space.decode(latents), latents),
        direction=trainer.direction,
        num_epochs=plan.num_epochs,
    )


def _usable(space: SearchSpace, first: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Those latents that still stand for something, where the space was changed by force."""
    found = []
    for latents in map(dict, first):
        with contextlib.suppress(LookupError, TypeError, ValueError):
            space.decode(latents)
            found.append(latents)
    return tuple(found)


def algorithm_seed(search: SearchOptions, first: Sequence[Mapping[str, Any]]) -> int:
    """The study's seed, or another one behind earlier searches.

    They had most likely the same seed: what was drawn in them at random would be drawn again, and
    nothing be learnt from training it a second time.
    """
    known = [json.dumps(start["latents"], sort_keys=True, default=str) for start in first]
    before = [*known, *filter(None, [search.after if search.memory else None])]
    return derive_seed(search.used_seed, "after", *before) if before else search.used_seed
