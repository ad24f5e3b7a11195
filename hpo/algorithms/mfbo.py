"""`mfbo`: multi-fidelity Bayesian optimization that also learns from pruned trials' curves.

Where nothing better than the default is found, small steps from that one are tried beside it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, with_pruner
from hpo.algorithms.tpe import tpe_recipe

if TYPE_CHECKING:
    from hpo.algorithms.optuna_brain import OptunaAlgorithm

TRIALS_PER_DIMENSION = 2
"""Trials that TPE chooses first: a process over many dimensions needs points to learn from."""
OTHERS_BEFORE_STEPS = 10
"""Trials that must have failed to be better than the default before small steps from it begin."""


def build(setting: Setting) -> OptunaAlgorithm:
    """Make it for a study: the start of `tpe`, then the model of the curves."""
    from hpo.algorithms.close_look import CloseLook
    from hpo.algorithms.curve_model import CurveModel

    space, direction, seed = setting.space, setting.direction, setting.seed
    model = CurveModel(
        space,
        direction=direction,
        seed=seed,
        num_epochs=setting.num_epochs,
        least_trials=TRIALS_PER_DIMENSION * len(space.dimensions),
    )
    chooser = CloseLook(model, space, direction=direction, seed=seed, others=OTHERS_BEFORE_STEPS)
    return with_pruner(setting, replace(tpe_recipe(setting), chooser=chooser))


ENTRY = AlgorithmEntry(
    name="mfbo",
    summary="tpe, then a Gaussian process over stopped trials too; small steps from a good default",
    build=build,
    options=(MAX_RECOMMENDATIONS,),
    paper="Kandasamy et al. 2017; Ament et al. 2023 for the acquisition, Brockhoff et al. 2010 for "
    "the steps",
    when="pruned searches of twelve trials or more",
)
