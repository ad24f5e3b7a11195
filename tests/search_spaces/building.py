"""Small schemas of the dialect, written down the way the published ones are."""

from collections.abc import Mapping
from typing import Any

from search_spaces import SearchSpace, compile_space, load_schema


def number(low=None, high=None, default=None, cond=None, kind="float", **more: Any) -> dict:
    node: dict[str, Any] = {"type": kind, **more}
    for key, value in (("minimum", low), ("maximum", high), ("default", default)):
        if value is not None:
            node[key] = value
    if cond is not None:
        node["math_cond"] = cond
    return node


def schema_of(nodes: Mapping[str, Any], searched=None, **root: Any) -> dict:
    """Nest dotted nodes into a schema; every node is searched unless names are given."""
    properties: dict[str, Any] = {}
    tree: dict[str, Any] = {}
    for name, node in nodes.items():
        *groups, leaf = name.split(".")
        where, branch = properties, tree
        for group in groups:
            made = where.setdefault(group, {"type": "collection", "properties": {}})
            where, branch = made["properties"], branch.setdefault(group, {})
        where[leaf] = node
        if isinstance(node, dict) and "default" in node:
            branch[leaf] = node["default"]
    return {
        "type": "object",
        "x_tao_schema": {"action": "train", "network_arch": "toy"},
        "automl_default_parameters": list(nodes if searched is None else searched),
        "automl_disabled_parameters": [],
        "default": tree,
        "popular": {},
        "properties": properties,
        **root,
    }


def space_of(nodes: Mapping[str, Any], searched=None, **options: Any) -> SearchSpace:
    return compile_space(load_schema(schema_of(nodes, searched)), **options)
