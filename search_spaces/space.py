"""The compiled search space: draws, checks and maps points."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from search_spaces.design import cover, draw_column
from search_spaces.dimensions import Choice, Dimension, Integer, Real
from search_spaces.domains.number import Number
from search_spaces.domains.options import Options, Ordinal
from search_spaces.errors import PointError, nearest
from search_spaces.parameter import Parameter, Pinned

if TYPE_CHECKING:
    import random


MOST_VALUES = 1000
"""A number with more values is as good as continuous."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """A space of train specs.

    `parameters` are in an order in which every parent comes before its children: parameters that
    bound others, then those that decide whether others are active, otherwise the schema's order.
    """

    parameters: tuple[Parameter, ...]
    pinned: tuple[Pinned, ...] = ()
    warnings: tuple[str, ...] = ()
    early_trials: int = 0
    """How many trials, from number 0, are drawn from narrower ranges (see `for_trial`)."""
    without_effect: Mapping[str, str] = field(default_factory=dict)
    """What is not at the schema's default and does nothing in any trial: name -> why."""

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Everything a sampler draws, in order; conditional ones carry their condition."""
        return tuple(
            dimension for parameter in self.parameters for dimension in parameter.dimensions
        )

    @cached_property
    def digest(self) -> str:
        """A hash of all that shapes a draw: the same in every process, another after any change."""
        import hashlib

        shown = self.to_json()
        for parameter in shown["parameters"]:
            del parameter["why"]
        facts = [shown["parameters"], shown["pinned"], self.early_trials]
        text = json.dumps(facts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def default(self) -> dict[str, Any]:
        """Return the first trial's values: the spec's own, moved inside the space."""
        walk = _Walk(self)
        for parameter in walk.active():
            walk.take(parameter, parameter.domain.clamp(parameter.default, walk.context))
        return walk.values

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """Draw values evenly over the unit cube, one number of `rng` per active dimension."""
        latents: dict[str, Any] = {}
        for dimension in self.active_dimensions(latents):
            latents[dimension.name] = dimension.from_unit(rng.random())
        return self.decode(latents)

    def design(
        self, count: int, rng: random.Random, *, taken: Sequence[Mapping[str, Any]] = ()
    ) -> list[dict[str, Any]]:
        """Return latents of `count` points that cover the space, for a search to begin with.

        Every option occurs once `count` allows it, weighted ones in their shares, and every number
        is spread over its range (see `search_spaces.design`).

        Args:
            count: of the points.
            rng: draws them.
            taken: other points that take the places of the first ones, which are not returned; an
                option that is then in none is put in place of one that occurs twice.
        """
        columns: dict[str, list[Any]] = {}
        for parameter in self.parameters:
            for dimension in parameter.dimensions:
                column = draw_column(parameter, dimension, count, rng)
                rng.shuffle(column)
                columns[dimension.name] = rest = column[len(taken) :]
                if taken and isinstance(parameter.domain, Options):
                    own = [p[dimension.name] for p in taken if dimension.name in p]
                    cover(parameter.domain.labels_by_option, own, rest)
        points: list[dict[str, Any]] = [{} for _ in range(count - len(taken))]
        for row, latents in enumerate(points):
            for dimension in self.active_dimensions(latents):
                latents[dimension.name] = columns[dimension.name][row]
        return points

    def points(self, rng: random.Random) -> Iterator[dict[str, Any]]:
        """Yield latents of every configuration in a random order; nothing where they are too many.

        They are with a dimension that is continuous, or has more than `MOST_VALUES`. An option with
        several slots is taken by one of them.
        """
        values = {d.name: _values_of(p, d) for p in self.parameters for d in p.dimensions}
        if all(0 < len(some) <= MOST_VALUES for some in values.values()):
            yield from _completions(self, {}, values, rng)

    def for_trial(self, number: int) -> SearchSpace:
        """Return the space to draw a trial from: a narrower one early in a short search (R9).

        Both have the same parameters and dimension names and the same meaning of every latent; only
        the ends of some dimensions differ, so points of the narrower are points of the wider.
        """
        if number >= self.early_trials:
            return self
        return replace(self, parameters=tuple(map(_early, self.parameters)), early_trials=0)

    def active_dimensions(self, latents: Mapping[str, Any]) -> Iterator[Dimension]:
        """Yield the active dimensions in order.

        The caller puts the latent of each dimension into `latents` before taking the next::

            latents = {}
            for dimension in space.active_dimensions(latents):
                latents[dimension.name] = dimension.from_unit(rng.random())
            values = space.decode(latents)

        Raises:
            PointError: when a latent is missing at the time it is needed.
        """
        walk = _Walk(self)
        for parameter in walk.active():
            yield from parameter.dimensions
            walk.take(parameter, _decoded(parameter, latents, walk.context))

    def decode(self, latents: Mapping[str, Any]) -> dict[str, Any]:
        """Turn latents into spec values by dotted name; inactive parameters are left out.

        Raises:
            PointError: when the latent of an active dimension is missing.
        """
        walk = _Walk(self)
        for parameter in walk.active():
            walk.take(parameter, _decoded(parameter, latents, walk.context))
        return walk.values

    def encode(
        self, values: Mapping[str, Any], *, latents: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Turn spec values into latents: what a model of the search is fitted on.

        Args:
            values: by dotted name; a number outside its range is moved to the nearest end, names of
                inactive parameters are passed over.
            latents: what was drawn; a latent that already stands for the value is kept, so that
                repeated slots of a weighted option stay apart.

        Raises:
            PointError: when an active parameter is missing or an option is unknown.
        """
        found: dict[str, Any] = {}
        walk = _Walk(self)
        for parameter in walk.active():
            if parameter.name not in values:
                raise PointError([f"{parameter.name}: has no value, but is active here"])
            value = values[parameter.name]
            found.update(_encoded(parameter, value, walk.context, latents or {}))
            walk.take(parameter, parameter.domain.clamp(value, walk.context))
        return found

    def refit(
        self, values: Mapping[str, Any], latents: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """Return the latents of a point that may have been drawn before the space was changed.

        Those that still stand for the values are returned as they are. Otherwise every value is
        encoded anew: one that is no longer possible has no latent, and a parameter that was not
        searched then is at its default.

        Args:
            values: of the point, by dotted name.
            latents: what was drawn.

        Returns:
            The latents, and whether the point lies in the space.
        """
        with contextlib.suppress(ArithmeticError, LookupError, TypeError, ValueError):
            if _are_same(self.decode(latents), values):
                names = {dimension.name for dimension in self.dimensions}
                return {name: latents[name] for name in latents if name in names}, True
        found: dict[str, Any] = {}
        is_inside, walk = True, _Walk(self)
        for parameter in walk.active():
            default = parameter.domain.clamp(parameter.default, walk.context)
            own = {parameter.name: values.get(parameter.name, default)}
            if _problems(parameter, own, walk.context):
                own, is_inside = {parameter.name: default}, False
            else:
                found.update(_encoded(parameter, own[parameter.name], walk.context, {}))
            walk.take(parameter, own[parameter.name])
        return found, is_inside

    def completed(self, latents: Mapping[str, Any]) -> dict[str, Any]:
        """Return latents with the middle of every active dimension that they lack."""
        found = dict(latents)
        for dimension in self.active_dimensions(found):
            found.setdefault(dimension.name, dimension.from_unit(0.5))
        return found

    def validate(self, values: Mapping[str, Any]) -> None:
        """Check values by dotted name; pinned names may be present with their value.

        Raises:
            PointError: naming every parameter that is unknown, missing, set though inactive, or
                illegal.
        """
        problems = [
            f"{pin.name}: is pinned to {pin.value!r} ({pin.reason}), got {values[pin.name]!r}"
            for pin in self.pinned
            if pin.name in values and values[pin.name] != pin.value
        ]
        names = {parameter.name for parameter in self.parameters}
        for name in sorted(set(values) - names - {pin.name for pin in self.pinned}):
            problems.append(f"{name}: is not searched{nearest(name, sorted(names))}")
        walk = _Walk(self)
        idle = {parameter.name: parameter for parameter in self.parameters}
        for parameter in walk.active():
            del idle[parameter.name]
            problems += _problems(parameter, values, walk.context)
            walk.take(parameter, values.get(parameter.name, parameter.default))
        problems += [
            f"{name}: is set though inactive here: {parameter.condition_text}"
            for name, parameter in idle.items()
            if name in values
        ]
        if problems:
            raise PointError(problems)

    def idle(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what parameters that do nothing beside these values are taken to be, by name.

        Others are measured by these values, so a spec that holds them is legal as a whole.
        """
        walk = _Walk(self)
        for parameter in walk.active():
            walk.take(parameter, values.get(parameter.name, parameter.default))
        names = (parameter.name for parameter in self.parameters)
        return {name: walk.context[name] for name in names if name not in walk.values}

    def to_unit(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the point of the unit cube, one coordinate per dimension; 0.5 where inactive."""
        latents = self.encode(values)
        return tuple(
            dimension.to_unit(latents[dimension.name]) if dimension.name in latents else 0.5
            for dimension in self.dimensions
        )

    def from_unit(self, unit: Sequence[float]) -> dict[str, Any]:
        """Return the values at a point of the unit cube, one coordinate per dimension."""
        if len(unit) != len(self.dimensions):
            num = len(self.dimensions)
            raise PointError(
                [f"a point needs {num} coordinates, one per dimension, got {len(unit)}"]
            )
        pairs = zip(self.dimensions, unit, strict=True)
        return self.decode({dimension.name: dimension.from_unit(u) for dimension, u in pairs})

    def to_json(self) -> dict[str, Any]:
        """Return the space as `hpo space --json` shows it."""
        return {
            "parameters": [parameter.to_json() for parameter in self.parameters],
            "pinned": [
                {"name": pin.name, "value": pin.value, "reason": pin.reason} for pin in self.pinned
            ],
            "warnings": list(self.warnings),
        }


class _Walk:
    """One pass over a space, parents first: the values so far and what others are measured by."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self.values: dict[str, Any] = {}
        self.context: dict[str, Any] = {}
        """The values, those of parents that are not searched, and the defaults of inactive ones."""

    def active(self) -> Iterator[Parameter]:
        """Yield active parameters; the caller takes a value for each before the next."""
        for parameter in self._space.parameters:
            self.context.update(parameter.constants)
            if parameter.condition is None or parameter.condition(self.context):
                yield parameter
            else:
                value = parameter.domain.clamp(parameter.default, self.context)
                self.context[parameter.name] = value

    def take(self, parameter: Parameter, value: Any) -> None:
        """Go on with a value."""
        self.values[parameter.name] = self.context[parameter.name] = value


def _values_of(parameter: Parameter, dimension: Dimension) -> Sequence[Any]:
    """Latents of a dimension of which each means something else; none where it is continuous."""
    domain = parameter.domain
    if isinstance(domain, Options | Ordinal) and not isinstance(dimension, Real):
        return [domain.encode(option, {})[0] for option in domain.options]
    if isinstance(dimension, Integer):
        return range(dimension.low, dimension.high + 1, dimension.step)
    return dimension.choices if isinstance(dimension, Choice) else ()


def _completions(
    space: SearchSpace,
    begun: Mapping[str, Any],
    values: Mapping[str, Sequence[Any]],
    rng: random.Random,
) -> Iterator[dict[str, Any]]:
    """Yield all points that begin with some latents."""
    latents = dict(begun)
    for dimension in space.active_dimensions(latents):
        if dimension.name not in latents:
            own = values[dimension.name]
            for value in rng.sample(own, len(own)):
                yield from _completions(space, {**latents, dimension.name: value}, values, rng)
            return
    yield latents


def _decoded(parameter: Parameter, latents: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
    drawn = []
    for dimension in parameter.dimensions:
        if dimension.name not in latents:
            text = f"has no latent, but {parameter.name} is active here"
            raise PointError([f"{dimension.name}: {text}"])
        drawn.append(latents[dimension.name])
    return parameter.domain.decode(drawn, context)


def _encoded(
    parameter: Parameter, value: Any, context: Mapping[str, Any], drawn: Mapping[str, Any]
) -> dict[str, Any]:
    names = [dimension.name for dimension in parameter.dimensions]
    kept = [drawn[name] for name in names if name in drawn]
    if len(kept) != len(names) or parameter.domain.decode(kept, context) != value:
        kept = list(parameter.domain.encode(value, context))
    return dict(zip(names, kept, strict=True))


def _are_same(decoded: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Whether recorded values are those that were decoded; a record is JSON, without tuples."""
    return all(
        name in recorded and (value == recorded[name] or _to_plain(value) == recorded[name])
        for name, value in decoded.items()
    )


def _to_plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _problems(
    parameter: Parameter, values: Mapping[str, Any], context: Mapping[str, Any]
) -> list[str]:
    name = parameter.name
    if name not in values:
        return [f"{name}: has no value, but is active here"]
    try:
        problem = parameter.domain.problem(values[name], context)
    except PointError as error:
        problem = str(error)
    return [f"{name}: {problem}"] if problem else []


def _early(parameter: Parameter) -> Parameter:
    if not isinstance(parameter.domain, Number):
        return parameter
    shapes = parameter.domain.early_dimensions(parameter.name)
    return replace(
        parameter,
        dimensions=tuple(replace(shape, condition=parameter.condition) for shape in shapes),
    )
