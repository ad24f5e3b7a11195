"""Estimates how much of the winner's validation value is chance, from trials alone.

Two choices raise it: the best epoch of a trial was kept, and the best of all trials was. The first
is found by drawing a trial's curve again with the noise between its validations. For the second,
values of trials are taken as true values plus noise: where noise is most of their spread near the
best, most of the winner's lead is chance and is taken back (normal-normal empirical Bayes: Efron
and Morris 1973; variance with that of the estimated spread: Morris 1983). Repeats with new seeds
(`--confirm`) tell the noise and, those of the winner, its true value. Nothing is looked at but
validation values.
Legend: E epochs, B draws; values are turned so that larger is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, median

import numpy as np
from numpy.typing import NDArray

from hpo.core.expected import Expected
from hpo.core.noise import epoch_noise, near_best, seed_noise
from hpo.core.selection import leading, ranked, repeat_values
from hpo.core.ties import LEVEL, may_be_chance, trial_name
from hpo.core.trial import Direction, TrialRecord, TrialState

LEAST_TRIALS = 3
"""With fewer there is no spread to compare the winner's lead with."""
SEED_SHARE = 1.0
"""Variance between seeds as a multiple of that between validations, where no repeats tell it."""
PRIOR_FREEDOM = 4
"""Repeats of so many degrees of freedom weigh as much as what curves say."""
_REACH = 2
"""Epochs on either side that a smoothed value is made of."""
_DRAWS = 400

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chance:
    """What chance does to a trial's value."""

    variance: float
    """Of a value between seeds."""
    lift: float = 0.0
    """What the choice of the best epoch adds on average."""
    lift_error: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """What a trial's value would be on average over seeds, as far as the trials tell."""

    mean: float
    variance: float


def expect(
    trials: Sequence[TrialRecord], direction: str, number: int, *, share_of: float | None = None
) -> Expected | None:
    """Say what the winner is expected to show on new pictures; nothing but trials is looked at.

    Args:
        trials: all of the search, repeats included.
        direction: `maximize` or `minimize`.
        number: of the winner.
        share_of: where the value is as uncertain as a share of so many pictures, the interval tells
            of other pictures of the same kind too (binomial), and ends where shares do.

    Returns:
        None where nothing can be said: fewer than `LEAST_TRIALS` trials were trained as long as the
        winner, or neither curves nor repeats show any noise.
    """
    order = ranked([t for t in trials if not t.is_repeat], direction)
    longest = leading(order)
    winner = next((t for t in longest if t.number == number), None)
    if winner is None or len(longest) < LEAST_TRIALS or not (chance := _chance(trials, direction)):
        return None
    sign = Direction(direction).sign
    levels = _levels([sign * _value(t, direction) for t in longest], chance.variance)
    own = levels[longest.index(winner)]
    repeats = [sign * v for v in repeat_values(winner, trials, direction)]
    level = _with_repeats(own, repeats, chance.variance)
    value = _value(winner, direction)
    drop = sign * value - level.mean + chance.lift
    error = math.sqrt(level.variance + chance.lift_error**2)
    expected = value - sign * drop
    spread = math.hypot(error, _share_error(expected, share_of))
    low, high = expected - spread, expected + spread
    if share_of and 0 <= expected <= 1:  # a share is nowhere else
        low, high = max(0.0, low), min(1.0, high)
    default = next((t.number for t in longest if t.is_twin_of(trials[0])), None)
    others = () if any(t.is_repeat for t in trials) else zip(longest, levels, strict=True)
    return Expected(
        value=value,
        trials=len(longest),
        drop=drop,
        drop_error=error,
        expected=expected,
        interval=(low, high),
        noise=math.sqrt(chance.variance),
        repeats=len(repeats),
        tied=tuple(
            trial_name(t.number, default)
            for t, level_of in others
            if not t.is_twin_of(winner) and _is_level(own, level_of)
        ),
    )


def _value(trial: TrialRecord, direction: str) -> float:
    best = trial.best_measurement(direction)
    return best.value if best else math.nan


