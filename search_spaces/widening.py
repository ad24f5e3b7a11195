"""Locates values within a range, and computes the range widened at one end."""

from __future__ import annotations

from typing import Any, Literal

from search_spaces.domains.number import Number
from search_spaces.parameter import Parameter
from search_spaces.ranges import clamped
from search_spaces.rule import Scale
from search_spaces.schema import is_number

End = Literal["low", "high"]

_FURTHER = 0.5
"""How much wider, in the scale of the range, a widened one is."""
_LEAST_ROOM = 0.05
"""Less than this part of the range beyond an end is nothing to look for."""


def place_in_range(parameter: Parameter, value: Any) -> float | None:
    """Return where a value lies in its range: 0 at the low end, 1 at the high one, in its scale.

    None for what is no plain number: options, lists, numbers that others bound, reflected scales.
    """
    domain = parameter.domain
    if not isinstance(domain, Number) or domain.relations or domain.scale is Scale.REFLECTED:
        return None
    if not is_number(value):  # an option of before the space was changed
        return None
    inside = min(max(float(value), domain.low), domain.high)
    low, high, place = map(domain.scale.forward, (domain.low, domain.high, inside))
    return (place - low) / (high - low) if high > low else None


def widened(parameter: Parameter, end: End) -> tuple[float, float] | None:
    """Return the range that goes on beyond an end by half its width, as far as the schema allows.

    Example: `log 1e-4 .. 1e-2` becomes 1e-5 .. 1e-2 at its low end, 1e-4 .. 1e-1 at its high one.

    Returns:
        None where the schema ends there, or for what `place_in_range` does not know.
    """
    domain = parameter.domain
    if place_in_range(parameter, parameter.default) is None or not isinstance(domain, Number):
        return None
    scale = domain.scale
    width = scale.forward(domain.high) - scale.forward(domain.low)
    edge, sign = (domain.low, -1) if end == "low" else (domain.high, 1)
    asked = scale.inverse(scale.forward(edge) + sign * _FURTHER * width)
    new = clamped(parameter.bounds, float(round(asked) if domain.is_int else asked))
    if sign * (scale.forward(new) - scale.forward(edge)) <= _LEAST_ROOM * width:
        return None
    return (new, domain.high) if end == "low" else (domain.low, new)


def is_log(parameter: Parameter) -> bool:
    """Whether a range is searched evenly in the logarithm."""
    return isinstance(parameter.domain, Number) and parameter.domain.scale is Scale.LOG
