"""Specs as dictionaries: nested and dotted keys, merging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.config.tree import keys
from trainer.errors import SpecError


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Turn nested mappings into dotted keys; keys may be dotted already, also inside a section.

    An empty mapping stays as a value. A list of one mapping under `dataset.val_dataset` is taken
    as if the mapping stood there alone.

    Raises:
        SpecError: when a key is no name, or is given twice with different values.
    """
    flat: dict[str, Any] = {}
    for path, value in _items(nested, ""):
        if path in flat and flat[path] != value:
            raise SpecError(f"{path}: is given twice, as {flat[path]!r} and {value!r}")
        flat[path] = value
    return flat


def _items(nested: Mapping[Any, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in nested.items():
        if not isinstance(name, str):
            raise SpecError(f"{prefix}{name}: keys must be names, got {name!r}; put it in quotes")
        path = f"{prefix}{name}"
        children = _children(path, value)
        if children:
            found += _items(children, f"{path}.")
        else:
            found.append((path, value))
    return found


def _children(path: str, value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    key = keys().get(path)
    is_open = key is not None and key.info.kind == "sources"
    if is_open and isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
        return value[0]
    return None


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into nested dictionaries.

    Raises:
        SpecError: when one key is both a value and a section.
    """
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        place = nested
        for name in parents:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise SpecError(f"{path}: {name} is a value, so nothing can be set below it")
        if isinstance(place.get(leaf), dict) and place[leaf]:
            raise SpecError(f"{path}: is a section, so it cannot be set to {value!r}")
        place[leaf] = value
    return nested


def overlay(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dotted union of specs in nested or dotted form; later layers win."""
    result: dict[str, Any] = {}
    for layer in layers:
        result |= flatten(layer)
    return result
