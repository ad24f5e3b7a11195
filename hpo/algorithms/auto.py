"""`auto`: picks the algorithm and the pruner for a study, with the reason."""

from __future__ import annotations

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


def choose_algorithm(
    *, num_reports: int, dimensions: int, trials: int | None, slots: int
) -> tuple[str, str]:
    """Return a name and why.

    Args:
        num_reports: validations of a full trial.
        dimensions: of the compiled space; 0 when unknown.
        trials: the budget of trials; None when it is in time or epochs.
        slots: trials at a time.
    """
    if trials is not None and slots > 1 and trials <= 2 * slots:
        return (
            "random",
            f"random: {count_of(trials, 'trial')} on {slots} slots teach too little",
        )
    is_short = num_reports < LEAST_REPORTS
    is_small = 0 < dimensions <= _FEW_DIMENSIONS
    if is_short and is_small and trials is not None and trials <= _FEW_TRIALS:
        where = count_of(dimensions, "dimension")
        words = f"a model of the surface suits so few trials ({trials}) in {where}"
        return "bayesian", f"bayesian: {words}"
    can_model = not is_short and 0 < dimensions <= _MANY_DIMENSIONS
    first = TRIALS_PER_DIMENSION * dimensions
    if can_model and (trials is None or trials > first):
        words = "then a model of all curves, stopped ones too, at first in turns"
        return "mfbo", f"mfbo: tpe for {first} trials, {words}"
    if can_model and trials is not None and trials > OTHERS_BEFORE_STEPS + 1:
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
