"""Writes an action's schema in the published dialect.

It is no JSON Schema: a tree of nodes with bounds, conditions and search flags, in which an endless
maximum is the bare word `Infinity`. `trainer.config.strict` has the standard one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.config.fields import MANDATORY
from trainer.config.root import COMMON_SECTIONS, Action, Spec
from trainer.config.tree import Key, declared, keys

NETWORK = "ml_recog"
MODEL = "ml-recog"


def _top_level(action: Action) -> list[Key]:
    """Return the keys at the top of an action's spec, in the order of its template."""
    return [key for key in declared(Spec) if key.name in {*COMMON_SECTIONS, action}]


def default_tree(key: Key) -> Any:
    """Return the default below a key as plain data; keys that may be absent are left out."""
    if key.info.kind == "sources":
        return {}
    if key.section is not None:
        children = declared(key.section, key.path)
        return {child.name: default_tree(child) for child in children if _has_default(child)}
    if key.info.is_mandatory:
        return MANDATORY
    return list(key.default) if isinstance(key.default, tuple) else key.default


def _has_default(key: Key) -> bool:
    """Whether a template shows the key: not one that may be absent, nor a section of such keys."""
    children = _children(key)
    return any(map(_has_default, children)) if children else not key.info.is_optional


def template(action: Action) -> dict[str, Any]:
    """Return the complete default spec of an action, in template order."""
    return {key.name: default_tree(key) for key in _top_level(action)}


def _children(key: Key) -> list[Key]:
    if key.section is None or key.info.kind == "sources":
        return []
    return list(declared(key.section, key.path))


def _is_popular(key: Key) -> bool:
    return key.info.is_popular or any(_is_popular(child) for child in _children(key))


def _popular_defaults(key: Key) -> Any:
    popular = [child for child in _children(key) if _is_popular(child)]
    if not popular:
        return default_tree(key)
    return {child.name: _popular_defaults(child) for child in popular}


def _nodes() -> Iterator[Key]:
    """Yield every key that is a node of the dialect: those below open sections are not."""
    for key in keys().values():
        parent = keys().get(key.parent)
        if parent is None or parent.info.kind != "sources":
            yield key


def searched_by_default() -> list[str]:
    """Return the parameters that a search takes when none are named."""
    return [key.path for key in _nodes() if key.info.automl_enabled]


def never_searched() -> list[str]:
    """Return the sections and lists that no search takes."""
    return [key.path for key in _nodes() if key.info.automl_enabled is False]


def _leaf_node(key: Key) -> dict[str, Any]:
    info = key.info
    node: dict[str, Any] = {"type": info.kind, "description": info.description}
    node["title"] = key.name.replace("_", " ")
    if _has_default(key):
        node["default"] = default_tree(key)
    stated = {
        "minimum": info.minimum,
        "maximum": info.maximum,
        "positive_from": info.positive_from,
        "math_cond": info.math_cond or None,
        "enum": list(info.options) or None,
        "automl_enabled": info.automl_enabled,
        "depends_on": ",".join(info.depends_on) or None,
        "parent_param": "TRUE" if info.is_parent else None,
        "popular": True if info.is_popular else None,
    }
    return node | {name: value for name, value in stated.items() if value is not None}


def _section_node(key: Key) -> dict[str, Any]:
    info = key.info
    node: dict[str, Any] = {
        "type": "collection",
        "description": info.description,
        "title": key.name.replace("_", " "),
        "automl_enabled": False,
    }
    children = _children(key)
    if not children:
        return node
    lists = {
        "automl_default_parameters": [c.path for c in children if c.info.automl_enabled],
        "automl_disabled_parameters": [c.path for c in children if c.info.automl_enabled is False],
        "popular": [child.name for child in children if _is_popular(child)],
    }
    node |= {name: value for name, value in lists.items() if value}
    node["default"] = default_tree(key)
    node["properties"] = {child.name: _node(child) for child in children}
    return node


def _node(key: Key) -> dict[str, Any]:
    return _leaf_node(key) if key.section is None else _section_node(key)


def schema(action: Action) -> dict[str, Any]:
    """Return the schema of one action in the published dialect."""
    properties: dict[str, Any] = {key.name: _node(key) for key in _top_level(action)}
    # A list among the properties is how the published files have it; readers skip it.
    properties["automl_disabled_parameters"] = [
        key.name for key in declared(Spec) if key.section is not None
    ]
    return {
        "type": "object",
        "x_tao_schema": {
            "action": action,
            "core_module": NETWORK,
            "model": MODEL,
            "network_arch": NETWORK,
            "schema_action": action,
            "schema_version": 1,
            "source": "trainer.config",
        },
        "automl_default_parameters": searched_by_default(),
        "automl_disabled_parameters": never_searched(),
        "popular": popular(),
        "default": template(action),
        "properties": properties,
    }


def popular() -> dict[str, Any]:
    """Return the parameters that people set most, as a tree of their defaults."""
    return {key.name: _popular_defaults(key) for key in declared(Spec) if _is_popular(key)}
