"""`hybrid`: a language model plans the phases of a search, classical methods carry them out."""

from __future__ import annotations

from dataclasses import replace

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.llm import task_of
from hpo.algorithms.llm_client import LLM_OPTIONS, make_client
from hpo.algorithms.options import Option
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, bound_for, tpe_recipe, with_pruner
from hpo.core.protocols import Algorithm

_UNPLANNED_TRIALS = 20
"""Trials that are planned for where the budget is not in trials."""


def build(setting: Setting) -> Algorithm:
    """Make it for a study."""
    from hpo.algorithms.llm_phases import PhaseChooser

    options = setting.options
    chooser = PhaseChooser(
        make_client(options),
        task_of(setting),
        max_failures=options["llm_max_failures"],
        narrows=options["range_narrowing"],
        num_trials=options["max_recommendations"]
        or setting.context.planned_trials
        or _UNPLANNED_TRIALS,
        bound=bound_for(setting),
    )
    return with_pruner(setting, replace(tpe_recipe(setting), chooser=chooser, num_designed=0))


ENTRY = AlgorithmEntry(
    name="hybrid",
    summary="a language model plans phases, random, tpe and bfbo carry them out",
    build=build,
    options=(
        MAX_RECOMMENDATIONS,
        Option(
            name="range_narrowing",
            kind=bool,
            default=True,
            route_default=False,
            aliases=("hybrid_enable_llm_range_narrowing", "enable_llm_range_narrowing"),
            help="whether the phases that the model plans may keep to parts of ranges",
        ),
        *LLM_OPTIONS,
    ),
    when="a model may say where to look, but not try every point itself",
)
