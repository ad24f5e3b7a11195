"""The search as trials of Optuna in spec units, for charts and Optuna's importances.

The ledger's own study holds what the sampler sees (fractions of a room, logarithms of a distance to
one), which no person wants on an axis.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hpo.core.text import is_number
from hpo.core.trial import Direction
from hpo.report.run_data import RunData

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_MIN_FOR_IMPORTANCE = 8


@lru_cache(maxsize=2)
def shown_trials(facts: RunData, *, until_epoch: int | None = None) -> list[FrozenTrial]:
    """Return the trials with a result.

    Args:
        facts: the search.
        until_epoch: every trial that got this far counts with its best value up to there, so that
            pruned and complete ones can be compared; None takes each at its end.
    """
    from optuna.trial import create_trial

    distributions, short = _distributions(facts), short_names(facts)
    made = []
    for trial in facts.measured:
        seen = [m.value for m in trial.measurements if not until_epoch or m.epoch <= until_epoch]
        if not seen or (until_epoch and trial.epochs < until_epoch):
            continue
        params = {short[k]: scalar(v) for k, v in trial.params.items()}
        made.append(
            create_trial(
                params=params,
                distributions={name: distributions[name] for name in params},
                value=Direction(facts.direction).best(seen),
                user_attrs={"trial": trial.number},
            )
        )
    return made


def _comparable_epoch(facts: RunData) -> int:
    """The latest epoch that enough trials reached to be compared there: ten, or all there are."""
    reached = sorted((t.epochs for t in facts.measured), reverse=True)
    return reached[min(len(reached), 10) - 1] if reached else 0


@lru_cache(maxsize=1)
def importances(facts: RunData) -> tuple[dict[str, float], int, int]:
    """Return (parameter -> share of the explained variance, epoch compared at, trials compared).

    Empty where there are too few trials to say anything. By PED-ANOVA (Watanabe et al. 2023).
    """
    import optuna

    epoch = _comparable_epoch(facts)
    trials = shown_trials(facts, until_epoch=epoch)
    count = len(trials)
    if count < _MIN_FOR_IMPORTANCE:
        return {}, epoch, count
    study = optuna.create_study(direction=optuna.study.StudyDirection[facts.direction.upper()])
    study.add_trials(trials)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return dict(shares), epoch, count


_PREFIXES = ("train.optim.", "train.", "dataset.", "model.")


@lru_cache(maxsize=2)
def short_names(facts: RunData, *taken: str) -> dict[str, str]:
    """Names of parameters without the part that most share: `trunk.base_lr`.

    Those that would then be equal, or equal to one that is taken, stay whole.
    """
    every = {p.name for p in facts.parameters}.union(*(t.params for t in facts.trials))
    short = {name: _without_prefix(name) for name in every}
    often = Counter([*short.values(), *taken, *(name for name in every if short[name] != name)])
    return {name: name if often[short[name]] > 1 else short[name] for name in every}


def _without_prefix(name: str) -> str:
    prefix = next((p for p in _PREFIXES if name.startswith(p)), "")
    return name.removeprefix(prefix)


def scalar(value: Any) -> Any:
    """Return a value as Optuna and plotly take it: a list is its text."""
    return value if isinstance(value, (int, float, str, bool)) or value is None else str(value)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Options once each: numbers by their size, then words."""

    def place(value: Any) -> tuple[bool, float, str]:
        return (True, 0.0, str(value)) if not is_number(value) else (False, value, "")

    return sorted(set(values), key=place)


def _distributions(facts: RunData) -> dict[str, optuna.distributions.BaseDistribution]:
    """One distribution per parameter, wide enough for every value that was tried."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    wanted, short = {p.name: p.distribution for p in facts.parameters}, short_names(facts)
    tried: dict[str, list[Any]] = {}
    for trial in facts.measured:
        for name, value in trial.params.items():
            tried.setdefault(name, []).append(scalar(value))
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, values in tried.items():
        shape = wanted.get(name, {"low": math.inf, "high": -math.inf})
        if shape.get("low") is not None and all(map(is_number, values)):
            low, high = min(shape["low"], *values), max(shape["high"], *values)
            is_log = shape.get("scale") == "log" and low > 0
            found[short[name]] = FloatDistribution(float(low), float(high), log=is_log)
        else:
            found[short[name]] = CategoricalDistribution(in_order(values))
    return found
