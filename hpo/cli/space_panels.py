"""Data for the plot of a search space: one panel per number, measured on samples."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces import Parameter, SearchSpace

NUM_SAMPLES = 2400
NUM_BINS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One small chart: shares over equal stretches of the searched scale, or per option."""

    title: str
    subtitle: str
    shares: tuple[float, ...]
    labels: tuple[str, ...] = ()
    """One per share when these are options; empty for numbers."""
    marks: tuple[tuple[float, str], ...] = ()
    """(position in 0..1, label) along the axis of numbers."""
    default: float | None
    """Position of the default in 0..1; for options the index."""


def make_panels(space: SearchSpace, seed: int = 0) -> list[Panel]:
    """Draw from the space and return one panel per parameter, or per element of a list."""
    rng = random.Random(seed)
    samples = [space.decode(latents) for latents in space.design(NUM_SAMPLES, rng)]
    first = space.default()
    panels: list[Panel] = []
    for parameter in space.parameters:
        drawn = [sample[parameter.name] for sample in samples if parameter.name in sample]
        share = len(drawn) / NUM_SAMPLES
        note = "" if share == 1 else f"active in {share:.0%} of draws"
        default = first.get(parameter.name, parameter.default)
        panels += _panels(parameter, drawn, default, note)
    return panels


def _panels(parameter: Parameter, drawn: list[Any], default: Any, note: str) -> Iterator[Panel]:
    distribution = parameter.distribution
    kind = distribution["type"]
    if kind in ("int", "float"):
        yield _numbers(parameter.name, distribution, drawn, default, note)
    elif kind == "equal_list":
        sides = [value[0] for value in drawn]
        yield _numbers(parameter.name, distribution["element"], sides, default[0], note)
    elif kind in ("increasing_list", "vector", "run"):
        parts = distribution.get("elements") or distribution["ends"]
        picks = (0, -1) if kind == "run" else range(len(parts))
        for label, pick in enumerate(picks):
            values = [value[pick] for value in drawn]
            title = f"{parameter.name}[{label}]"
            yield _numbers(title, parts[label], values, default[pick], note)
    elif kind == "subset":
        shares = [sum(o in value for value in drawn) / len(drawn) for o in distribution["options"]]
        yield _options(parameter.name, distribution["options"], shares, None, note)
    elif kind == "derived":
        ends = {"low": min(drawn), "high": max(drawn), "scale": "linear"}
        yield _numbers(parameter.name, ends, drawn, default, note or distribution["formula"])
    else:
        names = distribution["options"] if kind != "all_or_none" else ["none", "all"]
        index = _index(kind, names)
        counts = [0] * len(names)
        for value in drawn:
            counts[index(value)] += 1
        shares = [count / len(drawn) for count in counts]
        yield _options(parameter.name, names, shares, index(default), note)


def _index(kind: str, names: Sequence[Any]) -> Callable[[Any], int]:
    if kind == "all_or_none":
        return lambda value: int(value is not None)
    return lambda value: next(
        (i for i, name in enumerate(names) if name == value and type(name) is type(value)), 0
    )


def _options(
    title: str, names: Sequence[Any], shares: Sequence[float], default: int | None, note: str
) -> Panel:
    return Panel(
        title=title,
        subtitle=note or f"{len(names)} options",
        shares=tuple(shares),
        labels=tuple(map(str, names)),
        default=default,
    )


def _numbers(
    title: str, distribution: Mapping[str, Any], drawn: list[Any], default: Any, note: str
) -> Panel:
    forward, inverse = _scale(distribution)
    # A whole number owns half a step to both sides, and is spread over it for an honest picture.
    is_whole = all(isinstance(value, int) for value in drawn)
    half = distribution.get("step", 1) / 2 if is_whole else 0.0
    start, stop = forward(distribution["low"] - half), forward(distribution["high"] + half)
    width = (stop - start) or 1.0
    counts = [0] * NUM_BINS
    for rank, value in enumerate(drawn):
        left, right = forward(value - half), forward(value + half)
        place = (left + (right - left) * ((rank * 0.618034) % 1) - start) / width
        counts[min(max(int(place * NUM_BINS), 0), NUM_BINS - 1)] += 1
    ends = (distribution["low"], distribution["high"])
    marks = tuple(
        (u, _label(min(max(inverse(start + u * width), ends[0]), ends[1]), half)) for u in _MARKS
    )
    subtitle = _SCALES[distribution["scale"]]
    return Panel(
        title=title,
        subtitle=f"{subtitle}, {note}" if note else subtitle,
        shares=tuple(count / max(len(drawn), 1) for count in counts),
        marks=marks,
        default=min(max((forward(default) - start) / width, 0.0), 1.0)
        if isinstance(default, int | float)
        else None,
    )


_MARKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SCALES = {"log": "log", "linear": "linear", "reflected_log": "log of the distance to the end"}


def _label(value: float, half: float) -> str:
    return f"{value:.0f}" if half and value >= 10 else f"{value:.3g}"


def _scale(
    distribution: Mapping[str, Any],
) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return the way into the searched scale and back."""
    if distribution["scale"] == "log":
        return math.log, math.exp
    if distribution["scale"] == "reflected_log":
        pivot = distribution["pivot"]
        return lambda x: -math.log(pivot - x), lambda t: pivot - math.exp(-t)
    return float, float
