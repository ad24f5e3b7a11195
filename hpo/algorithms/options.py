"""Declares an algorithm's options (type, default, limits) and reads the given values.

Every name may also be written with the prefix `automl_`, as the AutoML route does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpo.core.errors import SpecError
from hpo.core.text import nearest, quoted
from hpo.core.yaml_io import parse_yaml, read_yaml

PREFIX = "automl_"
_LIKE_DEFAULT: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of an algorithm.

    Example: `Option(name="reduction_factor", default=3, low=2, help="...")` is met by
    `reduction_factor=4` and by `automl_reduction_factor="4"`, and refuses 1 and 2.5.
    """

    name: str
    help: str
    kind: type = int
    default: Any = None
    """None where what is not given depends on the study."""
    aliases: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    route_default: Any = _LIKE_DEFAULT
    """What the AutoML route takes where nothing is given; `hpo search` takes `default`."""
    instead: str = ""
    """What `hpo search` has in its place, where the option says nothing to it."""
    env: tuple[str, ...] = ()
    """Environment variables that are read, in this order, where nothing is given."""
    is_secret: bool = False
    """Whether the value may stand in no file; it is then read from the environment or an API."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every spelling that is understood."""
        own = (self.name, *self.aliases)
        return own + tuple(f"{PREFIX}{name}" for name in own)

    def default_for(self, *, route: bool) -> Any:
        """The value where nothing is given and no environment variable is set."""
        return self.default if not route or self.route_default is _LIKE_DEFAULT else (
            self.route_default
        )  # fmt: skip

    @property
    def kind_name(self) -> str:
        """The type in the words of messages and tables."""
        return {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(
            self.kind, "mapping"
        )

    def read(self, value: Any, where: str) -> Any:
        """Check a given value and bring it to the option's type; None says that none is given.

        Raises:
            SpecError: when it has another type or lies outside the limits.
        """
        if isinstance(value, str) and self.kind is not str:
            value = parse_yaml(value, where)
        if self.kind is dict and isinstance(value, str):
            value = read_yaml(Path(value))
        if value is None:
            return None
        fits = isinstance(value, self.kind) or (self.kind is float and isinstance(value, int))
        is_mixed_up = isinstance(value, bool) and self.kind is not bool
        got = "a secret value" if self.is_secret else quoted(value)
        if self.is_secret and isinstance(value, str):
            value = value.strip()  # a line break after a key is the file's that it was read from
            if not value.isprintable():  # else it would be spelt out where a request is refused
                raise SpecError(f"{where}: must be printable text, got {got}")
        if not fits or is_mixed_up:
            raise SpecError(f"{where}: must be a {self.kind_name}, got {got}")
        if not self._is_within(value):
            limits = f"at least {self.low:g}" if self.high is None else (
                f"between {self.low:g} and {self.high:g}"
            )  # fmt: skip
            raise SpecError(f"{where}: must be {limits}, got {got}")
        return float(value) if self.kind is float else value

    def _is_within(self, value: Any) -> bool:
        is_high_enough = self.low is None or value >= self.low
        return is_high_enough and (self.high is None or value <= self.high)


def resolve_options(
    algorithm: str,
    known: Sequence[Option],
    given: Mapping[str, Any],
    *,
    route: bool = False,
    where: str = "search.algorithm_options",
) -> dict[str, Any]:
    """Fill in the options of an algorithm: given ones, then the environment, then defaults.

    Args:
        algorithm: its name, for messages.
        known: what it understands.
        given: by any spelling of their names.
        route: whether the AutoML route's defaults apply.
        where: what messages start with.

    Raises:
        SpecError: for an unknown name, an option given twice, or a wrong value.
    """
    by_name = {name: option for option in known for name in option.names}
    found: dict[str, Any] = {}
    for name, value in given.items():
        option = by_name.get(str(name))
        if option is None:
            legal = ", ".join(option.name for option in known) or "none"
            hint = nearest(str(name), by_name)
            raise SpecError(
                f"{where}.{name}: {algorithm} has no such option (it has {legal}){hint}"
            )
        if option.name in found:
            raise SpecError(f"{where}.{name}: {option.name} is given twice; keep one of them")
        found[option.name] = option.read(value, f"{where}.{name}")
    for option in known:
        if found.get(option.name) is None:
            found[option.name] = _unset(option, route=route)
    return found


def without_secrets(known: Sequence[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given options that may be written down."""
    secret = {name for option in known if option.is_secret for name in option.names}
    return {name: value for name, value in given.items() if name not in secret}


def _unset(option: Option, *, route: bool) -> Any:
    for name in option.env:
        if (value := option.read(os.environ.get(name) or None, name)) is not None:
            return value
    return option.default_for(route=route)
