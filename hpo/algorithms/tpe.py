"""`tpe`: tree-structured Parzen estimator, multivariate, aware of running and pruned trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, sampler_recipe, with_pruner

if TYPE_CHECKING:
    from hpo.algorithms.optuna_brain import OptunaAlgorithm, Recipe


def tpe_recipe(setting: Setting) -> Recipe:
    """Optuna's TPE after a designed start."""
    return sampler_recipe(setting, "TPESampler")


def build(setting: Setting) -> OptunaAlgorithm:
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
