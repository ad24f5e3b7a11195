"""Stages of a search before its last: what each trains, searches, and hands to the next.

The last stage is the study itself: it has the study's spec, space and algorithm. An earlier one
lays a spec of its own over that (a trunk that does not learn, say), searches other parameters, and
its trials may be parents of later ones: those take over its best checkpoint and what it `carries`.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hpo.core.errors import RunError, SpecError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import flatten, merged, nest, value_at
from hpo.core.text import nearest, quoted
from hpo.core.trainer_extras import StageStarter
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.study.first_trials import FIELD, learned_trials, plain_trials
from hpo.study.initial_points import starts_of
from hpo.study.plan import StudyPlan, as_user_errors, decided_values, num_epochs_of, settle_space
from hpo.study.schema import check_shape, values_of
from hpo.study.sections import NONE, SearchOptions
from hpo.study.skill import schema_file_of
from hpo.study.spec import StudySpec

if TYPE_CHECKING:
    from search_spaces import SearchSpace

ALGORITHM = "tpe"
"""Proposes in earlier stages: it takes many parallel trials at no cost per proposal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """An earlier stage, as `search.earlier_stages` of a study file holds it by name."""

    spec: Mapping[str, Any] = field(default_factory=dict)
    """Laid over the study's spec; dotted names."""
    over: tuple[str, ...] = ()
    """Searched parameters."""
    ranges: Mapping[str, Any] = field(default_factory=dict)
    """name -> {low, high, log}."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """name -> list of values."""
    trials: int = 32
    """At most so many."""
    batch: int = 1
    """Trials that are trained together, by one launch; in a budget of trials they count as one."""
    share: float | None = None
    """Share of the budget after which the stage ends; none is 0.15."""
    carries: tuple[str, ...] = ()
    """Parameters whose values go over to the trials that begin with one of this stage."""
    with_parent: Mapping[str, Any] = field(default_factory=dict)
    """What else is so of their specs, by dotted name."""
    first_trials: Mapping[str, Any] = field(default_factory=dict)
    """Tried right after the stage's default: name -> {parameter: value}."""
    remembered: Mapping[str, Any] = field(default_factory=dict)
    """Tried before these, see `search.remembered`."""


