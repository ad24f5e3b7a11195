"""`auto`: picks the algorithm and the pruner for a study, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.algorithms.brackets import first_rung
from hpo.algorithms.mfbo import OTHERS_BEFORE_STEPS, TRIALS_PER_DIMENSION
from hpo.core.text import count_of

NAME = "auto"
LEAST_REPORTS = 3
"""With fewer validations of a trial nobody can be judged before the end."""
_FEW_TRIALS = 60
"""Up to so many full trials a Gaussian process is quick to fit."""
_FEW_DIMENSIONS = 8
"""Up to so many dimensions it has points enough to learn from."""
_MANY_DIMENSIONS = 40
"""Beyond these a Gaussian process learns too little from the trials of a search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What the choice depends on."""

    num_epochs: int
    num_reports: int
    """Validations of a full trial."""
    dimensions: int = 0
    """Of the compiled space; 0 when unknown."""
    trials: int | None = None
    """The budget of trials; None when it is in time or epochs."""
    slots: int = 1


def choose_algorithm(facts: StudyFacts) -> tuple[str, str]:
    """Return a name and why."""
    if facts.trials is not None and facts.slots > 1 and facts.trials <= 2 * facts.slots:
        return (
            "random",
            f"random: {count_of(facts.trials, 'trial')} on {facts.slots} slots teach too little",
        )
    is_short = facts.num_reports < LEAST_REPORTS
    is_small = 0 < facts.dimensions <= _FEW_DIMENSIONS
    if is_short and is_small and facts.trials is not None and facts.trials <= _FEW_TRIALS:
        dimensions = count_of(facts.dimensions, "dimension")
        words = f"a model of the surface suits so few trials ({facts.trials}) in {dimensions}"
        return "bayesian", f"bayesian: {words}"
    can_model = not is_short and 0 < facts.dimensions <= _MANY_DIMENSIONS
    first = TRIALS_PER_DIMENSION * facts.dimensions
    if can_model and (facts.trials is None or facts.trials > first):
        words = "then a model of all curves, stopped ones too, at first in turns"
        return "mfbo", f"mfbo: tpe for {first} trials, {words}"
    if can_model and facts.trials is not None and facts.trials > OTHERS_BEFORE_STEPS + 1:
        words = "and small steps from the default while nothing is better"
        return "mfbo", f"mfbo: tpe for so few trials, {words}"
    return "tpe", "tpe: learns from parallel and pruned trials alike, at no cost per proposal"


def choose_pruner(num_epochs: int, num_reports: int) -> tuple[str, str]:
    """Return a name and why."""
    if num_reports < LEAST_REPORTS:
        what = "epoch" if num_reports == num_epochs else "validation"
        return "none", f"no pruning: {count_of(num_reports, what)} a trial, too few to judge early"
    rung = first_rung(num_epochs)
    return "successive_halving", f"successive_halving: judged from epoch {rung} of {num_epochs}"
