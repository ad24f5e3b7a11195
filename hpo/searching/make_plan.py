"""Plans a study: data, spec, space, algorithm, initial configurations."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.core.averager import Averager
from hpo.core.errors import SpecError
from hpo.core.installed import installed_versions
from hpo.core.protocols import Trainer, takes
from hpo.core.releases import NAME, own_version
from hpo.core.spec_dicts import flatten, merged, nest, value_at
from hpo.core.trainer_extras import CostMeter
from hpo.study.batches import with_fitting_batch
from hpo.study.first_trials import learned_trials, most_first, plain_trials
from hpo.study.initial_points import earlier_points, starts_of
from hpo.study.owned_keys import refuse_owned_keys, refuse_searched
from hpo.study.plan import (
    StudyPlan,
    as_user_errors,
    build_base_spec,
    held_out_sources,
    num_epochs_of,
    num_reports_of,
    resolve_sources,
    settle_space,
    validated_every,
)
from hpo.study.provenance import describe_written
from hpo.study.skill import load_skill, schema_file_of
from hpo.study.spec import StudySpec
from hpo.study.stages import check_stages, digests_of, planned_stages, refuse_unknown
from hpo.study.start import given_spec
from hpo.study.text_values import text_keys
from hpo.study.trainers import demand, demand_mapping

if TYPE_CHECKING:
    from search_spaces import SearchSpace


def plan_study(
    study: StudySpec,
    trainer: Trainer,
    *,
    slots: int = 1,
    reasons: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    route_style: str | None = None,
    kept: Path | None = None,
    opens: bool = True,
) -> StudyPlan:
    """Resolve data, spec, space and algorithm of a study, and look at all its images.

    Args:
        study: what is searched, on which data.
        trainer: the study's.
        slots: trials at a time.
        reasons: what the trainer has chosen to start from, a line each.
        given: what the user has set of the spec, nested; None is all that the study does.
        route_style: see `StudyPlan`.
        kept: as of `resolve_sources`.
        opens: False leaves pictures unopened, where the trainer can: its network is not chosen yet.
    """
    from hpo.algorithms.for_study import build_algorithm
    from hpo.algorithms.registry import check_options, refuse_secrets, resolve_names

    # What needs no images is checked before any are drawn, split or read.
    refuse_owned_keys(study, trainer)
    check_stages(study, trainer)
    budget = study.budget.trials
    unplaced = build_base_spec(study, trainer, {})
    refuse_secrets(study.search.algorithm, study.search.algorithm_options)
    is_route = route_style is not None
    check_options(study.search.algorithm, study.search.algorithm_options, route=is_route)
    _check_wishes(study, trainer, unplaced)
    draft, guess = settle_space(study, trainer, unplaced, num_trials=budget)
    refuse_searched(guess, trainer)
    choice = resolve_names(
        study.search.algorithm,
        study.search.pruner,
        num_epochs=num_epochs_of(draft, trainer),
        num_reports=num_reports_of(draft, trainer),
        dimensions=len(guess.dimensions),
        trials=budget,
        slots=slots,
    )
    refuse_unknown(study, trainer, draft)
    remembered = plain_trials(study.search.remembered, "search.remembered")
    rows = earlier_points(
        runs=study.search.warm_start,
        remembered=remembered if study.search.memory else {},
        use_priors=study.search.priors,
        trainer=study.trainer,
        network=load_skill(trainer.skill_dir).network_arch,
    )
    written = describe_written(study)
    sources = resolve_sources(study, trainer, kept)
    full = build_base_spec(study, trainer, sources)
    full = full if is_route else _seeded(full, study, trainer)
    told = given_spec(study, trainer) if given is None else given
    full, changed = with_fitting_batch(trainer, full, told)
    base_spec, space = settle_space(study, trainer, full, num_trials=budget)
    _look_at_data(study, trainer, sources, base_spec, opens=opens)
    first = starts_of(space, rows)[: most_first(budget)]
    learned = learned_trials(
        study, base_spec, space, budget, before=[start.latents for start in first]
    )
    plan = StudyPlan(
        study_uuid=str(uuid.uuid4()),
        sources=sources,
        written=written,
        base_spec=base_spec,
        algorithm=choice.algorithm,
        pruner=choice.pruner,
        reason=choice.reason,
        start=[*reasons, *changed, *filter(None, [learned.note])],
        confirm=study.search.confirm,
        averages=study.search.average,
        warning=choice.warning,
        route_style=route_style,
        space_digest=space.digest,
        num_epochs=num_epochs_of(base_spec, trainer),
        planned_trials=budget,
        validated_every=validated_every(base_spec, trainer, style=route_style),
        first=[{"latents": start.latents, "source": start.source} for start in first],
        learned=list(learned.latents),
        versions={NAME: own_version(), **installed_versions()},
    )
    stages = planned_stages(study, plan, trainer)
    for stage in stages:
        refuse_searched(stage.space, trainer)
    notes = [note for stage in stages for note in stage.plan.start]
    idle = idle_lines(told, [space, *(stage.space for stage in stages)])
    plan = replace(plan, earlier=digests_of(stages), start=[*plan.start, *notes], idle=idle)
    # It refuses wrong options before the run directory is made.
    build_algorithm(study, plan, trainer, space)
    return plan


def _seeded(spec: dict[str, Any], study: StudySpec, trainer: Trainer) -> dict[str, Any]:
    """Train by the seed that the user names, unless one of the trainings is named too."""
    key, seed = trainer.seed_key, study.search.seed
    if seed is None or not key or value_at(given_spec(study, trainer), key) is not None:
        return spec
    return merged(spec, nest({key: seed}))


def check_text_options(
    study: StudySpec, trainer: Trainer, base_spec: Mapping[str, Any], look: Callable[..., Any]
) -> None:
    """Have the trainer look at each text that a search is to try, such as a file of weights.

    Raises:
        SpecError: it refuses one, which would fail every trial that draws it.
    """
    names = text_keys(schema_file_of(trainer))
    for name in names & study.search.options.keys():
        for value in study.search.options[name]:
            with as_user_errors(f"search.options.{name}"):
                look(merged(base_spec, {name: value}))


def _look_at_data(
    study: StudySpec,
    trainer: Trainer,
    sources: Mapping[str, str],
    base_spec: Mapping[str, Any],
    *,
    opens: bool,
) -> None:
    """Have the trainer look at all data; without opening pictures only where it can."""
    look: Callable[..., Any] = trainer.inspect_data
    if not opens and takes(look, "opens"):
        look = partial(look, opens=False)
    with as_user_errors():
        demand_mapping(look(base_spec), trainer, "inspect_data")
    check_text_options(study, trainer, base_spec, look)
    if held_out := held_out_sources(sources):  # looked at once, at the end: too late to be refused
        with as_user_errors("final evaluation"):
            look(merged(base_spec, nest(trainer.data_overrides(held_out))))


def idle_lines(given: Mapping[str, Any], spaces: Sequence[SearchSpace]) -> list[str]:
    """Say what was set and does nothing in any trial of any stage.

    Args:
        given: what was set, nested.
        spaces: of the last stage, then of those before.
    """
    last = spaces[0]
    return [
        f"{name} is set and does nothing: {last.without_effect[name]}"
        for name in flatten(given)
        if all(name in space.without_effect for space in spaces)
    ]


def _check_wishes(study: StudySpec, trainer: Trainer, spec: Mapping[str, Any]) -> None:
    """Refuse what the trainer cannot do."""
    if study.search.max_latency or study.search.max_params:
        demand(trainer, CostMeter)
    if study.search.average:
        check_average(trainer, spec)
    if study.search.confirm and not trainer.seed_key:
        raise SpecError(
            f"confirm: must be 0 for {trainer.name}, whose spec has no seed that could be another "
            f"one (train.seed, say), got {study.search.confirm}; leave it out"
        )


def check_average(trainer: Trainer, spec: Mapping[str, Any]) -> None:
    """Refuse to average trials whose average would be of no use.

    Raises:
        SpecError: the trainer cannot, or trials start from random weights.
    """
    if not demand(trainer, Averager).shares_start(spec, spec):
        raise SpecError(
            "average: trials must start from pretrained weights, as averages of networks that "
            "began at random are of no use; give --weights, or leave --average out"
        )
