"""Checks the schema of a script's action, and specs against it, strictly.

A container's schema is published and may be loose; a script's is written by whoever wrote the
script, so that every fault in it is told before the first trial.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpo.automl.errors import AutoMLError
from search_spaces import SchemaError
from search_spaces.references import expand

_NUMBERS = {"integer": int, "int": int, "number": float, "float": float}
_KINDS = {
    "boolean": bool, "bool": bool, "string": str, "categorical": object, "ordered": object,
    "ordered_int": int, "array": list, "list": list, "object": dict, "dict": dict,
    "collection": dict,
}  # fmt: skip
_DISCRETE = ("categorical", "ordered", "ordered_int", "string")


def check_script_schema(file: Path) -> None:
    """Check the schema of a script's action for what `load_schema` lets pass.

    Raises:
        AutoMLError: for all that is wrong with it, at once.
    """
    problems = list(_faults_of_schema(_read(file)))
    if problems:
        raise AutoMLError(f"{file}: {'; '.join(problems)}")


def check_script_spec(file: Path, spec: Mapping[str, Any]) -> None:
    """Check a spec against the schema of a script's action.

    Args:
        file: the schema.
        spec: nested.

    Raises:
        AutoMLError: for unknown keys, missing required keys and values of other types, at once.
    """
    problems = list(_faults_of_spec(_read(file), spec, ""))
    if problems:
        raise AutoMLError(f"spec: {'; '.join(problems)} (by {file})")


def read_schema(file: Path, where: str = "") -> dict[str, Any]:
    """Read the JSON object of a schema; `where` begins the message when it cannot be read.

    Raises:
        AutoMLError: when it is missing, no JSON, or no object.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AutoMLError(f"{where}{file}: cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise AutoMLError(f"{where}{file}: must be a JSON object, got {type(data).__name__}")
    return data


def _read(file: Path) -> Mapping[str, Any]:
    """A schema with its references followed."""
    try:
        return expand(read_schema(file))
    except SchemaError as error:
        raise AutoMLError(f"{file}: {error}") from error


def _faults_of_schema(root: Mapping[str, Any]) -> Iterator[str]:
    properties = root.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        yield "must be an object with properties"
        return
    listed = root.get("automl_default_parameters") or []
    for name, node in _leaves(root):
        yield from _faults_of_leaf(name, node, is_searched=_is_searched(name, node, listed))


def _is_searched(name: str, node: Mapping[str, Any], listed: Any) -> bool:
    if node.get("automl_enabled") is False:
        return False
    return node.get("automl_enabled") is True or (isinstance(listed, list) and name in listed)


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, child in (node.get("properties") or {}).items():
        if not isinstance(child, Mapping):
            continue
        name = f"{prefix}.{key}" if prefix else str(key)
        if child.get("properties"):
            yield from _leaves(child, name)
        else:
            yield name, child


def _faults_of_leaf(name: str, node: Mapping[str, Any], *, is_searched: bool) -> Iterator[str]:
    facts, problem = _typed(node)
    if problem:
        yield f"{name}: {problem}"
        return
    kind, options = str(facts["type"]), facts.get("enum")
    if is_searched and kind in _NUMBERS and not options:
        for key in ("minimum", "maximum"):
            exclusive = facts.get(f"exclusive{key.capitalize()}")
            if not _is_finite(facts.get(key, exclusive)):
                yield f"{name}.{key}: must be a finite number, got {facts.get(key)!r}"
    if is_searched and kind in _DISCRETE and not options:
        yield f"{name}.enum: must list the options of a {kind}"
    default = facts.get("default")
    if default is not None and (why := _unlike(facts, default)):
        yield f"{name}.default: {why}"


def _typed(node: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The facts of a leaf with its one type, and what is wrong where it has none."""
    facts = dict(node)
    if "type" not in facts:
        branches = [b for b in facts.get("anyOf") or () if isinstance(b, Mapping)]
        typed = [b for b in branches if b.get("type") not in (None, "null")]
        if len(typed) != 1:
            return facts, "must have a type, or anyOf with exactly one that is not null"
        facts = {**typed[0], **{k: v for k, v in facts.items() if k != "anyOf"}}
        facts["nullable"] = len(typed) < len(branches)
    if facts["type"] not in {*_NUMBERS, *_KINDS}:
        return facts, f"type {facts['type']!r} is not known"
    return facts, ""


def _faults_of_spec(node: Mapping[str, Any], spec: Any, prefix: str) -> Iterator[str]:
    if not isinstance(spec, Mapping):
        yield f"{prefix}: must be a mapping, got {spec!r}"
        return
    properties = node.get("properties") or {}
    required = node.get("required")
    for key in required if isinstance(required, list) else ():
        if key not in spec:
            yield f"{_joined(prefix, key)}: is required"
    for key, value in spec.items():
        name = _joined(prefix, key)
        child = properties.get(key)
        if not isinstance(child, Mapping):
            yield f"{name}: is not in the schema"
        elif child.get("properties"):
            yield from _faults_of_spec(child, value, name)
        elif why := _unlike(_typed(child)[0], value):
            yield f"{name}: {why}"


def _joined(prefix: str, key: Any) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


def _unlike(facts: Mapping[str, Any], value: Any) -> str:
    """Why a value does not fit a leaf; empty where it does."""
    kind = str(facts.get("type"))
    if value is None:
        return "" if facts.get("nullable") or facts.get("default") is None else "must not be null"
    options = facts.get("enum")
    if options and kind not in ("array", "list") and value not in options:
        return f"must be one of {options}, got {value!r}"
    wanted = _NUMBERS.get(kind) or _KINDS.get(kind, object)
    is_mixed_up = isinstance(value, bool) and wanted in (int, float)
    fits = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
    if not fits or is_mixed_up:
        return f"must be of type {kind}, got {value!r}"
    if kind in _NUMBERS:
        low, high = facts.get("minimum"), facts.get("maximum")
        if (_is_finite(low) and value < low) or (_is_finite(high) and value > high):
            return f"must lie between {low} and {high}, got {value!r}"
    return ""


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
