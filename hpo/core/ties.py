"""When the difference of two trials counts as chance, and how that is said: one rule for all."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.core.trial import Direction

LEVEL = 0.95
"""Of the intervals by which differences are judged."""
FOUND = " in the run that found it"
"""Tells the value that made a trial a finalist from those of its repeats."""
_MOST_NAMED = 3


def may_be_chance(interval: Sequence[float]) -> bool:
    """Whether the interval of a difference reaches zero."""
    low, high = interval
    return low <= 0 <= high


def over_words(difference: float, direction: str, other: str = "the default") -> str:
    """How far a value lies above another, and that less is better where it is.

    Example: `+0.1000 over the default`, `-0.1000 against the default (less is better)`.
    """
    less = less_words(direction)
    number = f"{difference:+z.4f}"
    return f"{number} against {other} ({less})" if less else f"{number} over {other}"


def less_words(direction: str) -> str:
    """What stands with the difference of two values of which the lower is better; else empty."""
    return "less is better" if Direction(direction) is Direction.MINIMIZE else ""


def trial_name(number: int, default: int | None) -> str:
    """A trial in a sentence; the one of the default configuration is named as such."""
    return "the default" if number == default else f"trial {number}"


def tie_words(names: Sequence[str]) -> str:
    """Say with whom the winner is tied; many are not named one by one."""
    more = len(names) - _MOST_NAMED
    if more > 1:
        names = [*names[:_MOST_NAMED], f"{more} more"]
    *others, last = names
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"a tie with {listed}: the difference may be chance"
