"""`hyperband_es`: Hyperband that also stops trials whose extrapolated curve cannot win."""

from __future__ import annotations

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.options import Option
from hpo.algorithms.recipes import (
    HALVING,
    ROUNDS,
    bracket_trials,
    length_of,
    random_recipe,
    with_brackets,
)
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study."""
    from hpo.algorithms.extrapolation import ExtrapolationPruner

    early = ExtrapolationPruner(
        num_epochs=length_of(setting),
        direction=setting.direction,
        threshold=setting.options["early_stop_threshold"],
        min_epochs=setting.options["min_early_stop_epochs"],
    )
    return with_brackets(setting, random_recipe(setting), early=early)


ENTRY = AlgorithmEntry(
    name="hyperband_es",
    summary="Hyperband, and trials end between rungs when their curve leads nowhere",
    build=build,
    options=(
        *HALVING,
        ROUNDS,
        Option(
            name="early_stop_threshold",
            kind=float,
            default=0.1,
            low=0.0,
            high=1.0,
            help="how far below the best a curve must lead, as a share of all values seen",
        ),
        Option(
            name="min_early_stop_epochs",
            default=3,
            low=3,
            help="validated epochs before a curve is extrapolated",
        ),
    ),
    aliases=("hes",),
    brings_pruning=True,
    num_trials=bracket_trials,
    paper="Li et al. 2018; Domhan, Springenberg, Hutter 2015 for the idea",
    when="rungs lie far apart",
)
