"""Writes a JSON Schema (2020-12) per action for standard validators.

It says of single values what `trainer.spec` says of them; relations between keys are beyond it.
"""

from __future__ import annotations

import math
from typing import Any

from trainer.config.bounds import valid_bounds
from trainer.config.dialect import MODEL, default_tree
from trainer.config.fields import MANDATORY, KeyInfo
from trainer.config.relations import REFUSED
from trainer.config.root import Action, Spec
from trainer.config.tree import Key, declared

_DRAFT = "https://json-schema.org/draft/2020-12/schema"

_TYPES = {"float": "number", "int": "integer", "bool": "boolean", "string": "string"}
_ITEMS = {float: "number", int: "integer", str: "string"}


def _number(info: KeyInfo) -> dict[str, Any]:
    bounds = valid_bounds(info)
    node: dict[str, Any] = {"type": _TYPES[info.kind]}
    if math.isfinite(bounds.low):
        node["exclusiveMinimum" if bounds.is_low_open else "minimum"] = bounds.low
    if math.isfinite(bounds.high):
        node["exclusiveMaximum" if bounds.is_high_open else "maximum"] = bounds.high
    if info.positive_from is not None:
        node["anyOf"] = [{"const": 0}, {"minimum": info.positive_from}]
    return node


def _string(key: Key) -> dict[str, Any]:
    info = key.info
    may_be_null = info.is_optional or info.is_mandatory or key.default == ""
    return {"type": ["string", "null"] if may_be_null else "string"}


def _categorical(info: KeyInfo) -> dict[str, Any]:
    if not info.pattern:
        return {"enum": list(info.options)}
    return {"anyOf": [{"enum": list(info.options)}, {"type": "string", "pattern": info.pattern}]}


def _list(info: KeyInfo) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "array", "items": {"type": _ITEMS[info.item]}}
    if info.lengths:
        node |= {"minItems": min(info.lengths), "maxItems": max(info.lengths)}
        gaps = sorted(set(range(min(info.lengths), max(info.lengths))) - set(info.lengths))
        if gaps:
            node["not"] = {"anyOf": [{"minItems": gap, "maxItems": gap} for gap in gaps]}
    if info.is_mandatory:
        return {"anyOf": [node, {"const": MANDATORY}, {"type": "null"}]}
    return {"anyOf": [node, {"type": "null"}]} if info.is_optional else node


def _value(key: Key) -> dict[str, Any]:
    kind = key.info.kind
    if kind in {"float", "int"}:
        return _number(key.info)
    if kind == "string":
        return _string(key)
    if kind == "categorical":
        return _categorical(key.info)
    if kind in {"list", "list_3"}:
        return _list(key.info)
    return {"type": "boolean"}


def _leaf(key: Key, action: Action) -> dict[str, Any]:
    node = {"description": key.info.description, **_value(key)}
    if not key.info.is_optional:
        node["default"] = default_tree(key)
    for refusal in REFUSED:
        if refusal.path == key.path and refusal.action in {None, action}:
            node["const"] = refusal.only
    return node


def _section(config: type, prefix: str, action: Action) -> dict[str, Any]:
    children = declared(config, prefix)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {child.name: _node(child, action) for child in children},
    }


def _node(key: Key, action: Action) -> dict[str, Any]:
    if key.section is None:
        return _leaf(key, action)
    node = _section(key.section, key.path, action)
    if key.info.kind == "sources":
        one = {"type": "array", "minItems": 1, "maxItems": 1, "items": node}
        node = {"anyOf": [node, one]}
    return {"description": key.info.description, **node}


def strict_schema(action: Action) -> dict[str, Any]:
    """Return the JSON Schema of an action's spec file."""
    return {
        "$schema": _DRAFT,
        "title": f"{MODEL} {action}",
        **_section(Spec, "", action),
    }
