"""`llm`: a language model proposes every configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.llm_client import LLM_OPTIONS, make_client
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, tpe_recipe, with_pruner
from hpo.core.protocols import Algorithm

if TYPE_CHECKING:
    from hpo.algorithms.llm_task import Task


def task_of(setting: Setting) -> Task:
    """The search in words."""
    from hpo.algorithms.llm_task import Task

    return Task(
        space=setting.space,
        direction=setting.direction,
        num_epochs=setting.num_epochs,
        seed=setting.seed,
    )


def build(setting: Setting) -> Algorithm:
    """Make it for a study; TPE stands by for failed calls."""
    from hpo.algorithms.llm_choosers import LlmChooser

    options = setting.options
    chooser = LlmChooser(
        make_client(options), task_of(setting), max_failures=options["llm_max_failures"]
    )
    return with_pruner(setting, replace(tpe_recipe(setting), chooser=chooser, num_designed=0))


ENTRY = AlgorithmEntry(
    name="llm",
    summary="a language model proposes; its failures are counted and shown",
    build=build,
    options=(MAX_RECOMMENDATIONS, *LLM_OPTIONS),
    paper="Zhang et al. 2023, Using Large Language Models for Hyperparameter Optimization",
    when="very few trials, in a space whose names mean something to a model",
)
