"""Stops a search whose expected gain no longer pays (`--until-converged`).

The rule, in words: a search gains less and less, so the next N minutes of training are not expected
to bring more than the last N did; when that was less than the noise, the search has converged. The
noise is how far validations lie from the curves of the better trials (`hpo.core.noise`). Nothing is
fitted, so the words are the whole rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from hpo.core.budget import render_seconds
from hpo.core.noise import epoch_noise, near_best
from hpo.core.selection import of_last_stage
from hpo.core.text import count_of
from hpo.core.trial import Direction, TrialRecord, TrialState

LEAST_TRIALS = 10
"""A search is not judged by fewer trials that have ended."""
WINDOW_TRIALS = 8
"""Without a window from the user: as long as so many trials take in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What the last part of a search has brought."""

    window_s: float
    """Seconds of training, summed over trials."""
    trials: int
    """Trials that ended in it."""
    gain: float
    noise: float

    @property
    def has_converged(self) -> bool:
        """Whether the gain drowns in the noise."""
        return self.gain <= self.noise

    def __str__(self) -> str:
        verb = "no more" if self.has_converged else "more"
        return (
            f"the last {render_seconds(self.window_s)} of training "
            f"({count_of(self.trials, 'trial')}) raised the best by {self.gain:.4f}, {verb} than "
            f"the noise of {self.noise:.4f} between validations"
        )


def measure_gain(
    trials: Sequence[TrialRecord], direction: str, *, window_s: float | None = None
) -> Gain | None:
    """Say what the last `window_s` seconds of training have brought.

    Args:
        trials: of the study, in the order of their ends.
        direction: `maximize` or `minimize`.
        window_s: None for as long as `WINDOW_TRIALS` trials take in full.

    Returns:
        None while too little is known: fewer than `LEAST_TRIALS` trials have ended, less than twice
        the window has been trained, no curve is long enough to show its noise, or where trials go
        on from others none but the default has come to the last epoch.
    """
    ended = [t for t in of_last_stage(trials) if not t.is_repeat and t.state.is_finished]
    whole, num_complete = _whole(ended), sum(t.state is TrialState.COMPLETE for t in ended)
    if len(ended) < LEAST_TRIALS or not whole or len(whole) < min(2, num_complete):
        return None
    known = {t.number: t for t in trials}
    window = window_s or WINDOW_TRIALS * median(_seconds_in_full(t, known) for t in whole)
    if sum(t.seconds for t in ended) < 2 * window:
        return None
    late, spent = 0, 0.0
    for trial in reversed(ended):
        if spent >= window:
            break
        late, spent = late + 1, spent + trial.seconds
    sign = Direction(direction).sign
    before, after = _best(ended[: len(ended) - late], sign), _best(ended, sign)
    if before is None or after is None:
        return None
    noise = epoch_noise(near_best(ended, direction))
    if noise is None:
        return None
    return Gain(window_s=window, trials=late, gain=after - before, noise=noise.deviation)


def _whole(ended: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials that were trained in full; none before the default, which always is, has ended."""
    longest = max((t.until_epoch for t in ended), default=0)
    has_default = any(t.number == 0 for t in ended)
    complete = (t for t in ended if t.state is TrialState.COMPLETE)
    return [t for t in complete if has_default and t.epochs >= longest]


def _seconds_in_full(trial: TrialRecord, known: Mapping[int, TrialRecord]) -> float:
    """Seconds of a trial and of those that it went on from."""
    seconds = trial.seconds
    while trial.start_from is not None:
        trial = known[trial.start_from[0]]
        seconds += trial.seconds
    return seconds


def _best(trials: Sequence[TrialRecord], sign: float) -> float | None:
    """Best value among the trials that were trained longest, larger is better."""
    able = [t for t in trials if t.value is not None]
    longest = max((t.epochs for t in able), default=0)
    return max((sign * (t.value or 0.0) for t in able if t.epochs == longest), default=None)
