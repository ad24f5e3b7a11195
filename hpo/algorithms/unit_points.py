"""Maps points of the unit cube to latents of the search space, and back."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hpo.core.seeds import derive_seed
from hpo.core.trial import Suggestion

if TYPE_CHECKING:
    from hpo.algorithms.chooser import Observation
    from search_spaces import SearchSpace

IDLE = 0.5
"""Coordinate of a dimension that is inactive."""


class Drawn(Protocol):
    """What knows a configuration."""

    @property
    def params(self) -> Mapping[str, Any]:
        """In spec units, by dotted name."""

    @property
    def latents(self) -> Mapping[str, Any]:
        """As the sampler saw it."""


def latents_at(space: SearchSpace, point: Iterable[float]) -> dict[str, Any]:
    """Return the latents of the active dimensions at a point, one coordinate per dimension."""
    position = {d.name: u for d, u in zip(space.dimensions, point, strict=True)}
    latents: dict[str, Any] = {}
    for dimension in space.active_dimensions(latents):
        latents[dimension.name] = dimension.from_unit(float(position[dimension.name]))
    return latents


def point_of(space: SearchSpace, latents: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the point of the unit cube that latents stand for."""
    return tuple(
        d.to_unit(latents[d.name]) if d.name in latents else IDLE for d in space.dimensions
    )


def suggest(
    space: SearchSpace,
    number: int,
    latents: dict[str, Any],
    until_epoch: int,
    start_from: tuple[int, int] | None,
) -> Suggestion:
    """Return the configuration of latents as a trial's suggestion."""
    return Suggestion(
        number=number,
        params=space.decode(latents),
        latents=latents,
        until_epoch=until_epoch,
        start_from=start_from,
    )


def again(
    number: int, source: Drawn, until_epoch: int, start_from: tuple[int, int] | None
) -> Suggestion:
    """Return a configuration that was tried as another trial's suggestion.

    It is taken as it was recorded: what goes on from a checkpoint may lie outside a space that was
    changed since.
    """
    return Suggestion(
        number=number,
        params=dict(source.params),
        latents=dict(source.latents),
        until_epoch=until_epoch,
        start_from=start_from,
    )


def default_latents(space: SearchSpace) -> dict[str, Any]:
    """Return the latents of the default configuration."""
    return dict(space.encode(space.default()))


def first_points(
    space: SearchSpace,
    count: int,
    seed: int,
    first: Sequence[Mapping[str, Any]],
    *,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return latents to begin with: the default, those given, and a design for the rest of `count`.

    In a short search the early ones are designed within narrower ranges (`SearchSpace.for_trial`).

    Args:
        space: what is searched.
        count: points of the design, whose first places the default and those given take.
        seed: the study's.
        first: those given.
        offset: number of the first one's trial.
    """
    taken = [default_latents(space), *map(dict, first)]
    early = max(0, space.early_trials - offset - len(taken))

    def designed(within: SearchSpace) -> list[dict[str, Any]]:
        rng = random.Random(derive_seed(seed, "design"))
        return within.design(count, rng, taken=taken)

    return [*taken, *designed(space.for_trial(0))[:early], *designed(space)[early:]]


def is_new(latents: Mapping[str, Any], seen: Sequence[Observation]) -> bool:
    """Whether no trial had this configuration."""
    return all(dict(latents) != dict(o.latents) for o in seen)


def is_twin(params: Mapping[str, Any], seen: Iterable[Drawn]) -> bool:
    """Whether a trial had these parameters, by whatever latents."""
    return any(dict(params) == dict(o.params) for o in seen)


def find_untried(space: SearchSpace, seen: Sequence[Drawn], seed: int) -> dict[str, Any] | None:
    """Return latents of a configuration that no trial had; None of a continuous space, too."""
    points = space.points(random.Random(seed))
    return next((p for p in points if not is_twin(space.decode(p), seen)), None)
