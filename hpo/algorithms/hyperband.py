"""`hyperband`: random configurations in brackets of successive halving."""

from __future__ import annotations

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import HALVING, ROUNDS, bracket_trials, random_recipe, with_brackets
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study."""
    return with_brackets(setting, random_recipe(setting))


ENTRY = AlgorithmEntry(
    name="hyperband",
    summary="random configurations in brackets of successive halving",
    build=build,
    options=(*HALVING, ROUNDS),
    aliases=("h",),
    brings_pruning=True,
    num_trials=bracket_trials,
    paper="Li et al. 2018",
    when="it is unknown how early a trial can be judged",
)
