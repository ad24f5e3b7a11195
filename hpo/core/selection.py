"""Which trial is best: the best value among the trials that were trained longest."""

from __future__ import annotations

from collections.abc import Iterable

from hpo.core.trial import TrialRecord, TrialState

SEARCHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def ranked(trials: Iterable[TrialRecord], direction: str) -> list[TrialRecord]:
    """Sort trials from best to worst: trained longest first, then by best value, then by number.

    A better value after fewer epochs does not win: it was never compared at the same budget.
    Failed trials and trials without an epoch are left out.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    able = [t for t in trials if t.state in SEARCHED and t.measurements]

    def key(trial: TrialRecord) -> tuple[float, float, int]:
        best = trial.best_measurement(direction)
        value = best.value if best else float("-inf")
        return (-trial.epochs, -sign * value, trial.number)

    return sorted(able, key=key)


def finalists(trials: Iterable[TrialRecord], direction: str, count: int) -> list[TrialRecord]:
    """The `count` best trials of the largest budget, and trial 0 (the default) if it got as far."""
    order = ranked([t for t in trials if t.purpose == "search"], direction)
    if not order:
        return []
    longest = [t for t in order if t.epochs == order[0].epochs]
    chosen = longest[:count]
    default = [t for t in longest if t.number == 0 and t not in chosen]
    return chosen + default


def best_trial(trials: Iterable[TrialRecord], direction: str) -> TrialRecord | None:
    """The winner; where finalists were trained again, the best mean over their runs decides.

    A confirmation run is recognised by having the finalist's parameters.
    """
    everything = list(trials)
    searched = ranked([t for t in everything if t.purpose == "search"], direction)
    if not searched:
        return None
    repeats = [t for t in everything if t.purpose == "confirm" and t.state in SEARCHED]
    if not repeats:
        return searched[0]
    means = {
        trial.number: mean
        for trial in searched
        if (mean := mean_over_seeds(trial, repeats, direction)) is not None
    }
    if not means:
        return searched[0]
    sign = 1.0 if direction == "maximize" else -1.0
    best = max(means, key=lambda number: (sign * means[number], -number))
    return next(t for t in searched if t.number == best)


def mean_over_seeds(
    trial: TrialRecord, repeats: Iterable[TrialRecord], direction: str
) -> float | None:
    """Mean best value of a trial and its full-length repeats; None when it was never repeated."""
    values = []
    for record in [trial, *(r for r in repeats if r.params == trial.params)]:
        if record.state is TrialState.FAILED:
            continue
        best = record.best_measurement(direction)
        if best is not None and record.epochs >= trial.epochs:
            values.append(best.value)
    return sum(values) / len(values) if len(values) > 1 else None
