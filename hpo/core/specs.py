"""Specs as data: dotted and nested forms, merging, and the nearest name for a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hpo.core.errors import SpecError

_FLOAT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


class _SpecLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe YAML loader that also reads `1e-4` as a number, which YAML 1.1 takes for a string."""


class _SpecDumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """A safe YAML dumper (ten times as fast where C is built) that quotes the text `1e-4`."""


for _side in (_SpecLoader, _SpecDumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def parse_yaml(text: str, where: str) -> Any:
    """Read YAML; `where` starts the message when it cannot be read."""
    try:
        return yaml.load(text, Loader=_SpecLoader)  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise SpecError(f"{where}{line}: is not valid YAML: {problem}") from error
    except (ValueError, RecursionError) as error:  # 2020-13-45 is taken for a date
        raise SpecError(f"{where}: is not valid YAML: {error}") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file; a missing or unreadable one is one clear line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from error
    return parse_yaml(text, str(path))


def to_yaml(data: Any) -> str:
    """Write plain data as YAML in the order it has."""
    return str(yaml.dump(data, Dumper=_SpecDumper, sort_keys=False, width=100))


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
        SpecError: when one key is both a value and a section.
    """
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        merge_into(nested, _as_tree(str(name), value))
    return nested


def _as_tree(name: str, value: Any) -> dict[str, Any]:
    value = nest(value) if isinstance(value, Mapping) else value
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


def merge_into(base: dict[str, Any], extra: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Merge nested `extra` into nested `base` (which is changed and returned); `extra` wins."""
    for key, value in extra.items():
        where = f"{path}{key}"
        old = base.get(key)
        if isinstance(value, Mapping):
            if old is not None and not isinstance(old, dict):
                raise SpecError(f"{where}: is a value ({old!r}), so nothing can be set below it")
            base[key] = merge_into(dict(old or {}), value, f"{where}.")
        elif isinstance(old, dict) and old:
            raise SpecError(f"{where}: is a section, so it cannot be set to {value!r}")
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


def parse_assignments(pairs: Iterable[str], flag: str = "--set") -> dict[str, Any]:
    """Read `key=value` words; values are YAML, so numbers, lists and booleans keep their type."""
    assignments: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise SpecError(f"{flag}: key=value must be given, got {pair!r}")
        assignments[key.strip()] = parse_yaml(value, f"{flag} {key}") if value else ""
    return assignments


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name as ` (did you mean ...?)`, or nothing."""
    names = list(known)
    hits = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not hits:
        leaf = name.rsplit(".", 1)[-1]
        leaves = {n.rsplit(".", 1)[-1]: n for n in names}
        hits = [leaves[h] for h in difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.75)]
    return f"; did you mean {hits[0]!r}?" if hits else ""
