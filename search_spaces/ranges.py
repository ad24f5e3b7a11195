"""The stretch that is searched of each drafted number: the rule, the user's range, the trainer's limits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from search_spaces.draft import Draft
from search_spaces.rule import INSET, Bounds, Interval, Scale, choose_interval, keep_interval

Limit = tuple[float | None, float | None]


def set_interval(
    draft: Draft, limit: Limit | None, *, problems: list[str], warnings: list[str]
) -> None:
    """Choose `draft.interval` for a number; leave it None when there is a problem."""
    bounds = draft.bounds if draft.least is None else draft.bounds.raised(draft.least)
    interval = number_interval(
        draft,
        bounds,
        draft.default,
        (draft.wish.low, draft.wish.high),
        problems=problems,
        warnings=warnings,
    )
    if interval is None:
        return
    interval = _on_grid(draft, _limited(draft, interval, limit, problems, warnings))
    if interval.low > interval.high:
        problems.append(
            f"{draft.name}: no value left in {bounds} with step {draft.step:g}; widen the range"
        )
        return
    draft.interval = interval


def number_interval(  # noqa: PLR0913 - one number of a parameter
    draft: Draft,
    bounds: Bounds,
    default: Any,
    wanted: tuple[Any, Any],
    *,
    problems: list[str],
    warnings: list[str],
) -> Interval | None:
    """Apply the rule, or the user's range, to one number.

    Args:
        draft: the parameter it belongs to.
        bounds: cleaned bounds of the number.
        default: the spec's value; moved inside the bounds with a warning when it lies outside.
        wanted: the ends that the user gives, either may be None.
        problems: an empty range is appended.
        warnings: a moved default and guessed ranges are appended.
    """
    is_int = draft.is_int
    if is_int:
        bounds = bounds.closed_integers()
    low, high = bounds.low, bounds.high
    if low is not None and high is not None and low >= high:
        if low == high and not (bounds.low_open or bounds.high_open):
            return Interval(low=low, high=high, why=f"{bounds} holds one value")
        problems.append(f"{draft.name}: no value left in {bounds}; widen the range or a limit")
        return None
    default = _inside(draft, bounds, default, warnings)
    start, stop = (_first(end) for end in wanted)
    if start is None and stop is None:
        interval = choose_interval(bounds, default, is_int=is_int)
    else:
        wish = _wanted(draft, bounds, start, stop, problems)
        if wish is None:
            return None
        if wish.low is None or wish.high is None:
            interval = choose_interval(wish, _clamped(wish, default), is_int=is_int)
        elif wish.low == wish.high:
            interval = Interval(low=wish.low, high=wish.high, why="given range holds one value")
        else:
            interval = keep_interval(
                wish, bounds, _clamped(wish, default), is_int=is_int, log=draft.wish.log
            )
    if interval.is_guess:
        warnings.append(
            f"{draft.name}: unbounded in the schema, searched in [{interval.low:g}, {interval.high:g}] around "
            "its default; give a range to be sure"
        )
    return interval


def _wanted(
    draft: Draft, bounds: Bounds, low: float | None, high: float | None, problems: list[str]
) -> Bounds | None:
    """Return the user's range cut to the kind of number, or None when it leaves the bounds."""
    wish = bounds
    if low is not None:
        if bounds.low is not None and low < bounds.low and not draft.least:
            problems.append(f"{draft.name}: a range must lie inside {bounds}, got low={low!r}")
            return None
        wish = wish.raised(low)
    if high is not None:
        if bounds.high is not None and high > bounds.high:
            problems.append(f"{draft.name}: a range must lie inside {bounds}, got high={high!r}")
            return None
        wish = wish.lowered(high)
    if draft.is_int:
        wish = wish.closed_integers()
    if wish.low is not None and wish.high is not None and wish.low > wish.high:
        problems.append(f"{draft.name}: the given range leaves no value in {bounds}; widen it")
        return None
    return wish


def _inside(draft: Draft, bounds: Bounds, default: Any, warnings: list[str]) -> float | None:
    if not isinstance(default, int | float) or isinstance(default, bool):
        if default is None:
            warnings.append(
                f"{draft.name}: has no default, so the first trial takes the middle of its range"
            )
        else:
            warnings.append(f"{draft.name}: default {default!r} is no number, so it is not used")
        return None
    moved = _clamped(bounds, default)
    if moved != default:
        warnings.append(
            f"{draft.name}: default {default!r} lies outside {bounds}, the search starts from {moved:g}"
        )
    return moved


def _clamped(bounds: Bounds, value: float | None) -> float | None:
    """Return the value moved inside bounds; off an open end by a thousandth of the width."""
    if value is None:
        return None
    low, high = bounds.low, bounds.high
    width = (high - low) if low is not None and high is not None else max(abs(value), 1.0)
    if low is not None and (value < low or (bounds.low_open and value == low)):
        value = low + (width * INSET if bounds.low_open else 0)
    if high is not None and (value > high or (bounds.high_open and value == high)):
        value = high - (width * INSET if bounds.high_open else 0)
    return value


def _limited(
    draft: Draft, interval: Interval, limit: Limit | None, problems: list[str], warnings: list[str]
) -> Interval:
    """Narrow an interval to the trainer's limit; the scale stays."""
    if limit is None:
        return interval
    least = -math.inf if limit[0] is None else limit[0]
    most = math.inf if limit[1] is None else limit[1]
    bounds = draft.bounds.raised(least) if limit[0] is not None else draft.bounds
    bounds = bounds.lowered(most) if limit[1] is not None else bounds
    if least > most or (
        bounds.low is not None and bounds.high is not None and bounds.low > bounds.high
    ):
        problems.append(
            f"{draft.name}: {draft.bounds} must leave room inside [{least:g}, {most:g}], which this spec demands"
        )
        return interval
    low, high = (min(max(end, least), most) for end in (interval.low, interval.high))
    if (low, high) == (interval.low, interval.high):
        return interval
    warnings.append(
        f"{draft.name}: searched in [{low:g}, {high:g}] only, because this spec demands [{least:g}, {most:g}]"
    )
    early = interval.early
    if early is not None:
        early = (min(max(early[0], low), high), min(max(early[1], low), high))
    scale = Scale.LINEAR if interval.scale is Scale.LOG and low <= 0 else interval.scale
    return replace(interval, low=low, high=high, early=early, scale=scale)


def _on_grid(draft: Draft, interval: Interval) -> Interval:
    """Move ends inwards onto whole numbers or the grid."""
    step = draft.step or (1.0 if draft.is_int else 0.0)
    if not step:
        return interval
    low = math.ceil(interval.low / step - 1e-9) * step
    high = math.floor(interval.high / step + 1e-9) * step
    if interval.scale is Scale.LOG and low <= 0:
        low = step
    early = interval.early
    if early is not None:
        early = (
            max(low, math.ceil(early[0] / step - 1e-9) * step),
            min(high, math.floor(early[1] / step + 1e-9) * step),
        )
        early = early if early[0] < early[1] else None
    return replace(interval, low=low, high=high, early=early)


def _first(end: Any) -> float | None:
    if isinstance(end, tuple):
        return end[0] if end else None
    return end