def _chance(trials: Sequence[TrialRecord], direction: str) -> _Chance | None:
    """Find the noise by curves, and by repeats; None where there is none to see."""
    # Repeats were chosen by nothing; the best trials are those with much noise, too.
    whole = [t for t in trials if t.is_repeat and t.state is TrialState.COMPLETE]
    near = whole or near_best(trials, direction)
    noise, seeds = epoch_noise(near), seed_noise(trials, direction)
    if not noise:
        return _Chance(variance=seeds.deviation**2) if seeds else None
    rng, sign = np.random.default_rng(0), Direction(direction).sign
    curves = [sign * np.array([m.value for m in t.measurements]) for t in near]
    drawn = (_best_epoch(c, noise.deviation, rng) for c in curves)
    lifts, variances, shifts = zip(*drawn, strict=True)
    variance = fmean(variances) + SEED_SHARE * noise.deviation**2
    if seeds is not None:
        total = PRIOR_FREEDOM * variance + seeds.freedom * seeds.deviation**2
        variance = total / (PRIOR_FREEDOM + seeds.freedom)
    lift = fmean(lifts)
    # Repeats tell the level, not where the noise put the best epoch; else both are assumed.
    shift = fmean(shifts) if whole else 0.0
    error = math.sqrt(lift**2 / (2 * noise.freedom) + shift)
    return _Chance(variance=variance, lift=lift, lift_error=error)


def _best_epoch(
    curve_E: Floats, noise: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Draw a curve's best epoch again and again.

    Returns:
        What the noise adds to it on average, the variance of the best value, and that of the curve
        itself at the best epoch: noise moves it along the curve.
    """
    smooth_E = smoothed(curve_E)
    noise_BE = rng.normal(0.0, noise, (_DRAWS, len(curve_E)))
    drawn_BE = smooth_E + noise_BE
    best_B = drawn_BE.argmax(axis=1)
    lift = noise_BE[np.arange(_DRAWS), best_B].mean()
    return float(lift), float(drawn_BE.max(axis=1).var()), float(smooth_E[best_B].var())


def smoothed(curve_E: Floats) -> Floats:
    """Lay a line through each value and its neighbours, and take it there."""
    return _smoother(len(curve_E)) @ curve_E


@lru_cache
def _smoother(epochs: int) -> Floats:
    """The matrix of `smoothed`: in each row the weights of least squares for that epoch."""
    found_EE = np.zeros((epochs, epochs))
    for here in range(epochs):
        near = np.arange(max(0, here - _REACH), min(epochs, here + _REACH + 1))
        line = np.stack([np.ones(len(near)), near - here], axis=1)
        found_EE[here, near] = np.linalg.pinv(line)[0]
    return found_EE


def _levels(values: Sequence[float], noise: float) -> list[_Level]:
    """Shrink values, best first, towards their middle by the share of noise in their spread.

    The spread is that of the better half, as it is among these that the best was chosen, and bad
    trials that were trained in full say nothing of it.
    """
    middle = median(values)
    better = [v - middle for v in values if v >= middle]
    count = len(better) - len(values) % 2  # the middle one has no distance from itself
    spread = sum(d * d for d in better) / count
    share = min(1.0, noise / spread) if spread else 1.0
    known = noise * (1 - share * (1 - 1 / len(values)))
    return [
        _Level(
            mean=value - share * (value - middle),
            variance=known + 2 / len(better) * (share * (value - middle)) ** 2,
        )
        for value in values
    ]


def _with_repeats(level: _Level, repeats: Sequence[float], noise: float) -> _Level:
    """Take in values of repeats, which nothing has chosen."""
    if not repeats:
        return level
    weight = level.variance / (level.variance + noise / len(repeats))
    mean = level.mean + weight * (fmean(repeats) - level.mean)
    return _Level(mean=mean, variance=(1 - weight) * level.variance)


def _share_error(share: float, count: float | None) -> float:
    """Standard error of a share of so many; 0 for what is none.

    With half a hit and half a miss more than was seen: without, all or none would seem certain.
    """
    if not count or not 0 <= share <= 1:
        return 0.0
    known = (share * count + 0.5) / (count + 1)
    return math.sqrt(known * (1 - known) / count)


def _is_level(one: _Level, other: _Level) -> bool:
    """Whether the difference of two levels may be chance."""
    ahead = one.mean - other.mean
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt(one.variance + other.variance)
    return may_be_chance((ahead - reach, ahead + reach))
