"""Reads a `train.schema.json` into a `Schema`; unknown parts are reported."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.alternatives import Settled, settle
from search_spaces.errors import SchemaError
from search_spaces.fields import (
    read_bound,
    read_conditions,
    read_flag,
    read_limits,
    read_positive_from,
    read_typing,
    read_weights,
    shape_of,
)
from search_spaces.references import expand
from search_spaces.schema import MANDATORY, Kind, Leaf, Schema, merged, with_values

if TYPE_CHECKING:
    from pathlib import Path

_NODE_KEYS = frozenset(
    (
        *("type", "default", "description", "title", "properties", "enum", "option_weights"),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "oneOf"),
        *("minimum", "maximum", "math_cond", "depends_on", "parent_param", "anyOf", "pattern"),
        "positive_from",
        *("automl_enabled", "automl_default_parameters", "automl_disabled_parameters"),
        *("popular", "required", "const", "link", "examples", "items"),
    )
)
_ROOT_KEYS = _NODE_KEYS | {"x_tao_schema", "$schema", "$id", "$comment"}


def load_schema(source: str | Path | Mapping[str, Any]) -> Schema:
    """Read a schema from a file or an already parsed mapping.

    Raises:
        SchemaError: when the file is missing, no JSON, no schema of this dialect, or holds a
            condition that cannot be understood; one line with the file, what must hold, what was
            found and what to do.
    """
    if isinstance(source, Mapping):
        return _read("<mapping>", source)
    from pathlib import Path  # a tenth of the time that importing this package takes

    path = Path(source)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise SchemaError(f"{path}: must be a file, and is a pipe or device; copy it first")
    try:
        root = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise SchemaError(
            f"{path}: cannot be read ({error.strerror}); give the path of a train.schema.json"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SchemaError(
            f"{path}: must be JSON, and is not: {_why_no_json(error)}; restore the file from the "
            "skill it belongs to"
        ) from error
    if not isinstance(root, Mapping):
        raise SchemaError(
            f"{path}: must hold a JSON object, got {shape_of(root)}; give a train.schema.json"
        )
    try:
        return _read(str(path), root)
    except SchemaError as error:
        text = str(error)
        raise SchemaError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _read(source: str, root: Mapping[str, Any]) -> Schema:
    try:
        return _Reader(source).read(expand(root))
    except RecursionError as error:
        raise SchemaError(
            f"{source}: must be nested less deeply; give the train.schema.json of a skill"
        ) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object whose keys differ: of two values for one key neither can be meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return found


def _why_no_json(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not text in UTF-8"
    if isinstance(error, json.JSONDecodeError):
        what = "it is empty" if not error.doc.strip() else error.msg[0].lower() + error.msg[1:]
        return f"{what} (line {error.lineno})"
    return str(error).partition(";")[0]


class _Reader:
    """Walks one schema and collects leaves and warnings."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.leaves: dict[str, Leaf] = {}
        self.containers: set[str] = set()
        self.disabled: set[str] = set()
        self.popular: set[str] = set()
        self.defaults_of_parts: dict[str, Any] = {}
        self.warnings: list[str] = []

    def read(self, root: Mapping[str, Any]) -> Schema:
        properties = root.get("properties")
        if not isinstance(properties, Mapping):
            raise SchemaError(
                f"{self.source}: must hold 'properties' with the parameters of the spec, got "
                f"{shape_of(properties)}; give the train.schema.json of a skill"
            )
        self._note_unknown("the root", root, _ROOT_KEYS)
        marker = root.get("x_tao_schema")
        if not isinstance(marker, Mapping):
            marker = {}
            self.warnings.append(f"{self.source}: no x_tao_schema, so the network is not known")
        popular = root.get("popular")
        if isinstance(popular, Mapping):
            self.popular.update(name for name, _ in flatten(popular))
        self._disable(root)
        self._children("", properties)
        tree = root.get("default")
        if not isinstance(tree, Mapping):
            tree = self._tree_of_parts()
        if not tree:
            self.warnings.append(f"{self.source}: no default tree, so the leaves' defaults count")
        self._compare_defaults(tree)
        return Schema(
            source=self.source,
            leaves=self.leaves,
            containers=frozenset(self.containers),
            tree=tree,
            default_parameters=self._default_parameters(root),
            disabled=frozenset(self.disabled),
            network_arch=str(marker.get("network_arch", "")),
            warnings=tuple(self.warnings),
        )

    def _default_parameters(self, root: Mapping[str, Any]) -> tuple[str, ...]:
        flagged = [name for name, leaf in self.leaves.items() if leaf.enabled]
        listed = root.get("automl_default_parameters")
        if listed is None:
            self.warnings.append(
                f"{self.source}: no automl_default_parameters, so every parameter with "
                f"automl_enabled: true is searched ({len(flagged)})"
            )
            return tuple(flagged)
        names = tuple(dict.fromkeys(self._names(listed, "automl_default_parameters")))
        extra = sorted(set(flagged) - set(names))
        if extra:
            self.warnings.append(
                "automl_enabled, but not in automl_default_parameters and so not searched: "
                + ", ".join(extra)
            )
        return names

    def _names(self, value: object, key: str) -> list[str]:
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return value
        raise SchemaError(
            f"{self.source}: {key} must be a list of dotted names, got {shape_of(value)}; "
            "correct the schema"
        )

    def _disable(self, node: Mapping[str, Any]) -> None:
        listed = node.get("automl_disabled_parameters")
        if listed is not None:
            self.disabled.update(self._names(listed, "automl_disabled_parameters"))

    def _children(self, prefix: str, properties: Mapping[str, Any]) -> None:
        for key, node in properties.items():
            name = f"{prefix}.{key}" if prefix else key
            if isinstance(node, Mapping) and (not key or "." in key or not key.isprintable()):
                text = "cannot be part of a dotted name, so nothing in it is searched"
                self.warnings.append(f"{prefix or 'properties'}: the key {key!r} {text}")
            elif isinstance(node, Mapping):
                self._node(name, node)
            elif key == "automl_disabled_parameters":
                self.disabled.update(self._names(node, name))
            elif not (key.startswith("automl_") and isinstance(node, list)):
                text = f"{shape_of(node)} inside properties is not a parameter and is left out"
                self.warnings.append(f"{name}: {text}")

    def _node(self, name: str, node: Mapping[str, Any]) -> None:
        settled = settle(name, node)
        node = settled.node
        self.warnings += settled.notes
        self._note_unknown(name, node, _NODE_KEYS)
        self._disable(node)
        popular = node.get("popular")
        if isinstance(popular, list):
            self.popular.update(f"{name}.{child}" for child in popular)
        properties = node.get("properties")
        if isinstance(properties, Mapping) and properties:
            self.containers.add(name)
            is_off = "default" in node and node["default"] is None
            if is_off:
                text = "its default is null, and a trial that sets something in it has it all"
                self.warnings.append(f"{name}: {text}")
            if is_off or isinstance(node.get("default"), Mapping):
                given = with_values({}, {name: node["default"]})
                self.defaults_of_parts = merged(given, self.defaults_of_parts)
            self._children(name, properties)
        else:
            self.leaves[name] = self._leaf(name, settled)

    def _leaf(self, name: str, settled: Settled) -> Leaf:
        node = settled.node
        typing = read_typing(name, node)
        if typing.kind is Kind.UNKNOWN:
            text = (
                f"type {typing.type_name!r} is not known" if typing.type_name else "it has no type"
            )
            self.warnings.append(f"{name}: {text}, so it cannot be searched")
        minimum = read_bound(name, "minimum", node.get("minimum"), self.warnings)
        maximum = read_bound(name, "maximum", node.get("maximum"), self.warnings)
        parents, clauses = read_conditions(name, node.get("depends_on"), node.get("math_cond"))
        limits = [limit for part in settled.parts for limit in read_limits(name, part)]
        options = typing.options
        weights = read_weights(name, node.get("option_weights"), len(options))
        numbers = tuple(option for option in options if option is not None)
        if typing.kind.is_number and 0 < len(numbers) < len(options):
            weights = tuple(w for w, o in zip(weights, options, strict=False) if o is not None)
            options = numbers
            self.warnings.append(f"{name}: null among its options is no number and is left out")
        default = node.get("default")
        return Leaf(
            name=name,
            kind=typing.kind,
            type_name=typing.type_name,
            order=len(self.leaves),
            default=None if default == MANDATORY or _is_nan(default) else default,
            minimum=minimum,
            maximum=maximum,
            positive_from=read_positive_from(name, node.get("positive_from"), self.warnings),
            options=options,
            weights=weights,
            clauses=clauses + tuple(dict.fromkeys(limits)),
            parents=parents,
            enabled=read_flag(name, node.get("automl_enabled")),
            is_popular=node.get("popular") is True or name in self.popular,
            allows_list=settled.allows_list or isinstance(minimum, tuple | list),
            pattern=str(node.get("pattern") or ""),
            title=_text(node.get("title")),
            description=_text(node.get("description")),
        )

    def _tree_of_parts(self) -> dict[str, Any]:
        """The tree that the defaults of sections make, the outermost first; empty without any."""
        if not self.defaults_of_parts:
            return {}
        own = {name: x.default for name, x in self.leaves.items() if x.default is not None}
        return merged(with_values({}, own), self.defaults_of_parts)

    def _compare_defaults(self, tree: Mapping[str, Any]) -> None:
        """Note leaves whose own default is not that of the section they are in, which counts."""
        flat = dict(flatten(tree))
        for name, leaf in self.leaves.items():
            if name in flat and leaf.default is not None and flat[name] != leaf.default:
                self.warnings.append(
                    f"{name}: its default {leaf.default!r} differs from {flat[name]!r} in the "
                    "default of what it is part of, which counts"
                )

    def _note_unknown(self, name: str, node: Mapping[str, Any], known: frozenset[str]) -> None:
        unknown = sorted(set(node) - known)
        if unknown:
            self.warnings.append(f"{name}: unknown key {', '.join(unknown)}, it has no effect")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of a nested mapping; an empty mapping is a value."""
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from flatten(value, name)
        else:
            yield name, value


def _text(value: object) -> str:
    return " ".join(str(value).split()) if value else ""


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
