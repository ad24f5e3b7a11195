"""`asha`: random configurations with asynchronous successive halving."""

from __future__ import annotations

from dataclasses import replace

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.options import Option
from hpo.algorithms.recipes import HALVING, assemble, over_rungs, random_recipe, rungs_for
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study."""
    from hpo.algorithms.pruning import halving
    from hpo.algorithms.rung_policies import AsynchronousHalving

    rungs, options = rungs_for(setting), setting.options
    factor, most, enough = (
        options[name] for name in ("reduction_factor", "max_trials", "min_top_configs")
    )
    recipe = random_recipe(setting)
    if setting.is_rungs:
        policy = AsynchronousHalving(rungs, factor, max_trials=most, min_top=enough)
        return over_rungs(setting, recipe, policy)
    # The default is none of either number, as where each rung is a trial of its own.
    recipe = replace(recipe, max_trials=most and most + 1, enough_complete=enough)
    pruner = None if len(rungs) == 1 else halving(rungs, factor, setting.direction)
    return assemble(setting, recipe, pruner)


ENTRY = AlgorithmEntry(
    name="asha",
    summary="random configurations, halved asynchronously",
    build=build,
    options=(
        *HALVING,
        Option(
            name="max_concurrent",
            route_default=4,
            low=1,
            instead="--concurrent",
            help="trials at a time; `hpo search` takes --concurrent",
        ),
        Option(
            name="max_trials",
            low=1,
            help="configurations after which no new ones are started",
        ),
        Option(
            name="min_top_configs",
            route_default=5,
            low=1,
            help="configurations trained in full that are enough; the budget ends a search anyway",
        ),
    ),
    brings_pruning=True,
    num_trials=lambda _options, _length, _style: None,
    paper="Li et al. 2020",
    when="many slots and many short trials",
)
