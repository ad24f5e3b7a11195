"""`bayesian`: a Gaussian process with expected improvement, aware of running trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, num_designed, random_points, with_pruner

if TYPE_CHECKING:
    import optuna

    from hpo.algorithms.optuna_brain import OptunaAlgorithm


def build(setting: Setting) -> OptunaAlgorithm:
    """Make it for a study; a pruned trial is a point with its last value to the process."""
    from hpo.algorithms.optuna_brain import Recipe

    points = random_points(len(setting.space.dimensions))

    def make_sampler(seed: int) -> optuna.samplers.BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=points)

    recipe = Recipe(
        make_sampler=make_sampler,
        num_designed=num_designed(setting, is_model_based=True),
        learns_from_pruned=False,
        max_trials=setting.options["max_recommendations"],
    )
    return with_pruner(setting, recipe)


ENTRY = AlgorithmEntry(
    name="bayesian",
    summary="Gaussian process with expected improvement; at most some 100 trials",
    build=build,
    options=(MAX_RECOMMENDATIONS,),
    aliases=("b", "gp"),
    paper="Snoek, Larochelle, Adams 2012",
    when="few, long trials that are trained in full",
)
