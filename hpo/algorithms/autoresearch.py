"""`autoresearch`: a language model proposes experiments, screened, run, kept or dropped."""

from __future__ import annotations

from dataclasses import replace

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.llm import task_of
from hpo.algorithms.llm_client import LLM_OPTIONS, make_client
from hpo.algorithms.options import Option
from hpo.algorithms.recipes import bound_for, tpe_recipe, with_pruner
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study; the research program is checked first."""
    from hpo.algorithms.llm_research import ResearchChooser, read_program

    options, task = setting.options, task_of(setting)
    goal, phases = read_program(options["research_program"], task)
    chooser = ResearchChooser(
        make_client(options),
        task,
        max_failures=options["llm_max_failures"],
        goal=goal,
        phases=phases,
        notes=setting.context.notes,
        bound=bound_for(setting),
    )
    recipe = replace(
        tpe_recipe(setting),
        chooser=chooser,
        num_designed=0,
        max_trials=options["max_experiments"],
    )
    return with_pruner(setting, recipe)


ENTRY = AlgorithmEntry(
    name="autoresearch",
    summary="a language model designs experiments, screened before and judged after",
    build=build,
    options=(
        Option(
            name="max_experiments",
            route_default=50,
            low=1,
            help="experiments after which there are no more; the budget of a search ends it anyway",
        ),
        Option(
            name="research_program",
            kind=dict,
            help="goal and phases (trials, focus ranges), or a YAML file with them",
        ),
        *LLM_OPTIONS,
    ),
    when="the reasons of a search are wanted as much as its result",
)
