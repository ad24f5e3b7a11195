"""`bfbo`: Gaussian process with an upper confidence bound that shrinks as the budget is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.random_search import random_recipe
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, num_designed, random_points, with_pruner

if TYPE_CHECKING:
    from hpo.algorithms.optuna_brain import OptunaAlgorithm


def build(setting: Setting) -> OptunaAlgorithm:
    """Make it for a study; pruned trials are points with their last value."""
    from dataclasses import replace

    from hpo.algorithms.confidence_bound import ConfidenceBound

    chooser = ConfidenceBound(
        setting.space,
        direction=setting.direction,
        seed=setting.seed,
        least_points=random_points(len(setting.space.dimensions)),
    )
    recipe = replace(
        random_recipe(setting),
        num_designed=num_designed(setting, is_model_based=True),
        chooser=chooser,
    )
    return with_pruner(setting, recipe)


ENTRY = AlgorithmEntry(
    name="bfbo",
    summary="Gaussian process with an upper confidence bound; keeps parallel trials apart",
    build=build,
    options=(MAX_RECOMMENDATIONS,),
    paper="Srinivas et al. 2010; Gonzalez et al. 2016 for parallel trials",
    when="several slots and few, long trials",
)
