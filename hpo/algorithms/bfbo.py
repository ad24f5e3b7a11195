"""`bfbo`: Gaussian process with an upper confidence bound that shrinks as the budget is used."""

from __future__ import annotations

from dataclasses import replace

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import (
    MAX_RECOMMENDATIONS,
    bound_for,
    num_designed,
    random_recipe,
    with_pruner,
)
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study; pruned trials are points with their last value."""
    designed = num_designed(setting, is_model_based=True)
    recipe = replace(random_recipe(setting), num_designed=designed, chooser=bound_for(setting))
    return with_pruner(setting, recipe)


ENTRY = AlgorithmEntry(
    name="bfbo",
    summary="Gaussian process with an upper confidence bound; keeps parallel trials apart",
    build=build,
    options=(MAX_RECOMMENDATIONS,),
    paper="Srinivas et al. 2010; Gonzalez et al. 2016 for parallel trials",
    when="several slots and few, long trials",
)
