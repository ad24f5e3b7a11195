"""Pruners by name: rules that stop a trial before its last epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from hpo.algorithms.brackets import early_rungs, first_rung, hyperband_brackets

if TYPE_CHECKING:
    from hpo.algorithms.pruning import Pruner

FACTOR = 3
"""One in so many goes on at each rung."""


def _successive_halving(epochs: int, direction: str) -> Pruner | None:
    from hpo.algorithms.pruning import halving

    return halving(early_rungs(epochs, FACTOR), FACTOR, direction)


def _hyperband(epochs: int, direction: str) -> Pruner | None:
    from hpo.algorithms.pruning import BracketPruner

    return BracketPruner(hyperband_brackets(epochs, first_rung(epochs), FACTOR), FACTOR, direction)


def _median(epochs: int, direction: str) -> Pruner | None:
    from optuna.pruners import MedianPruner

    from hpo.algorithms.pruning import OptunaPruner

    pruner = MedianPruner(n_startup_trials=4, n_warmup_steps=first_rung(epochs))
    return OptunaPruner(pruner, direction)


def _patient(epochs: int, direction: str) -> Pruner | None:
    from optuna.exceptions import ExperimentalWarning
    from optuna.pruners import MedianPruner, PatientPruner

    from hpo.algorithms.pruning import OptunaPruner

    wrapped = MedianPruner(n_startup_trials=4, n_warmup_steps=first_rung(epochs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of the class, not of its results
        pruner = PatientPruner(wrapped, patience=max(1, epochs // 9))
    return OptunaPruner(pruner, direction, is_raw=True)


PRUNERS: dict[str, tuple[Callable[[int, str], Pruner | None], str]] = {
    "successive_halving": (
        _successive_halving,
        "asynchronous successive halving (Li et al., 2020)",
    ),
    "hyperband": (_hyperband, "brackets of successive halving (Li et al., 2018)"),
    "median": (_median, "stops a trial below the median of the others at the same epoch"),
    "patient": (_patient, "median, but only when the trial itself has stopped improving"),
    "none": (lambda _epochs, _direction: None, "every trial runs to its last epoch"),
}
"""name -> (factory of the number of epochs and the direction, one line for people)."""
