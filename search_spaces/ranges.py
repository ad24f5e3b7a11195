"""Chooses the searched range of a number: rule, user's range, trainer's limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from search_spaces import grids
from search_spaces.domains.options import is_inside
from search_spaces.draft import Draft, element_bounds, first, limited, with_range
from search_spaces.rule import INSET, Bounds, Interval, Scale, choose_interval, keep_interval
from search_spaces.schema import Kind, is_finite, is_number


def set_interval(draft: Draft) -> None:
    """Choose `draft.interval` of a number or a square kernel; None when there is a problem."""
    if draft.is_number:
        wanted = (first(draft.change.low), first(draft.change.high))
        interval = number_interval(draft, draft.bounds, draft.default, wanted)
        if interval is not None:
            room = limited(draft, draft.bounds).within(*wanted)
            draft.interval = on_grid(draft, _limit(draft, interval), room)
    elif draft.derived is not None:
        draft.span = limited(draft, draft.bounds).closed_integers()
    elif draft.kind is Kind.EQUAL_PAIR:
        draft.interval = _odd_interval(draft)
    elif draft.kind is Kind.INCREASING_LIST:
        draft.span = _span(draft)


def steps_of(draft: Draft) -> list[Any]:
    """Return the default of an increasing list, or the shortest one that increases."""
    return draft.default if isinstance(draft.default, list) else [1, 2]


def number_interval(
    draft: Draft, bounds: Bounds, default: Any, wanted: tuple[float | None, float | None]
) -> Interval | None:
    """Apply the rule, or the user's range, to one number.

    Args:
        draft: the parameter it belongs to, which may hold several.
        bounds: cleaned bounds of this number.
        default: the spec's value; moved inside the bounds with a warning when it lies outside.
        wanted: the ends that the user gives; either may be None.

    Returns:
        None when nothing is left; the reason is noted.
    """
    given, bounds = bounds, bounds.closed_integers() if draft.is_int else bounds
    if _is_spent(draft, bounds, given):
        return None
    if bounds.low is not None and bounds.low == bounds.high:
        return Interval(low=bounds.low, high=bounds.low, why=f"{bounds} holds one value")
    start = _usable(draft, bounds, default)
    if wanted == (None, None):
        interval = _from_default(draft, bounds, start)
    else:
        change = _wanted(draft, bounds, *wanted)
        if change is None:
            return None
        interval = _from_change(draft, change, bounds, start)
    if interval.is_guess:
        draft.warn_guess(f"in [{interval.low:g}, {interval.high:g}]")
    return interval


def clamped(bounds: Bounds, value: float) -> float:
    """Return a value moved inside bounds, off an open end by a thousandth of the width."""
    low, high = bounds.low, bounds.high
    width = high - low if low is not None and high is not None else max(abs(value), 1.0)
    if low is not None and (value < low or (bounds.low_open and value == low)):
        value = low + (width * INSET if bounds.low_open else 0)
    if high is not None and (value > high or (bounds.high_open and value == high)):
        value = high - (width * INSET if bounds.high_open else 0)
    return value


def _from_change(draft: Draft, change: Bounds, bounds: Bounds, default: float | None) -> Interval:
    if change.low is None or change.high is None:
        return _from_default(draft, change, default)
    start = None if default is None else clamped(change, default)
    if change.low == change.high:
        return Interval(low=change.low, high=change.high, why="the given range holds one value")
    return keep_interval(change, bounds, start, is_int=draft.is_int, log=draft.change.log)


def _from_default(draft: Draft, bounds: Bounds, default: float | None) -> Interval:
    """Apply the rule to a default moved inside the bounds; the reason says so where it was."""
    start = None if default is None else clamped(bounds, default)
    interval = choose_interval(bounds, start, is_int=draft.is_int)
    if start == default:
        return interval
    moved = f"default {default:g} lies outside {bounds}, moved to {start:g}"
    return replace(interval, why=f"{moved}; {interval.why}")


def _is_spent(draft: Draft, bounds: Bounds, as_given: Bounds) -> bool:
    if not bounds.is_empty:
        return False
    draft.problem(f"no value lies in {as_given}{draft.because}; correct the schema or the spec")
    return True


def _wanted(draft: Draft, bounds: Bounds, low: float | None, high: float | None) -> Bounds | None:
    """Return the user's range cut to the kind of number, or None when it leaves the bounds."""
    closed = Bounds(low=bounds.low, high=bounds.high)
    outside = [end for end in (low, high) if end is not None and clamped(closed, end) != end]
    if outside:
        draft.problem(
            f"a range must lie inside {bounds}, which the schema sets, got {outside[0]!r}"
        )
        return None
    change = bounds.within(low, high)
    if draft.change.log and change.low is not None and change.low <= 0 and low is None:
        draft.problem(f"low > 0 must hold for a log range, got {change.low:g}; give one")
        return None
    cut = change.closed_integers() if draft.is_int else change
    return None if _is_spent(draft, cut, change) else cut


