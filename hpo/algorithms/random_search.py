"""`random`: independent uniform draws in the compiled space."""

from __future__ import annotations

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, random_recipe, with_pruner
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study."""
    return with_pruner(setting, random_recipe(setting))


ENTRY = AlgorithmEntry(
    name="random",
    summary="uniform draws in the compiled space",
    build=build,
    options=(MAX_RECOMMENDATIONS,),
    aliases=("r",),
    paper="Bergstra, Bengio 2012",
    when="as a yardstick, or with very many slots",
)
