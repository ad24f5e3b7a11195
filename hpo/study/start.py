"""Completes a study by the trainer's choice of weights, network and recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo.core.machine import Machine
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import merged, nest
from hpo.core.trainer_extras import StartChooser
from hpo.study.plan import as_user_errors
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from hpo.study.stages import StageSpec, chosen_stages, read_stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A completed study, and what was chosen for it."""

    study: StudySpec
    reasons: tuple[str, ...] = ()
    """One line per choice: what, why, and how to choose otherwise."""
    candidates: tuple[Mapping[str, Any], ...] = ()
    """What is worth screening before the choice is made."""


def given_spec(study: StudySpec, trainer: Trainer) -> dict[str, Any]:
    """What the user has set of the trainer's spec, weights and fixed values included, nested."""
    weights = trainer.data_overrides({"weights": study.weights}) if study.weights else {}
    return merged(nest(study.spec), nest(weights), nest(study.search.fix))


def complete_study(
    study: StudySpec,
    trainer: Trainer,
    machine: Machine,
    screened: Sequence[Mapping[str, Any]] = (),
) -> Start:
    """Fill in what the trainer recommends to start from; whatever the user set stays.

    The result is a study like any other: written to a run directory it resumes and repeats without
    this choice being made again.

    Args:
        study: of the user.
        trainer: recommends, if it is a `StartChooser`.
        machine: what is trained on.
        screened: rows of what was screened of the candidates of an earlier answer.

    Raises:
        SpecError: when what the user set fits nothing, as the trainer says.
    """
    if not isinstance(trainer, StartChooser):
        return Start(study=study)
    given = given_spec(study, trainer)
    at_a_time = min(machine.gpus, study.concurrent or machine.gpus)
    with as_user_errors("spec"):
        chosen = trainer.choose_start(
            given,
            gpus=machine.gpus,
            budget_s=study.budget.seconds_on(at_a_time),
            screened=screened,
        )
    spec = merged(nest(chosen["spec"]), study.spec)
    search, stage_reasons = _with_stages(study.search, chosen)
    if search.portfolio and not (search.first_trials or search.earlier_stages):
        search = replace(search, first_trials=dict(chosen.get("first_trials", {})))
    return Start(
        study=replace(study, spec=spec, search=search),
        reasons=(*chosen["reasons"], *stage_reasons),
        candidates=tuple(chosen.get("candidates", ())),
    )


def _with_stages(
    options: SearchOptions, chosen: Mapping[str, Any]
) -> tuple[SearchOptions, tuple[str, ...]]:
    """Search what is recommended, in stages where they are asked for or recommended."""
    rows = {row["name"]: row for row in chosen.get("stages", ())}
    if options.earlier_stages:  # of the user's own
        own = read_stages(options)
        carried = {name for stage in own.values() for name in stage.carries}
        search = _with_search(_without(options, carried), chosen["search"], chosen["ranges"])
        laid = {name: _laid_over(stage, options) for name, stage in own.items()}
        rows = {name: {**(options.earlier_stages[name] or {}), **laid[name]} for name in own}
        return replace(search, earlier_stages=rows), ()
    recommended = bool(chosen.get("staged")) and _leaves_stages(options)
    names = chosen_stages(options.stages, list(rows), recommended=recommended)
    if not names:
        return _with_search(options, chosen["search"], chosen["ranges"]), ()
    earlier = {name: _definition(options, rows[name]) for name in names}
    last = rows[list(rows)[-1]]
    carried = {name for stage in names for name in rows[stage]["carries"]}
    search = _with_search(_without(options, carried), tuple(last["search"]), last["ranges"])
    reasons = tuple(rows[name]["reason"] for name in names)
    return replace(search, earlier_stages=earlier), reasons


def _leaves_stages(options: SearchOptions) -> bool:
    """Whether nothing that the user chose is about a search of a single stage.

    Not every algorithm can begin with trials of another stage; a list of parameters is meant whole;
    and networks from heads of different lengths cannot be averaged.
    """
    has_list = any(not name.startswith("+") for name in options.over)
    return options.algorithm == "auto" and not options.average and not has_list


def _definition(options: SearchOptions, row: Mapping[str, Any]) -> dict[str, Any]:
    """An earlier stage as a study file holds it; what the user says of its parameters wins."""
    asked = {*options.ranges, *options.options, *(name.removeprefix("+") for name in options.over)}
    added = (name for name in row["carries"] if name in asked and name not in row["search"])
    names = tuple(name for name in (*row["search"], *added) if name not in options.fix)
    own = replace(options, over=(), ranges=_of(options.ranges, names), options={})
    free = {name: ends for name, ends in row["ranges"].items() if name not in options.options}
    search = _with_search(own, names, free)
    kept = ("spec", "trials", "batch", "share", "with_parent")
    return {
        **{key: row[key] for key in kept},
        **({"first_trials": row["first_trials"]} if row.get("first_trials") else {}),
        "over": list(names),
        "ranges": search.ranges,
        "options": {**_of(row["options"], names), **_of(options.options, names)},
        "carries": [name for name in row["carries"] if name in names],
    }


def _laid_over(stage: StageSpec, options: SearchOptions) -> dict[str, Any]:
    """What a stage of a study file searches, with what is said beside it of what it carries."""
    carried, fixed = set(stage.carries), options.fix
    ranges = {**stage.ranges, **_of(options.ranges, carried)}
    lists = {**stage.options, **_of(options.options, carried)}
    listed, ranged = carried & options.options.keys(), carried & options.ranges.keys()
    return {
        "over": [name for name in stage.over if name not in fixed],
        "ranges": _of(ranges, ranges.keys() - fixed.keys() - listed),
        "options": _of(lists, lists.keys() - fixed.keys() - ranged),
        "carries": [name for name in stage.carries if name not in fixed],
    }


def _without(options: SearchOptions, names: Collection[str]) -> SearchOptions:
    """What is said of the last stage: parameters that an earlier one carries are that stage's."""
    return replace(
        options,
        over=tuple(name for name in options.over if name.removeprefix("+") not in names),
        ranges={n: value for n, value in options.ranges.items() if n not in names},
        options={n: value for n, value in options.options.items() if n not in names},
    )


def _of(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


def _with_search(
    options: SearchOptions, names: tuple[str, ...], ranges: Mapping[str, tuple[float, float, bool]]
) -> SearchOptions:
    """Search what is recommended, beside what the user adds; a list of the user's own stays."""
    own = {name.removeprefix("+") for name in options.over}
    own |= {*options.ranges, *options.options, *options.custom_param_ranges}
    has_list = any(not name.startswith("+") for name in options.over)
    searched = () if has_list else tuple(n for n in names if n not in options.fix)
    free = {n: r for n, r in ranges.items() if n in searched and n not in own}
    recommended = {
        name: {"low": low, "high": high, "log": log} for name, (low, high, log) in free.items()
    }
    return replace(
        options,
        over=(*searched, *(name for name in options.over if name not in searched)),
        ranges={**recommended, **options.ranges},
    )
