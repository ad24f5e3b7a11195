"""`random`: independent uniform draws in the compiled space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, num_designed, with_pruner

if TYPE_CHECKING:
    import optuna

    from hpo.algorithms.optuna_brain import OptunaAlgorithm, Recipe


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def random_recipe(setting: Setting) -> Recipe:
    """Uniform draws; a short search begins with a design."""
    from hpo.algorithms.optuna_brain import Recipe

    return Recipe(
        make_sampler=_sampler,
        num_designed=num_designed(setting, is_model_based=False),
        max_trials=setting.options.get("max_recommendations"),
    )


def build(setting: Setting) -> OptunaAlgorithm:
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
