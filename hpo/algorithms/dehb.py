"""`dehb`: differential evolution within Hyperband's brackets (Awad, Mallik, Hutter 2021)."""

from __future__ import annotations

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.options import Option
from hpo.algorithms.recipes import HALVING, ROUNDS, bracket_trials, brackets_of
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study; each rung is a trial of its own in either style."""
    from hpo.algorithms.evolution import Evolution, EvolvingBrackets

    options = setting.options
    return EvolvingBrackets(
        setting.space,
        brackets_of(options, setting.length, "rungs"),
        Evolution(options["mutation_factor"], options["crossover_prob"]),
        direction=setting.direction,
        seed=setting.seed,
        rounds=options["rounds"],
        first=setting.context.first,
    )


ENTRY = AlgorithmEntry(
    name="dehb",
    summary="differential evolution within Hyperband's brackets",
    build=build,
    options=(
        *HALVING,
        ROUNDS,
        Option(
            name="mutation_factor",
            kind=float,
            default=0.5,
            low=0.0,
            high=2.0,
            help="how far a difference of two configurations moves a third",
        ),
        Option(
            name="crossover_prob",
            kind=float,
            default=0.5,
            low=0.0,
            high=1.0,
            help="share of parameters that a new configuration takes from the moved one",
        ),
    ),
    brings_pruning=True,
    num_trials=lambda options, length, _style: bracket_trials(options, length, "rungs"),
    paper="Awad, Mallik, Hutter 2021",
    when="many short trials in many dimensions, options among them",
)
