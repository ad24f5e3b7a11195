"""The algorithm of a planned study, as a search, its resumption and `hpo why` build it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.algorithms.entry import Context
from hpo.algorithms.registry import create_algorithm
from hpo.core.planning import StudyPlan
from hpo.core.protocols import Algorithm, Trainer
from hpo.core.study_spec import StudySpec

if TYPE_CHECKING:
    from search_spaces import SearchSpace


def algorithm_for(
    study: StudySpec, plan: StudyPlan, trainer: Trainer, space: SearchSpace, *, slots: int = 1
) -> Algorithm:
    """Build a study's algorithm, which has heard nothing yet."""
    return create_algorithm(
        plan.algorithm,
        space,
        pruner=plan.pruner,
        direction=trainer.direction,
        num_epochs=plan.num_epochs,
        seed=study.search.seed,
        options=study.search.algorithm_options,
        context=Context(
            planned_trials=plan.planned_trials,
            slots=slots,
            first=tuple(start["latents"] for start in plan.first),
            restart_keys=tuple(getattr(trainer, "restart_keys", ("model",))),
        ),
    )
