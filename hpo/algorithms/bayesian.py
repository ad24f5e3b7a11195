"""`bayesian`: a Gaussian process with expected improvement, aware of running trials."""

from __future__ import annotations

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, sampler_recipe, with_pruner
from hpo.core.protocols import Algorithm


def build(setting: Setting) -> Algorithm:
    """Make it for a study; a pruned trial is a point with its last value to the process."""
    return with_pruner(setting, sampler_recipe(setting, "GPSampler", learns_from_pruned=False))


ENTRY = AlgorithmEntry(
    name="bayesian",
    summary="Gaussian process with expected improvement; at most some 100 trials",
    build=build,
    options=(MAX_RECOMMENDATIONS,),
    aliases=("b", "gp"),
    paper="Snoek, Larochelle, Adams 2012",
    when="few, long trials that are trained in full",
)
