"""`mfbo`: multi-fidelity Bayesian optimization that also learns from pruned trials' curves.

Where nothing better than the default is found, small steps from that one are tried beside it.
"""

from __future__ import annotations

from dataclasses import replace

from hpo.algorithms.entry import AlgorithmEntry, Setting
from hpo.algorithms.recipes import MAX_RECOMMENDATIONS, tpe_recipe, with_pruner
from hpo.core.protocols import Algorithm

TRIALS_PER_DIMENSION = 2
"""Trials that TPE chooses alone: a process over many dimensions needs points to learn from."""
TRIALS_IN_TURNS = 6
"""Trials per dimension until which TPE and the model take turns."""
OTHERS_BEFORE_STEPS = 10
"""Trials that must have failed to be better than the default before small steps from it begin."""
FULL_TRIALS_BEFORE_STEPS = 8
"""As many epochs as so many full trials have must be spent by then, where trials are not what is
counted: steps are trained in full, and cost early what wider search needs."""


def build(setting: Setting) -> Algorithm:
    """Make it for a study: the start of `tpe`, then the model of the curves, at first in turns."""
    from hpo.algorithms.chooser import InTurns
    from hpo.algorithms.close_look import CloseLook
    from hpo.algorithms.curve_model import CurveModel

    space, direction, seed = setting.space, setting.direction, setting.seed
    model = CurveModel(
        space,
        direction=direction,
        seed=seed,
        num_epochs=setting.num_epochs,
        least=TRIALS_PER_DIMENSION * len(space.dimensions),
    )
    counts_trials = setting.context.planned_trials is not None
    chooser = CloseLook(
        InTurns(model, TRIALS_IN_TURNS * len(space.dimensions)),
        space,
        direction=direction,
        seed=seed,
        others=OTHERS_BEFORE_STEPS,
        epochs=0 if counts_trials else FULL_TRIALS_BEFORE_STEPS * setting.num_epochs,
    )
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
