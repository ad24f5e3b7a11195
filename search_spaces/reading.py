"""From a `train.schema.json` to a `Schema`: the whole dialect, with nothing dropped without a word."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from search_spaces.clauses import Clause, parse_condition, parse_dependency
from search_spaces.errors import SchemaError
from search_spaces.schema import MANDATORY, Bound, Kind, Leaf, Schema

_KINDS: dict[str, Kind] = {
    **{str(kind): kind for kind in Kind if kind is not Kind.UNKNOWN},
    "number": Kind.FLOAT,
    "integer": Kind.INT,
    "boolean": Kind.BOOL,
    "object": Kind.FREE,
    "dict": Kind.FREE,
    "array": Kind.LIST,
    "list_1_normal": Kind.LIST,
}

_NODE_KEYS = frozenset(
    ["type", "default", "description", "title", "automl_enabled", "minimum", "maximum", "properties", "popular", "enum", "automl_disabled_parameters", "math_cond", "automl_default_parameters", "required", "pattern", "parent_param", "depends_on", "anyOf", "option_weights", "const", "link", "examples", "items"]
)
_ROOT_KEYS = _NODE_KEYS | {"x_tao_schema", "$schema", "$id", "$comment"}
_INFINITE = {"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "nan", ""}


def load_schema(source: str | Path | Mapping[str, Any]) -> Schema:
    """Read a schema from a file or an already parsed mapping.

    Raises:
        SchemaError: when the file is missing, no JSON, no schema of this dialect, or holds a condition that
            cannot be understood; one line with the file, what must hold, what was found and what to do.
    """
    if isinstance(source, Mapping):
        return _Reader("<dict>").read(source)
    path = Path(source)
    try:
        root = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(
            f"{path}: cannot be read ({error.strerror}); give the path of a train.schema.json"
        ) from error
    except ValueError as error:
        raise SchemaError(
            f"{path}: must be JSON, got {error}; restore the file from the skill it belongs to"
        ) from error
    if not isinstance(root, Mapping):
        raise SchemaError(
            f"{path}: must hold a JSON object, got {type(root).__name__}; give a train.schema.json"
        )
    return _Reader(str(path)).read(root)


class _Reader:
    """Walks one schema and collects leaves, counts and warnings."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.leaves: dict[str, Leaf] = {}
        self.containers: set[str] = set()
        self.disabled: set[str] = set()
        self.popular: set[str] = set()
        self.warnings: list[str] = []
        self.num_nodes = 0
        self.num_infinities = 0

    def read(self, root: Mapping[str, Any]) -> Schema:
        properties = root.get("properties")
        if not isinstance(properties, Mapping):
            raise SchemaError(
                f"{self.source}: must hold 'properties' with the parameters of the spec, got "
                f"{_shape(properties)}; give a train.schema.json of a skill"
            )
        self._unknown_keys("the root", root, _ROOT_KEYS)
        marker = root.get("x_tao_schema")
        if not isinstance(marker, Mapping):
            self.warnings.append(
                f"{self.source}: no x_tao_schema marker, so the network is not known"
            )
            marker = {}
        self.popular.update(name for name, _ in flatten(_mapping(root.get("popular"))))
        self._disable(root)
        self._children("", properties)
        tree = root.get("default")
        if not isinstance(tree, Mapping):
            self.warnings.append(
                f"{self.source}: no default tree, the leaves' own defaults are used"
            )
            tree = {}
        return Schema(
            source=self.source,
            leaves=self.leaves,
            containers=frozenset(self.containers),
            tree=tree,
            default_parameters=self._default_parameters(root),
            disabled=frozenset(self.disabled),
            network_arch=str(marker.get("network_arch", "")),
            action=str(marker.get("action", "")),
            warnings=tuple(self.warnings),
            num_nodes=self.num_nodes,
            num_infinities=self.num_infinities,
            marker=marker,
        )

    def _default_parameters(self, root: Mapping[str, Any]) -> tuple[str, ...]:
        flagged = [name for name, leaf in self.leaves.items() if leaf.enabled]
        listed = root.get("automl_default_parameters")
        if listed is None:
            self.warnings.append(
                f"{self.source}: no automl_default_parameters, every parameter with automl_enabled: true is "
                f"searched ({len(flagged)})"
            )
            return tuple(flagged)
        names = tuple(dict.fromkeys(self._names(listed, "automl_default_parameters")))
        extra = sorted(set(flagged) - set(names))
        if extra:
            self.warnings.append(
                "automl_enabled but not in automl_default_parameters, so not searched by default: "
                + ", ".join(extra)
            )
        return names

    def _names(self, value: object, key: str) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise SchemaError(
                f"{self.source}: {key} must be a list of dotted names, got {_shape(value)}"
            )
        return value

    def _disable(self, node: Mapping[str, Any]) -> None:
        listed = node.get("automl_disabled_parameters")
        if listed is not None:
            self.disabled.update(self._names(listed, "automl_disabled_parameters"))

    def _children(self, prefix: str, properties: Mapping[str, Any]) -> None:
        for key, node in properties.items():
            name = f"{prefix}.{key}" if prefix else key
            if isinstance(node, Mapping):
                self._node(name, node)
            elif not (key.startswith("automl_") and isinstance(node, list)):
                self.warnings.append(
                    f"{name}: not a parameter ({_shape(node)} inside properties), left out"
                )

    def _node(self, name: str, node: Mapping[str, Any]) -> None:
        self.num_nodes += 1
        self._unknown_keys(name, node, _NODE_KEYS)
        self._disable(node)
        popular = node.get("popular")
        if isinstance(popular, list):
            self.popular.update(f"{name}.{child}" for child in popular)
        properties = node.get("properties")
        if isinstance(properties, Mapping) and properties:
            self.containers.add(name)
            self._children(name, properties)
        else:
            self.leaves[name] = self._leaf(name, node)

    def _leaf(self, name: str, node: Mapping[str, Any]) -> Leaf:
        kind, type_name, listable, options = self._kind(name, node)
        minimum, maximum = (self._bound(name, node, key) for key in ("minimum", "maximum"))
        parents, clauses = self._conditions(name, node)
        default = node.get("default")
        return Leaf(
            name=name,
            kind=kind,
            type_name=type_name,
            order=len(self.leaves),
            default=None if default == MANDATORY or _is_nan(default) else default,
            minimum=minimum,
            maximum=maximum,
            options=options,
            weights=self._weights(name, node, options),
            clauses=clauses,
            parents=parents,
            enabled=self._flag(name, node),
            is_popular=node.get("popular") is True or name in self.popular,
            is_mandatory=default == MANDATORY,
            allows_list=listable or isinstance(minimum, tuple) or isinstance(maximum, tuple),
            pattern=str(node.get("pattern") or ""),
            title=_text(node.get("title")),
            description=_text(node.get("description")),
        )

    def _kind(self, name: str, node: Mapping[str, Any]) -> tuple[Kind, str, bool, tuple[Any, ...]]:
        options = node.get("enum")
        alternatives = [_mapping(item) for item in node.get("anyOf") or []]
        type_name = node.get("type")
        if isinstance(type_name, list):
            alternatives += [{"type": item} for item in type_name]
            type_name = None
        kinds = [
            (_KINDS.get(str(item.get("type")), Kind.UNKNOWN), item)
            for item in alternatives
            if item.get("type") != "null"
        ]
        listable = any(kind is Kind.LIST for kind, _ in kinds)
        if type_name is None and kinds:
            has_bounds = node.get("minimum") is not None or node.get("maximum") is not None
            numbers = [pair for pair in kinds if pair[0].is_number]
            kind, chosen = (numbers if has_bounds and numbers else kinds)[0]
            type_name, options = str(chosen.get("type")), options or chosen.get("enum")
            listable = listable and kind.is_number
        else:
            kind = _KINDS.get(str(type_name), Kind.UNKNOWN)
        if kind is Kind.UNKNOWN:
            self.warnings.append(f"{name}: type {type_name!r} is not known, it cannot be searched")
        return kind, str(type_name), listable, self._options(name, options)

    def _options(self, name: str, options: object) -> tuple[Any, ...]:
        if options is None:
            return ()
        if not isinstance(options, list):
            raise SchemaError(
                f"{name}: enum must be a list, got {_shape(options)}; correct the schema"
            )
        return tuple(item.strip() if isinstance(item, str) else item for item in options)

    def _weights(
        self, name: str, node: Mapping[str, Any], options: tuple[Any, ...]
    ) -> tuple[float, ...]:
        weights = node.get("option_weights")
        if weights is None:
            return ()
        good = isinstance(weights, list) and all(_is_number(item) and item > 0 for item in weights)
        if not good or len(weights) != len(options):
            raise SchemaError(
                f"{name}: option_weights must be one number above 0 for each of {len(options)} options, got "
                f"{weights!r}; correct the schema"
            )
        return tuple(float(item) for item in weights)

    def _flag(self, name: str, node: Mapping[str, Any]) -> bool | None:
        flag = node.get("automl_enabled")
        if flag is None or isinstance(flag, bool):
            return flag
        if isinstance(flag, str) and flag.strip().lower() in ("true", "false"):
            return flag.strip().lower() == "true"
        raise SchemaError(
            f"{name}: automl_enabled must be true or false, got {flag!r}; correct the schema"
        )

    def _conditions(
        self, name: str, node: Mapping[str, Any]
    ) -> tuple[tuple[str, ...], tuple[Clause, ...]]:
        return read_conditions(name, node.get("depends_on"), node.get("math_cond"))

    def _bound(self, name: str, node: Mapping[str, Any], key: str) -> Bound:
        value = node.get(key)
        if isinstance(value, list):
            return tuple(self._finite(name, key, item) for item in value)
        return self._finite(name, key, value)

    def _finite(self, name: str, key: str, value: object) -> float | None:
        """Return a bound as a number, None when it bounds nothing."""
        if isinstance(value, str):
            if value.strip().lower() in _INFINITE:
                self.num_infinities += "inf" in value.lower()
                return None
            try:
                value = float(value)
            except ValueError:
                self.warnings.append(
                    f"{name}: {key} {value!r} is not a number, so it bounds nothing"
                )
                return None
        if value is None:
            return None
        if not _is_number(value):
            self.warnings.append(f"{name}: {key} {value!r} is not a number, so it bounds nothing")
            return None
        if not math.isfinite(value):
            self.num_infinities += math.isinf(value)
            return None
        return value

    def _unknown_keys(self, name: str, node: Mapping[str, Any], known: frozenset[str]) -> None:
        unknown = sorted(set(node) - known)
        if unknown:
            self.warnings.append(f"{name}: unknown key {', '.join(unknown)}, it has no effect")


def read_conditions(
    name: str, depends_on: object, math_cond: object
) -> tuple[tuple[str, ...], tuple[Clause, ...]]:
    """Return the parents' names and the clauses that `depends_on` and `math_cond` state together.

    Raises:
        SchemaError: when either cannot be understood.
    """
    parents, operator = parse_dependency(depends_on, name)
    clauses = parse_condition(math_cond, parents, name)
    if operator and not any(clause.parents for clause in clauses):
        clauses += (Clause(operator, None, parents),)
    named = [parent for clause in clauses for parent in clause.parents]
    return tuple(dict.fromkeys([*parents, *named])), clauses


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of a nested mapping; an empty mapping is a value."""
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from flatten(value, name)
        else:
            yield name, value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return " ".join(str(value).split()) if value else ""


def _shape(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
