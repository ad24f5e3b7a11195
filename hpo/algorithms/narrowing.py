"""Narrower ranges within a search space, as a language model asks for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hpo.algorithms.chooser import Limits
from hpo.algorithms.gaussian_process import Array
from search_spaces import Choice, Dimension, Integer, Real, SearchSpace


def narrowed(space: SearchSpace, limits: Limits) -> SearchSpace:
    """Return the space with some dimensions cut to limits; latents mean the same in both.

    Where limits lie beyond a range, or between two of its whole numbers, the nearest value is left.
    """
    parameters = (
        replace(parameter, dimensions=tuple(_cut(own, limits) for own in parameter.dimensions))
        for parameter in space.parameters
    )
    return replace(space, parameters=tuple(parameters))


def inside(space: SearchSpace, latents: Mapping[str, Any]) -> dict[str, Any]:
    """Return the latents that lie in the ranges of a narrower space than theirs."""
    ends = {d.name: (d.low, d.high) for d in space.dimensions if not isinstance(d, Choice)}
    return {
        name: value
        for name, value in latents.items()
        if name not in ends or ends[name][0] <= value <= ends[name][1]
    }


def box_of(space: SearchSpace, limits: Limits) -> tuple[Array, Array]:
    """Return the lowest and the highest point of the unit cube within limits."""
    cut = narrowed(space, limits).dimensions
    ends = [
        (own.to_unit(new.low), own.to_unit(new.high))
        if new.name in limits and not isinstance(new, Choice)
        else (0.0, 1.0)
        for own, new in zip(space.dimensions, cut, strict=True)
    ]
    low_D, high_D = np.array(ends).reshape(-1, 2).T
    return low_D, high_D


def _cut(dimension: Dimension, limits: Limits) -> Dimension:
    if dimension.name not in limits or isinstance(dimension, Choice):
        return dimension
    low, high = (min(max(end, dimension.low), dimension.high) for end in limits[dimension.name])
    if isinstance(dimension, Real):
        return replace(dimension, low=low, high=high)
    return _cut_whole(dimension, low, high)


def _cut_whole(dimension: Integer, low: float, high: float) -> Integer:
    first, last = (
        math.ceil((low - dimension.low) / dimension.step),
        math.floor((high - dimension.low) / dimension.step),
    )
    if first > last:
        first = last = round(((low + high) / 2 - dimension.low) / dimension.step)
    start, step = dimension.low, dimension.step
    return replace(dimension, low=start + first * step, high=start + last * step)
