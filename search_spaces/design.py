"""Draws a stratified first set of points: one per stratum of every dimension.

Independent draws leave gaps: an option with a weight of 5 % is missing from 60 % of all starts of
ten points, and a sampler that learns may never come to try it. Here every option occurs once the
set is large enough, otherwise in the shares of the weights, and every number is spread over its
range (Latin hypercube sampling: McKay, Beckman, Conover 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from search_spaces.dimensions import Dimension
from search_spaces.domains.options import Options
from search_spaces.parameter import Parameter

if TYPE_CHECKING:
    import random


class Walkable(Protocol):
    """What a design needs of a space."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Everything that varies."""

    def active_dimensions(self, latents: dict[str, Any]) -> Any:
        """Walk the active dimensions."""


def spread_points(space: Walkable, count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Return the latents of `count` points that cover a space together.

    Args:
        space: a search space.
        count: how many points.
        rng: decides which strata meet in a point, and where in its stratum a point lies.
    """
    columns: dict[str, list[Any]] = {}
    for parameter in space.parameters:
        for dimension in parameter.dimensions:
            columns[dimension.name] = _column(parameter, dimension, count, rng)
            rng.shuffle(columns[dimension.name])
    points: list[dict[str, Any]] = []
    for row in range(count):
        latents: dict[str, Any] = {}
        for dimension in space.active_dimensions(latents):
            latents[dimension.name] = columns[dimension.name][row]
        points.append(latents)
    return points


def _column(
    parameter: Parameter, dimension: Dimension, count: int, rng: random.Random
) -> list[Any]:
    if isinstance(parameter.domain, Options):
        column: list[Any] = []
        counts = apportion(parameter.domain.shares, count)
        for labels, times in zip(parameter.domain.labels_by_option, counts, strict=True):
            column += [rng.choice(labels) for _ in range(times)]
        return column
    return [dimension.from_unit((stratum + rng.random()) / count) for stratum in range(count)]


def apportion(shares: Sequence[float], count: int) -> list[int]:
    """Divide `count` whole things by shares that sum to 1; each gets one where that is possible.

    Largest remainders; ties go to the earlier share.
    """
    least = 1 if count >= len(shares) else 0
    found = [max(least, int(share * count)) for share in shares]
    order = range(len(shares))
    while sum(found) < count:
        found[max(order, key=lambda k: shares[k] * count - found[k])] += 1
    while sum(found) > count:
        able = [k for k in order if found[k] > least]
        found[max(able, key=lambda k: found[k] - shares[k] * count)] -= 1
    return found