SHARE = 0.15
"""Share of the budget that an earlier stage has where nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """An earlier stage of one search, as a study with a plan and a space of its own."""

    name: str
    left: int
    """Stages that come after it."""
    stage: StageSpec
    study: StudySpec
    plan: StudyPlan
    space: SearchSpace

    @property
    def share(self) -> float:
        """Share of the budget after which it ends."""
        return SHARE if self.stage.share is None else self.stage.share


def read_stages(search: SearchOptions) -> dict[str, StageSpec]:
    """The earlier stages of a study, in order.

    Raises:
        SpecError: with the path of the wrong key.
    """
    found = {}
    for name, data in search.earlier_stages.items():
        where = f"search.earlier_stages.{name}"
        check_shape(StageSpec, data, where)
        stage = StageSpec(**values_of(StageSpec, data))
        share = SHARE if stage.share is None else stage.share
        if not 0 < share < 1 or stage.trials < 1 or stage.batch < 1:
            raise SpecError(
                f"{where}: share must lie between 0 and 1, trials and batch must be at least 1, "
                f"got share {share:g}, trials {stage.trials}, batch {stage.batch}"
            )
        found[name] = stage
    return found


def chosen_stages(
    asked: Sequence[str], offered: Sequence[str], *, recommended: bool
) -> tuple[str, ...]:
    """Names of the stages before the last one that a search has.

    Args:
        asked: by the user (`--stages`); empty leaves the choice.
        offered: names of all stages, in order; empty where there are none.
        recommended: whether they are used where nobody asked.

    Raises:
        SpecError: for a name that is not offered, another order, or a list without the last stage.
    """
    if not asked:
        return tuple(offered[:-1]) if recommended else ()
    if tuple(asked) == (NONE,):
        return ()
    where, told = "search.stages (--stages)", ", ".join(asked)
    if not offered:
        raise SpecError(
            f"{where}: this start has no stages, got {told}; leave it out, or train whole networks "
            "(train.train_trunk=true) from pretrained weights (--weights), without a backbone of "
            "your own"
        )
    for name in asked:
        if name not in offered:
            raise SpecError(
                f"{where}: must be {', '.join(offered)} or {NONE}, got {quoted(name)}"
                f"{nearest(name, offered)}"
            )
    if [n for n in offered if n in asked] != list(asked) or asked[-1] != offered[-1]:
        raise SpecError(
            f"{where}: must keep the order {', '.join(offered)} and end with {offered[-1]}, got "
            f"{told}"
        )
    return tuple(asked[:-1])


def check_stages(study: StudySpec, trainer: Trainer) -> None:
    """Refuse stages that were asked for and cannot be had.

    Raises:
        SpecError: there is no trainer, no definition or no algorithm for them.
    """
    if not study.search.earlier_stages:
        names = study.search.stages
        if names and names != (NONE,) and (len(names) > 1 or not isinstance(trainer, StageStarter)):
            chosen_stages(names, (), recommended=False)
        return
    found = read_stages(study.search)
    if len(found) > 1:
        raise SpecError(
            f"search.earlier_stages: must be one stage, got {', '.join(found)}; trials of the last "
            "stage begin with those of one other, so leave all but one out"
        )
    if not isinstance(trainer, StageStarter):
        raise SpecError(
            f"search.earlier_stages: {trainer.name} cannot begin a trial with another one's "
            "checkpoint; leave them out (--stages none)"
        )


def refuse_unknown(study: StudySpec, trainer: Trainer, spec: Mapping[str, Any]) -> None:
    """Refuse first trials that set what neither the schema nor the spec of the trainer has.

    Raises:
        SpecError: naming the first such parameter, or what is no mapping where one must be.
    """
    from search_spaces import load_schema

    search = study.search
    own: dict[str, Mapping[Any, Any]] = {f"search.{FIELD}": search.first_trials}
    for name, stage in read_stages(search).items():
        own[f"search.earlier_stages.{name}.{FIELD}"] = stage.first_trials
    if not any(own.values()):
        return
    schema = load_schema(schema_file_of(trainer))
    known = {*flatten(spec), *schema.leaves}
    for where, given in own.items():
        for name, values in plain_trials(given, where).items():
            for key in values:
                if not (key in known or schema.is_free(key) or value_at(spec, key) is not None):
                    raise SpecError(
                        f"{where}.{name}: {key}: no such parameter{nearest(key, known)}"
                    )


def planned_stages(
    study: StudySpec, plan: StudyPlan, trainer: Trainer, run: RunDir | None = None
) -> list[PlannedStage]:
    """The earlier stages of a planned study, in order.

    Args:
        study: with the stages' definitions.
        plan: of the last stage, whose spec the others are laid over.
        trainer: of the study.
        run: of a search that has begun; its spaces must be as they were then.

    Raises:
        SpecError: a stage's spec or space is wrong.
        RunError: a space has changed since the search began.
    """
    stages = read_stages(study.search)
    found = []
    for place, (name, stage) in enumerate(stages.items()):
        own = stage_study(study, stage)
        with as_user_errors(f"stage {name}"):
            laid = trainer.validate(merged(plan.base_spec, nest(stage.spec)))
        base_spec, space = settle_space(own, trainer, laid, num_trials=stage.trials)
        where = f"search.earlier_stages.{name}"
        remembered = plain_trials(stage.remembered, f"{where}.remembered")
        rows = ((values, source) for source, values in remembered.items())
        first = starts_of(space, rows if study.search.memory else ())
        learned = learned_trials(
            own, base_spec, space, stage.trials, before=[s.latents for s in first], where=where
        )
        digest = plan.earlier.get(name)
        if run is not None and digest != space.digest:
            raise RunError(
                f"{run}: the search space of stage {name} has changed since the search began; "
                "start a new search, or go on all the same with "
                f"`{resume_command(run, '--force')}`"
            )
        found.append(
            PlannedStage(
                name=name,
                left=len(stages) - place,
                stage=stage,
                study=own,
                plan=replace(
                    plan,
                    base_spec=base_spec,
                    space_digest=space.digest,
                    num_epochs=num_epochs_of(base_spec, trainer),
                    algorithm=ALGORITHM,
                    pruner="none",
                    planned_trials=stage.trials,
                    first=[{"latents": s.latents, "source": s.source} for s in first],
                    learned=list(learned.latents),
                    start=[f"stage {name}: {learned.note}"] if learned.note else [],
                    earlier={},
                ),
                space=space,
            )
        )
    return found


def digests_of(stages: Sequence[PlannedStage]) -> dict[str, str]:
    """What a plan keeps of its earlier stages: name -> digest of the space."""
    return {stage.name: stage.space.digest for stage in stages}


def make_specs(
    study: StudySpec,
    plan: StudyPlan,
    trainer: Trainer,
    space: SearchSpace,
    stages: Sequence[PlannedStage] = (),
    *,
    run: RunDir | None,
) -> TrialSpecs:
    """Build what makes the full specs of a search's trials, whose folders lie in `run`."""

    def of(study: StudySpec, plan: StudyPlan, space: SearchSpace) -> TrialSpecs:
        return TrialSpecs(
            base_spec=plan.base_spec,
            seed_key=trainer.seed_key,
            decided=decided_values(study, trainer, space),
            space=space,
            run=run,
        )

    if not stages:
        return of(study, plan, space)
    return replace(
        of(study, plan, space),
        earlier={stage.name: of(stage.study, stage.plan, stage.space) for stage in stages},
        parent_key=trainer.parent_key if isinstance(trainer, StageStarter) else "",
        with_parent=dict(ChainMap(*(dict(stage.stage.with_parent) for stage in stages))),
    )


def stage_study(study: StudySpec, stage: StageSpec) -> StudySpec:
    """An earlier stage as a study of its own."""
    search = SearchOptions(
        algorithm=ALGORITHM,
        pruner="none",
        seed=study.search.seed,
        memory=study.search.memory,
        after=study.search.after,
        over=stage.over,
        ranges=stage.ranges,
        options=stage.options,
        fix=study.search.fix,
        portfolio=study.search.portfolio,
        first_trials=stage.first_trials,
    )
    return replace(study, spec=merged(study.spec, nest(stage.spec)), search=search)
