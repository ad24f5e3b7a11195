"""`pbt`: population based training; weak members copy strong ones and perturb their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.algorithms.brackets import Length
from hpo.algorithms.entry import AlgorithmEntry, Setting, Style
from hpo.algorithms.options import Option
from hpo.algorithms.recipes import longest_of
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study; every generation of a member is a trial."""
    from hpo.algorithms.population import Moves, Population

    given = setting.options
    options = {**given, **fit(given, setting.length, setting.context.planned_trials)}
    return Population(
        setting.space,
        Moves(
            factor=options["perturbation_factor"],
            quantile=options["quantile"],
            resample=options["resample_probability"],
            can_change=setting.can_change,
        ),
        size=options["population_size"],
        ends=_ends(options, setting.length),
        direction=setting.direction,
        seed=setting.seed,
        first=setting.context.first,
    )


def fit(options: Mapping[str, Any], length: Length, trials: int | None) -> dict[str, Any]:
    """Let members and generations fit a budget of trials, as far as they were not given.

    Ten members, or as many as a small budget takes through three generations; a generation is a
    ninth of a whole trial, or longer where the budget would end before the last one.
    """
    length = length.within(longest_of(options, length.epochs))
    size = options.get("population_size")
    size = size or (10 if trials is None else min(10, max(4, (trials - 1) // 3)))
    generations = min(9, length.validations)
    if trials is not None:
        generations = min(generations, max(1, (trials - 1) // size))
    interval = options.get("eval_interval")
    interval = interval or length.every * -(-length.validations // generations)
    most = options.get("max_generations") or -(-length.epochs // interval)
    return {"population_size": size, "eval_interval": interval, "max_generations": most}


def _ends(options: Mapping[str, Any], length: Length) -> tuple[int, ...]:
    """The last epoch of each generation, which is validated."""
    length = length.within(longest_of(options, length.epochs))
    step = length.count(options["eval_interval"])
    ends = range(step, length.validations + step, step)
    return tuple(map(length.epoch_of, ends))[: options["max_generations"]]


def num_trials(options: Mapping[str, Any], length: Length, _style: Style) -> int:
    """Every generation of every member, and the default beside them."""
    return 1 + int(options["population_size"]) * len(_ends(options, length))


ENTRY = AlgorithmEntry(
    name="pbt",
    summary="population-based training: weak members copy strong ones and vary what they copy",
    build=build,
    options=(
        Option(
            name="max_epochs",
            low=1,
            help="epochs of a member over all generations; by default those of the spec",
        ),
        Option(
            name="population_size",
            route_default=10,
            low=2,
            help="members; by default 10, fewer where the budget of trials is small",
        ),
        Option(
            name="max_generations",
            route_default=20,
            low=1,
            help="generations of each member; by default until its last epoch",
        ),
        Option(
            name="eval_interval",
            route_default=10,
            low=1,
            help="epochs of a generation; by default a ninth of a whole trial",
        ),
        Option(
            name="perturbation_factor",
            kind=float,
            default=1.2,
            low=1.0,
            help="what a copied parameter is multiplied or divided by",
        ),
        Option(
            name="quantile",
            kind=float,
            default=0.2,
            low=0.0,
            high=0.5,
            help="share of members that copy, and share that are copied",
        ),
        Option(
            name="resample_probability",
            kind=float,
            default=0.2,
            low=0.0,
            high=1.0,
            help="share of copied parameters that are drawn anew",
        ),
    ),
    brings_pruning=True,
    fit=fit,
    num_trials=num_trials,
    paper="Jaderberg et al. 2017",
    when="schedules matter (rates that should fall during training) and trials are long",
)
