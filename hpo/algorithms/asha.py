"""`asha`: random configurations with asynchronous successive halving."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.options import Option
from hpo.algorithms.random_search import random_recipe
from hpo.algorithms.recipes import HALVING, assemble, rungs_for
from hpo.core.protocols import Algorithm

if TYPE_CHECKING:
    from hpo.algorithms.pruning import Pruner


def build(setting: Setting) -> Algorithm:
    """Make it for a study."""
    from hpo.algorithms.rung_policies import AsynchronousHalving
    from hpo.algorithms.rung_trials import RungTrials

    rungs, options = rungs_for(setting), setting.options
    recipe = random_recipe(setting)
    if setting.is_rungs:
        policy = AsynchronousHalving(
            rungs,
            options["reduction_factor"],
            max_trials=options["max_trials"],
            min_top=options["min_top_configs"],
        )
        return RungTrials(
            assemble(setting, recipe, None),
            policy,
            direction=setting.direction,
            num_epochs=rungs[-1],
        )
    recipe = replace(
        recipe, max_trials=options["max_trials"], enough_complete=options["min_top_configs"]
    )
    return assemble(setting, recipe, _pruner(setting, rungs))


def _pruner(setting: Setting, rungs: tuple[int, ...]) -> Pruner | None:
    if len(rungs) == 1:
        return None
    from optuna.pruners import SuccessiveHalvingPruner

    from hpo.algorithms.pruning import OptunaPruner

    factor = setting.options["reduction_factor"]
    pruner = SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=factor)
    return OptunaPruner(pruner, setting.direction)


ENTRY = AlgorithmEntry(
    name="asha",
    summary="random configurations, halved asynchronously",
    build=build,
    options=(
        *HALVING,
        Option(
            name="max_concurrent",
            kind=int,
            default=None,
            route_default=4,
            low=1,
            help="trials at a time; `hpo search` takes --concurrent",
        ),
        Option(
            name="max_trials",
            kind=int,
            default=None,
            low=1,
            help="configurations after which no new ones are started",
        ),
        Option(
            name="min_top_configs",
            kind=int,
            default=None,
            route_default=5,
            low=1,
            help="configurations trained in full that are enough; the budget ends a search anyway",
        ),
    ),
    brings_pruning=True,
    paper="Li et al. 2020",
    when="many slots and many short trials",
)
