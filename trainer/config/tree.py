"""Lists every key of the spec by its dotted path."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from trainer.config.fields import Holds, KeyInfo, info_of
from trainer.config.root import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the spec: a leaf, or a section with children."""

    path: str
    info: KeyInfo
    default: Any
    """The declared default; None for a section."""
    section: type | None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def parent(self) -> str:
        """The path of the section that holds the key; empty at the top."""
        return self.path.rpartition(".")[0]


@cache
def declared(config: type, prefix: str = "") -> tuple[Key, ...]:
    """Return the keys directly below one config class, in declaration order."""
    return tuple(
        _key(item, f"{prefix}.{item.name}" if prefix else item.name)
        for item in dataclasses.fields(config)
    )


def _key(item: dataclasses.Field[Any], path: str) -> Key:
    is_section = item.default_factory is not dataclasses.MISSING
    return Key(
        path=path,
        info=info_of(item),
        default=None if is_section else item.default,
        section=item.default_factory if is_section else None,  # type: ignore[arg-type]  # a class is its own factory
    )


def _walk(config: type, prefix: str) -> Iterator[Key]:
    for key in declared(config, prefix):
        yield key
        if key.section is not None:
            yield from _walk(key.section, key.path)


@cache
def keys() -> dict[str, Key]:
    """Return every key by path; a section comes before its children."""
    return {key.path: key for key in _walk(Spec, "")}


def keys_that_hold(what: Holds) -> tuple[str, ...]:
    """Return the paths of the keys that are declared to hold files, or weights."""
    return tuple(path for path, key in leaves().items() if key.info.holds == what)


@cache
def leaves() -> dict[str, Key]:
    """Return the keys that hold a value."""
    return {path: key for path, key in keys().items() if key.section is None}
