"""Finds parameters whose best trials lie within 2 % of a bound that could be widened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.core.selection import leading, ranked
from hpo.core.trial import TrialRecord

if TYPE_CHECKING:
    from search_spaces import Parameter, SearchSpace
    from search_spaces.widening import End

LOOKED_AT, LEAST = 5, 3
"""How many of the best trials that were trained longest are looked at, and the least that there
must be."""
_NEAR = 0.02
"""Values within this part of the range from a bound count as being at the edge: of five trials
drawn at random, three do at one bound by a chance of one in twelve thousand."""
SHARE = 0.6
"""The part of those trials, the best one among them, that must lie there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A parameter whose best values lie at an end of its range."""

    name: str
    end: End
    at: float
    """That end."""
    wider: tuple[float, float]
    """A range that goes further."""
    is_log: bool

    def __str__(self) -> str:
        """Say it in a line, with what to do."""
        (low, high), scale = self.wider, ",log" if self.is_log else ""
        return (
            f"{self.name}: the best trials lie at the {self.end} end of its range ({self.at:.4g}); "
            f"to look further: --range {self.name}={_least(low)}..{_most(high)}{scale}"
        )


def _least(low: float) -> str:
    """The low end in few digits, rounded up at most, as the schema may end there."""
    return text if float(text := f"{low:.4g}") >= low and not _is_whole(low) else _in_full(low)


def _most(high: float) -> str:
    return text if float(text := f"{high:.4g}") <= high and not _is_whole(high) else _in_full(high)


def _is_whole(value: float) -> bool:
    return float(value).is_integer() and abs(value) < 1e15


def _in_full(value: float) -> str:
    return str(int(value)) if _is_whole(value) else repr(float(value))


def find_edges(space: SearchSpace, trials: Iterable[TrialRecord], direction: str) -> list[Edge]:
    """Return the parameters whose range cuts off the best trials, where the schema allows more."""
    from search_spaces.widening import is_log, widened

    order = ranked([t for t in trials if not t.is_repeat], direction)
    best = leading(order)[:LOOKED_AT]
    found = []
    for parameter in space.parameters:
        values = [t.params[parameter.name] for t in best if parameter.name in t.params]
        end = _end_of(parameter, values)
        wider = None if end is None else widened(parameter, end)
        if end is not None and wider is not None:
            found.append(
                Edge(
                    name=parameter.name,
                    end=end,
                    at=parameter.distribution[end],
                    wider=wider,
                    is_log=is_log(parameter),
                )
            )
    return found


def _end_of(parameter: Parameter, values: list[Any]) -> End | None:
    """The end at which the best values lie, the very best one among them."""
    from search_spaces.widening import place_in_range

    places = [place for v in values if (place := place_in_range(parameter, v)) is not None]
    if len(places) < LEAST:
        return None
    ends: tuple[tuple[End, list[bool]], ...] = (
        ("low", [place <= _NEAR for place in places]),
        ("high", [place >= 1 - _NEAR for place in places]),
    )
    for end, near in ends:
        if near[0] and sum(near) >= SHARE * len(near):
            return end
    return None
