"""Says in words what a `Progress` has counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hpo.console.leading import Best
from hpo.console.progress import Progress, RunningTrial
from hpo.core.budget import Budget, nearest_limit, render_seconds, uses
from hpo.core.text import count_of


def whose_value(best: Best) -> str:
    """Which trial the best value is of: `trial 4`, or `trial 4, mean of 2 repeats`."""
    if not best.repeats:
        return f"trial {best.trial}"
    return f"trial {best.trial}, mean of {count_of(best.repeats, 'repeat')}"


def split_running(progress: Progress) -> tuple[list[tuple[int, RunningTrial]], str]:
    """Running trials of the last stage by number, and those before it, in words.

    Those are `16 trials of stage heads`, and what is done before their first epoch:
    `(computing features 3/9)`.
    """
    last = [(n, t) for n, t in sorted(progress.running.items()) if not t.stage.left]
    others = [t for t in progress.running.values() if t.stage.left]
    names = Counter(t.stage.name for t in others)
    doing = "".join(f" ({t.doing})" for t in others if t.doing)
    counts = [f"{count_of(number, 'trial')} of stage {name}" for name, number in names.items()]
    return last, ", ".join(counts) + doing


def describe_use(progress: Progress) -> str:
    """What has been used of the nearest limit: `12 of 40 trials`, `25m of 2h`; or of repeats."""
    budget: Budget = progress.budget
    if (repeats := progress.repeats()) is not None:
        return f"{repeats[0]} of {count_of(repeats[1], 'repeat')}"
    spent = replace(progress.spent_now(), trials=progress.done())
    nearest = nearest_limit(budget, spent)
    return count_of(spent.trials, "trial") if nearest is None else uses(budget, spent)[nearest]


def describe_left(progress: Progress) -> str:
    """How long it will still take, and the pace: `3m to 5m left, 96 trials/h`."""
    parts = []
    left = progress.remaining()
    if left is not None and _rounded(left[1]) > 0:
        low, high = (render_seconds(_rounded(seconds)) for seconds in left)
        span = f"up to {high}" if _rounded(left[0]) == 0 else f"{low} to {high}"
        parts.append(f"{low} left" if low == high else f"{span} left")
    elif left is not None and progress.running and progress.fraction() >= 1:
        parts.append("used up, finishing the running epochs")
    if progress.running or progress.fraction() < 1:
        parts += [_an_hour(pace, name) for name, pace in progress.paces().items()]
    return ", ".join(parts)


def _an_hour(pace: float, name: str) -> str:
    """How many trials of a stage end in an hour, to two digits."""
    digits = float(f"{pace:.2g}")
    number = f"{digits:.0f}" if digits >= 10 else f"{digits:g}"
    return f"{number} {name.removesuffix('s') if number == '1' else name}/h"


def _rounded(seconds: float) -> float:
    """No more digits than are known: to 5 s below a minute, to 10 s below 10."""
    step = 5 if seconds < 60 else 10 if seconds < 600 else 60
    return step * round(seconds / step)
