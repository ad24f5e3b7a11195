"""Specs as dictionaries: dotted and nested keys, lookup, merging."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.text import cut, quoted
from hpo.core.yaml_io import DEEPEST, parse_word

_RELATIVE_TOLERANCE = 1e-6
"""A rate may pass through single precision on its way into an optimizer."""


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into dotted keys; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted (or already nested) keys into nested dictionaries.

    Raises:
        SpecError: when one key is both a value and a section, or has two values.
    """
    nested: dict[str, Any] = {}
    leaves: dict[str, Any] = {}
    for name, value in flat.items():
        tree = _as_tree(str(name), value)
        for leaf, own in flatten(tree).items():
            refuse_two(leaf, leaves.setdefault(leaf, own), own)
        merge_into(nested, tree)
    return nested


def refuse_two(name: str, first: Any, second: Any) -> None:
    """Raise where one key has two values, of which one would be dropped.

    Raises:
        SpecError: they differ.
    """
    is_same = first == second and isinstance(first, bool) == isinstance(second, bool)
    if not is_same and not (first != first and second != second):  # noqa: PLR0124 - NaN
        raise SpecError(
            f"{name}: is given twice, as {quoted(first)} and {quoted(second)}; leave one out"
        )


def _as_tree(name: str, value: Any) -> dict[str, Any]:
    parts = name.split(".")
    if len(parts) > DEEPEST:
        raise SpecError(f"{cut(name)}: must have at most {DEEPEST} parts, got {len(parts)}")
    value = nest(value) if isinstance(value, Mapping) else plain(value)
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def plain(value: Any) -> Any:
    """Return a value as a file holds it: lists, paths as text, NumPy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item) for item in value]
    if type(value).__module__ == "numpy":
        return value.tolist()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def merge_into(base: dict[str, Any], extra: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Merge nested `extra` into nested `base` (which is changed and returned); `extra` wins."""
    for key, value in extra.items():
        where = f"{path}{key}"
        old = base.get(key)
        if isinstance(value, Mapping):
            if old is not None and not isinstance(old, dict):
                raise SpecError(
                    f"{where}: is a value ({quoted(old)}), so nothing can be set below it"
                )
            base[key] = merge_into(dict(old or {}), value, f"{where}.")
        elif isinstance(old, dict) and old:
            raise SpecError(
                f"{where}: is a section of keys, so it cannot be set to {quoted(value)}; "
                "set the keys below it"
            )
        else:
            base[key] = value
    return base


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested specs from left to right into a new one."""
    result: dict[str, Any] = {}
    for layer in layers:
        merge_into(result, nest(layer))
    return result


def lookup(nested: Mapping[str, Any], name: str) -> Any:
    """Return the value under a dotted name; KeyError when there is none."""
    value: Any = nested
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise KeyError(name)
        value = value[part]
    return value


def value_at(nested: Mapping[str, Any], name: str) -> Any:
    """Return the value under a dotted name; None when there is none."""
    try:
        return lookup(nested, name)
    except KeyError:
        return None


def parse_assignments(pairs: Iterable[str], flag: str = "--set") -> dict[str, Any]:
    """Read `key=value` words; values are YAML, so numbers, lists and booleans keep their type."""
    assignments: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise SpecError(f"{flag}: key=value must be given, got {pair!r}")
        read = parse_word(value, f"{flag} {key}") if value else value
        if read == {}:
            raise SpecError(f"{flag} {pair}: sets nothing; set the keys below {key.strip()}")
        refuse_two(f"{flag} {key.strip()}", assignments.setdefault(key.strip(), read), read)
    return assignments


def is_same(sent: Any, got: Any) -> bool:
    """Whether two spec values mean the same: single precision is near enough."""
    numbers = (int, float)
    if isinstance(sent, bool) or isinstance(got, bool):
        return bool(sent == got)
    if isinstance(sent, numbers) and isinstance(got, numbers):
        return math.isclose(sent, got, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-12)
    if isinstance(sent, list | tuple) and isinstance(got, list | tuple):
        return len(sent) == len(got) and all(is_same(a, b) for a, b in zip(sent, got, strict=True))
    return bool(sent == got)


def relocated(data: Any, old: str | Path, new: str | Path) -> Any:
    """Copy plain data of a run that was moved, its paths below `old` pointing below `new`."""
    if isinstance(data, str):
        path = rf"(?<![^\s=]){re.escape(str(old))}(?=[/\s]|$)"
        return re.sub(path, lambda _: str(new), data)
    if isinstance(data, dict):
        return {key: relocated(value, old, new) for key, value in data.items()}
    if isinstance(data, list):
        return [relocated(value, old, new) for value in data]
    return data