def _usable(draft: Draft, bounds: Bounds, default: Any) -> float | None:
    """Return the default as a number, or None; warn where it is none or lies outside the bounds."""
    if not is_finite(default):
        told = "has no default" if default is None else f"its default {default!r} is not a number"
        draft.warn(f"{told}, so the first trial takes the middle of its range")
        return None
    if draft.is_int and default % 1:
        draft.warn(f"its default {default!r} is not a whole number")
        default = round(default)
    number: float = default
    if clamped(bounds, number) != number:
        draft.warn(f"default {default!r} lies outside {bounds}")
    return number


def _limit(draft: Draft, interval: Interval) -> Interval:
    """Narrow an interval to what the spec demands; the scale stays."""
    bounds = limited(draft, Bounds())
    if limited(draft, draft.bounds).is_empty or bounds.is_empty:
        draft.problem(f"this spec demands {bounds}, of which {draft.bounds} leaves nothing")
        return interval
    low, high = clamped(bounds, interval.low), clamped(bounds, interval.high)
    if (low, high) == (interval.low, interval.high):
        return interval
    draft.warn(f"searched in [{low:g}, {high:g}] only; this spec leaves no more room")
    return with_range(interval, low, high)


def on_grid(draft: Draft, interval: Interval, room: Bounds) -> Interval | None:
    """Move ends inwards onto whole numbers or the grid.

    A stretch between two multiples grows to those of them that lie in `room`.
    """
    step = draft.grid
    if not step:
        return interval
    if interval.scale is Scale.REFLECTED:
        interval = replace(interval, scale=Scale.LINEAR)
    low, high = grids.up(interval.low, step), grids.down(interval.high, step)
    if interval.scale is Scale.LOG and low <= 0:
        low = step
    if low > high:
        near = [end for end in (high, low) if is_inside(end, room)]
        if not near:
            told = f"no multiple of {draft.step_reason or '1'} lies in {room}"
            draft.problem(f"{told}; widen the range")
            return None
        low, high = near[0], near[-1]
        interval = replace(interval, scale=interval.scale if low > 0 else Scale.LINEAR, early=None)
    early = interval.early
    if early is not None:
        ends = (grids.up(early[0], step), grids.down(early[1], step))
        early = ends if ends[0] < ends[1] else None
    return with_range(replace(interval, early=early), low, high)


def _odd_interval(draft: Draft) -> Interval | None:
    """Return the odd numbers that a square kernel may have (R6)."""
    default = draft.default
    side = default[0] if isinstance(default, list) and default and is_number(default[0]) else 3
    bounds = limited(draft, draft.bounds.raised(1))
    for index in range(len(default) if isinstance(default, list) else 1):  # the same for each
        own = element_bounds(draft, index)
        bounds = bounds.within(own.low, own.high)
    bounds = bounds.within(first(draft.change.low), first(draft.change.high))
    if bounds.high is None:
        bounds = bounds.lowered(2 * side + 1)
        if not draft.relations:
            draft.warn_guess(f"up to {2 * side + 1}")
    bounds = bounds.closed_integers()
    least, most = int(bounds.low or 1), int(bounds.high or 1)
    least, most = least + (least % 2 == 0), most - (most % 2 == 0)
    if least > most:
        draft.problem(f"no odd number lies in {bounds}; widen the range")
        return None
    return Interval(low=least, high=most, why="odd numbers, the same for every element")


def _outer(bound: Any, choose: Callable[[Sequence[float]], float]) -> float | None:
    """Return a bound of all elements; None where one of them has none."""
    if not isinstance(bound, tuple):
        return first(bound)
    return None if None in bound or not bound else choose(bound)


def _span(draft: Draft) -> Bounds:
    """Return closed bounds for all elements, guessed from the default where there are none."""
    default, leaf = steps_of(draft), draft.leaf
    outer = draft.conditions.within(_outer(leaf.minimum, min), _outer(leaf.maximum, max))
    bounds = limited(draft, outer)
    if draft.is_int:
        bounds = bounds.closed_integers()
    is_share = not draft.is_int and all(0 <= item <= 1 for item in default)
    low = bounds.low
    if low is None:
        low = 0 if is_share else min(1, *default)
    high = bounds.high
    if high is None and draft.change.high is not None:
        high = max(draft.change.high) if isinstance(draft.change.high, tuple) else draft.change.high
    if high is None:
        high = 1 if is_share else 2 * max(default)
        if not draft.relations:
            draft.warn_guess(f"up to {high:g}")
    inset = 0.0 if draft.is_int else (high - low) * INSET
    return Bounds(
        low=low + inset if bounds.low_open and low == bounds.low else low,
        high=high - inset if bounds.high_open and high == bounds.high else high,
    )
