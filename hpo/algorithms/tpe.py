"""`tpe`: tree-structured Parzen estimator, multivariate, aware of running and pruned trials."""

from __future__ import annotations

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, tpe_recipe, with_pruner
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study."""
    return with_pruner(setting, tpe_recipe(setting))


ENTRY = AlgorithmEntry(
    name="tpe",
    summary="tree-structured Parzen estimator, multivariate",
    build=build,
    options=(MAX_RECOMMENDATIONS,),
    paper="Bergstra et al. 2011",
    when="nearly always: it learns from parallel and pruned trials at no cost per proposal",
)
