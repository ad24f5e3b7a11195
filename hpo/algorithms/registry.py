"""Algorithms and pruners by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hpo.core.errors import SpecError
from hpo.core.specs import nearest

if TYPE_CHECKING:
    import optuna

    from hpo.algorithms.optuna_brain import OptunaAlgorithm, SamplerFactory
    from search_spaces import SearchSpace


def _random(seed: int, _dimensions: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _tpe(seed: int, dimensions: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=_random_points(dimensions))


def _bayesian(seed: int, dimensions: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=_random_points(dimensions))


def _random_points(dimensions: int) -> int:
    """Ten random points are Optuna's default; a small space needs fewer before the model speaks."""
    return min(10, max(4, dimensions))


ALGORITHMS: dict[str, tuple[Callable[[int, int], Any], str]] = {
    "random": (_random, "uniform draws in the compiled space"),
    "tpe": (_tpe, "tree-structured Parzen estimator (Bergstra et al., 2011), multivariate"),
    "bayesian": (_bayesian, "Gaussian process with expected improvement; at most some 100 trials"),
}
"""name -> (sampler factory of (seed, number of dimensions), one line for people)."""

MODEL_BASED = frozenset({"tpe", "bayesian"})
"""Algorithms whose first points are spread by design, in place of their own random start."""


def _none(_epochs: int) -> optuna.pruners.BasePruner:
    from optuna.pruners import NopPruner

    return NopPruner()


def _successive_halving(epochs: int) -> optuna.pruners.BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=first_rung(epochs), reduction_factor=3)


def _hyperband(epochs: int) -> optuna.pruners.BasePruner:
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(min_resource=first_rung(epochs), max_resource=epochs, reduction_factor=3)


def _median(epochs: int) -> optuna.pruners.BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=4, n_warmup_steps=first_rung(epochs))


def _patient(epochs: int) -> optuna.pruners.BasePruner:
    from optuna.exceptions import ExperimentalWarning
    from optuna.pruners import MedianPruner, PatientPruner

    wrapped = MedianPruner(n_startup_trials=4, n_warmup_steps=first_rung(epochs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of the class, not of its results
        return PatientPruner(wrapped, patience=max(1, epochs // 9))


PRUNERS: dict[str, tuple[Callable[[int], Any], str]] = {
    "successive_halving": (
        _successive_halving,
        "asynchronous successive halving (Li et al., 2020)",
    ),
    "hyperband": (_hyperband, "brackets of successive halving (Li et al., 2018)"),
    "median": (_median, "stops a trial below the median of the others at the same epoch"),
    "patient": (_patient, "median, but only when the trial itself has stopped improving"),
    "none": (_none, "every trial runs to its last epoch"),
}
"""name -> (pruner factory of the number of epochs, one line for people)."""

AUTO = "auto"


def first_rung(epochs: int) -> int:
    """Epochs before a trial can be pruned: a ninth of a full one, at least two of four or more."""
    return max(epochs // 9, 2 if epochs >= 4 else 1)


def resolve_names(algorithm: str, pruner: str, *, num_epochs: int) -> tuple[str, str, str]:
    """Replace `auto` by names and say why.

    Returns:
        (algorithm, pruner, reason).

    Raises:
        SpecError: for a name that is not registered.
    """
    for name, table, key in (
        (algorithm, ALGORITHMS, "search.algorithm"),
        (pruner, PRUNERS, "search.pruner"),
    ):
        if name != AUTO and name not in table:
            known = ", ".join([AUTO, *table])
            raise SpecError(f"{key}: must be one of {known}; got {name!r}{nearest(name, table)}")
    reasons = []
    if algorithm == AUTO:
        algorithm = "tpe"
        reasons.append("tpe: learns from parallel and pruned trials alike, at no cost per proposal")
    if pruner == AUTO:
        pruner = "successive_halving" if num_epochs >= 3 else "none"
        reasons.append(
            f"{pruner}: judged from epoch {first_rung(num_epochs)} of {num_epochs}"
            if pruner != "none"
            else f"no pruning: {num_epochs} epochs are too few to judge early"
        )
    return algorithm, pruner, "; ".join(reasons)


def create_algorithm(
    name: str,
    space: SearchSpace,
    *,
    pruner: str,
    direction: str,
    num_epochs: int,
    seed: int,
) -> OptunaAlgorithm:
    """Build a registered algorithm over a space.

    Raises:
        SpecError: for a name that is not registered.
    """
    from hpo.algorithms.optuna_brain import OptunaAlgorithm

    name, pruner, _ = resolve_names(name, pruner, num_epochs=num_epochs)
    make = ALGORITHMS[name][0]
    dimensions = len(space.dimensions)

    def make_sampler(seed_of_trial: int) -> Any:
        return make(seed_of_trial, dimensions)

    factory: SamplerFactory = make_sampler
    return OptunaAlgorithm(
        space,
        make_sampler=factory,
        pruner=PRUNERS[pruner][0](num_epochs),
        direction=direction,
        num_epochs=num_epochs,
        seed=seed,
        num_designed=_num_designed(name, space),
    )


def _num_designed(name: str, space: SearchSpace) -> int:
    """Trials at the start that no sampler chooses: a model's first points, or a short search's."""
    first_points = _random_points(len(space.dimensions)) if name in MODEL_BASED else 0
    return max(space.early_trials, first_points)
