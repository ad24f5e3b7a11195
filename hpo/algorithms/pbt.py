"""`pbt`: population based training; weak members copy strong ones and perturb their parameters."""

from __future__ import annotations

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.options import Option
from hpo.algorithms.recipes import length_of
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study; every generation of a member is a trial."""
    from hpo.algorithms.population import Moves, Population

    options, epochs = setting.options, length_of(setting)
    size = options["population_size"] or _size_for(setting)
    interval = options["eval_interval"] or _interval_for(setting, size)
    ends = [k * interval for k in range(1, -(-epochs // interval))] + [epochs]
    return Population(
        setting.space,
        Moves(
            factor=options["perturbation_factor"],
            quantile=options["quantile"],
            resample=options["resample_probability"],
            can_change=setting.can_change,
        ),
        size=size,
        ends=tuple(ends[: options["max_generations"]]),
        num_epochs=epochs,
        direction=setting.direction,
        seed=setting.seed,
        first=setting.context.first,
    )


def _size_for(setting: Setting) -> int:
    """Ten members, or as many as a small budget of trials takes through three generations."""
    trials = setting.context.planned_trials
    return 10 if trials is None else min(10, max(4, (trials - 1) // 3))


def _interval_for(setting: Setting, size: int) -> int:
    """A ninth of a whole trial; longer where a budget of trials would end before the last one."""
    epochs, trials = length_of(setting), setting.context.planned_trials
    generations = min(9, epochs)
    if trials is not None:
        generations = min(generations, max(1, (trials - 1) // size))
    return -(-epochs // generations)


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
    paper="Jaderberg et al. 2017",
    when="schedules matter (rates that should fall during training) and trials are long",
)
