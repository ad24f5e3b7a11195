"""A train schema as typed data: leaves by dotted name, defaults, default selection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeGuard

from search_spaces.clauses import Clause

Bound = float | tuple[float | None, ...] | None
"""A finite number, one per element of a list value, or None for absent."""

MANDATORY = "???"
"""The marker of a value that the user must supply."""


class Kind(StrEnum):
    """What values a leaf takes; the two published vocabularies map onto these."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    STRING = "string"
    CATEGORICAL = "categorical"
    ORDERED = "ordered"
    ORDERED_INT = "ordered_int"
    LIST = "list"
    INCREASING_LIST = "list_2"
    EQUAL_PAIR = "list_3"
    BACKBONE_RUN = "list_1_backbone"
    SUBSET = "subset_list"
    OPTIONAL = "optional_list"
    FREE = "collection"
    """A container without described children, such as a map of data sets."""
    UNKNOWN = "unknown"

    @property
    def is_number(self) -> bool:
        """Whether values are single numbers with bounds."""
        return self in (Kind.FLOAT, Kind.INT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One parameter of the spec, as the schema describes it and before any rule is applied."""

    name: str
    kind: Kind
    type_name: str
    order: int
    """Position in the file: the tie-break wherever an order is needed."""
    default: Any = None
    """None when absent."""
    minimum: Bound = None
    maximum: Bound = None
    positive_from: float = 0.0
    """Least value above 0 where 0 is legal too; 0 where every value in between is."""
    options: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    clauses: tuple[Clause, ...] = ()
    parents: tuple[str, ...] = ()
    enabled: bool | None = None
    """`automl_enabled`; None when the schema does not say."""
    is_popular: bool = False
    allows_list: bool = False
    """A number that may also be written as a list of numbers (a union, or list-valued bounds)."""
    pattern: str = ""
    title: str = ""
    description: str = ""

    @property
    def type_text(self) -> str:
        """The type as messages name it."""
        return f"type {self.type_name!r}" if self.type_name else "a value of no type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A whole train schema."""

    source: str
    """File name or `<dict>`, for messages."""
    leaves: Mapping[str, Leaf]
    containers: frozenset[str]
    tree: Mapping[str, Any]
    """The spec itself, by the `default` of the root or of sections; it beats that of a leaf."""
    default_parameters: tuple[str, ...]
    disabled: frozenset[str]
    """Exact paths that are not searched unless overridden; never prefixes."""
    network_arch: str = ""
    warnings: tuple[str, ...] = ()

    def value(self, name: str) -> Any:
        """Return a leaf's default: from the root tree, else its own; None when there is none."""
        found = lookup(self.tree, name)
        leaf = self.leaves[name]
        return leaf.default if found is None or found == MANDATORY else found

    def is_free(self, name: str) -> bool:
        """Whether a name lies below a container that accepts any child."""
        parts = name.split(".")
        above = (".".join(parts[:end]) for end in range(1, len(parts)))
        return any(up in self.leaves and self.leaves[up].kind is Kind.FREE for up in above)


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a number; truth values are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a number that can be counted with: whole ones may be too large."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:
        return False


def lookup(tree: Mapping[str, Any], name: str) -> Any:
    """Return the value at a dotted name of a nested mapping, or None when there is none."""
    node: Any = tree
    for part in name.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def with_values(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested mapping with dotted values set; untouched branches are shared."""
    result = dict(tree)
    fresh: dict[tuple[str, ...], dict[str, Any]] = {(): result}
    for name, value in values.items():
        parts = tuple(name.split("."))
        for end in range(1, len(parts)):
            if parts[:end] not in fresh:
                above = fresh[parts[: end - 1]]
                old = above.get(parts[end - 1])
                above[parts[end - 1]] = fresh[parts[:end]] = (
                    dict(old) if isinstance(old, Mapping) else {}
                )
        fresh[parts[:-1]][parts[-1]] = value
    return result


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` overlaid by `over`, mappings merged key by key."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = (
            merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return result
