"""`bohb`: Hyperband's brackets over a density model of good and bad configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.options import Option
from hpo.algorithms.recipes import HALVING, ROUNDS, bracket_trials, num_designed, with_brackets
from hpo.core.protocols import Algorithm

if TYPE_CHECKING:
    import optuna


def build(setting: Setting) -> Algorithm:
    """Make it for a study: TPE is the density model, with the options in its terms."""
    from hpo.algorithms.optuna_brain import Recipe

    options = setting.options
    percent = options["top_n_percent"]

    def make_sampler(seed: int) -> optuna.samplers.BaseSampler:
        import warnings

        from optuna.samplers import TPESampler

        with warnings.catch_warnings():
            # `gamma` is the only way to say which share is good; its removal is announced for 6.0.
            warnings.simplefilter("ignore")
            return TPESampler(
                seed=seed,
                n_startup_trials=options["min_points_in_model"],
                n_ei_candidates=options["kde_samples"],
                gamma=lambda num: max(1, -(-num * percent // 100)),
            )

    designed = max(num_designed(setting, is_model_based=True), options["min_points_in_model"])
    return with_brackets(setting, Recipe(make_sampler=make_sampler, num_designed=designed))


ENTRY = AlgorithmEntry(
    name="bohb",
    summary="Hyperband's brackets over a density model of good and bad configurations",
    build=build,
    options=(
        *HALVING,
        ROUNDS,
        Option(
            name="kde_samples",
            default=64,
            low=1,
            help="candidates that the model compares for each proposal",
        ),
        Option(
            name="top_n_percent",
            default=15,
            low=1,
            high=99,
            help="share of configurations that count as good",
        ),
        Option(
            name="min_points_in_model",
            default=10,
            low=2,
            help="configurations, spread by design, before the model speaks",
        ),
    ),
    brings_pruning=True,
    num_trials=bracket_trials,
    paper="Falkner, Klein, Hutter 2018",
    when="many trials of which early epochs tell little",
)
