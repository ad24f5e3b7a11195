"""`tpe`: tree-structured Parzen estimator, multivariate, aware of running and pruned trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, num_designed, random_points, with_pruner

if TYPE_CHECKING:
    import optuna

    from hpo.algorithms.optuna_brain import OptunaAlgorithm, Recipe


def tpe_recipe(setting: Setting) -> Recipe:
    """Optuna's TPE after a designed start."""
    from hpo.algorithms.optuna_brain import Recipe

    points = random_points(len(setting.space.dimensions))

    def make_sampler(seed: int) -> optuna.samplers.BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed, n_startup_trials=points)

    return Recipe(
        make_sampler=make_sampler,
        num_designed=num_designed(setting, is_model_based=True),
        max_trials=setting.options.get("max_recommendations"),
    )


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
