"""Replaces the references of a schema by what they name, and merges what `allOf` lists.

    expand({"$defs": {"rate": {"minimum": 0}}, "properties": {"lr": {"$ref": "#/$defs/rate"}}})
    # {"properties": {"lr": {"minimum": 0}}}

Schemas that programs write, such as those of pydantic, hold both. What stands beside a reference is
said of one place: its default and description count before those of the reference. Bounds and
options of both hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from search_spaces.errors import SchemaError
from search_spaces.schema import is_number

_DEFINITIONS = ("$defs", "definitions")
_LITERAL = frozenset(("default", "const", "enum", "examples", "required"))
"""Keys whose values are no schemas, even where they look like one."""
_REMARKS = frozenset(
    ("default", "title", "description", "examples", "$comment", "$id", "$schema", "$anchor")
)
"""Keys that describe: the nearest one counts."""
_TIGHTEST: Mapping[str, Callable[[Any, Any], Any]] = {
    "minimum": max,
    "exclusiveMinimum": max,
    "maximum": min,
    "exclusiveMaximum": min,
}


def expand(root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema without `$ref`, `allOf` and the definitions that were referred to.

    Raises:
        SchemaError: for references to what is not in the schema, or to a place they stand in
            themselves, and for parts of `allOf` that contradict each other; one line.
    """
    found = _Expander(root).node("", root, ())
    return {key: value for key, value in found.items() if key not in _DEFINITIONS}


def tightest(near: Mapping[str, Any], far: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds of both schemas that hold where both hold."""
    return {
        key: choose(near[key], far[key])
        for key, choose in _TIGHTEST.items()
        if is_number(near.get(key)) and is_number(far.get(key))
    }


class _Expander:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._lookup: Callable[[str], Any] | None = None

    def node(self, place: str, node: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
        """Expand a schema; `within` are the references that led to it."""
        own = {
            key: value if key in _LITERAL else self._value(f"{place}/{key}", key, value, within)
            for key, value in node.items()
            if key not in ("$ref", "allOf", *_DEFINITIONS)
        }
        if "$ref" in node:
            reference = node["$ref"]
            if reference in within:
                raise SchemaError(
                    f"{place or '/'}: {reference} must not refer to itself; write out what is meant"
                )
            target = self._target(place, reference)
            own = _merged(place, own, self.node(place, target, (*within, reference)))
        parts = node.get("allOf", [])
        if not isinstance(parts, list) or not all(isinstance(p, Mapping | bool) for p in parts):
            raise SchemaError(f"{place or '/'}: allOf must be a list of schemas, got {parts!r}")
        for part in parts:
            if isinstance(part, Mapping):
                own = _merged(place, own, self.node(f"{place}/allOf", part, within))
        return own

    def _value(self, place: str, key: str, value: Any, within: tuple[str, ...]) -> Any:
        if isinstance(value, list):
            return [self._value(place, "", item, within) for item in value]
        if not isinstance(value, Mapping):
            return value
        if key != "properties":
            return self.node(place, value, within)
        return {name: self._value(f"{place}/{name}", "", v, within) for name, v in value.items()}

    def _target(self, place: str, reference: object) -> Mapping[str, Any]:
        target = self._found(reference) if isinstance(reference, str) else None
        if not isinstance(target, Mapping):
            raise SchemaError(
                f"{place or '/'}: $ref must name a part of this schema, such as #/$defs/NAME, got "
                f"{reference!r}; correct it"
            )
        return target

    def _found(self, reference: str) -> Any:
        """What a reference leads to; None for nothing."""
        from referencing.exceptions import Unresolvable

        try:
            if self._lookup is None:
                from referencing import Registry
                from referencing.jsonschema import DRAFT202012

                resource = DRAFT202012.create_resource(dict(self._root))
                self._lookup = Registry().with_resource("", resource).resolver().lookup
            return self._lookup(reference).contents
        except (Unresolvable, AttributeError, LookupError, TypeError, ValueError):
            return None  # the library takes it for granted that all definitions are schemas


def _merged(place: str, near: Mapping[str, Any], far: Mapping[str, Any]) -> dict[str, Any]:
    """What holds where both schemas hold; of remarks those of `near`."""
    merged = {**far, **near}
    for key in sorted(set(near) & set(far) - _REMARKS):
        a, b = near[key], far[key]
        if key in _TIGHTEST and is_number(a) and is_number(b):
            merged[key] = _TIGHTEST[key](a, b)
        elif key == "properties" and isinstance(a, Mapping) and isinstance(b, Mapping):
            merged[key] = merged_properties(f"{place}/properties", a, b)
        elif key == "enum" and isinstance(a, list) and isinstance(b, list):
            merged |= _common_options(place, near, far)
        elif key == "type" and sorted(map(str, (a, b))) == ["integer", "number"]:
            merged[key] = "integer"
        elif key == "required" and isinstance(a, list) and isinstance(b, list):
            merged[key] = [*a, *(item for item in b if item not in a)]
        elif a != b and not key.startswith(("automl_", "popular", "option_weights")):
            raise SchemaError(
                f"{place or '/'}: {key} must be the same in all that holds here ($ref, allOf), got "
                f"{a!r} and {b!r}; leave one"
            )
    return merged


def merged_properties(place: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Properties of both schemas, those of `b` behind those of `a`.

    Raises:
        SchemaError: they contradict each other.
    """
    both = {name for name in a if isinstance(a[name], Mapping) and isinstance(b.get(name), Mapping)}
    shared = {name: _merged(f"{place}/{name}", a[name], b[name]) for name in both}
    return {**a, **{name: b[name] for name in b if name not in a}, **shared}


def _common_options(place: str, near: Mapping[str, Any], far: Mapping[str, Any]) -> dict[str, Any]:
    """The options that both have, with the weights of whoever gives some."""
    common = [option for option in near["enum"] if option in far["enum"]]
    if not common:
        raise SchemaError(
            f"{place or '/'}: options of both enums must remain ($ref, allOf), got {near['enum']} "
            f"and {far['enum']}; correct one"
        )
    for schema in (near, far):
        weights = schema.get("option_weights")
        if isinstance(weights, list) and len(weights) == len(schema["enum"]):
            return {
                "enum": common,
                "option_weights": [weights[schema["enum"].index(option)] for option in common],
            }
    return {"enum": common}
