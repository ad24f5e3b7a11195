"""Lints a schema: contradictions and likely mistakes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.clauses import COMPARISONS
from search_spaces.domains.options import is_inside, same
from search_spaces.draft import first
from search_spaces.errors import RangeError, nearest
from search_spaces.ordering import parents_first
from search_spaces.rule import Bounds
from search_spaces.schema import Kind, Leaf, Schema, is_number

_CROWDED = 0.01
"""A default within this share of its range makes even draws over the range useless."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One suspicious thing."""

    name: str
    kind: str
    """`default`, `unbounded`, `scale`, `dead`, `duplicate`, `relation` or `dialect`."""
    message: str


def lint_schema(schema: Schema, inactive: Mapping[str, str] | None = None) -> list[Finding]:
    """Return what looks wrong, in the schema's order.

    Args:
        schema: what `load_schema` returned.
        inactive: parameters that do nothing under the default spec, if a trainer knows.
    """
    found = [finding for leaf in schema.leaves.values() for finding in _leaf(schema, leaf)]
    found += list(_listed(schema, inactive or {}))
    found += list(_duplicates(schema))
    found += list(_cycles(schema))
    order = {name: leaf.order for name, leaf in schema.leaves.items()}
    found.sort(key=lambda finding: order.get(finding.name, len(order)))
    return found + [Finding(schema.source, "dialect", text) for text in schema.warnings]


def _leaf(schema: Schema, leaf: Leaf) -> Iterator[Finding]:
    value = schema.value(leaf.name)
    for check in _CHECKS:
        text = check[1](schema, leaf, value)
        if text:
            yield Finding(leaf.name, check[0], text)


def _bounds_of(leaf: Leaf) -> Bounds:
    """Return bounds and constant conditions of a number together."""
    bounds = Bounds(low=first(leaf.minimum), high=first(leaf.maximum))
    for clause in leaf.clauses:
        if clause.number is not None and clause.op in COMPARISONS:
            bounds = bounds.compared(clause.op, clause.number)
    return bounds


def _default_outside(_: Schema, leaf: Leaf, value: Any) -> str:
    if not leaf.kind.is_number or not is_number(value):
        return ""
    bounds = _bounds_of(leaf)
    return "" if is_inside(value, bounds) else f"default {value!r} lies outside {bounds}"


def _default_no_option(_: Schema, leaf: Leaf, value: Any) -> str:
    choosing = (Kind.CATEGORICAL, Kind.ORDERED, Kind.ORDERED_INT, Kind.STRING, Kind.INT)
    if not leaf.options or leaf.kind not in choosing:
        return ""
    texts = {str(option).lower() for option in leaf.options}
    spelled = "none" if value in (None, "") else str(value).lower()
    if any(same(value, option) for option in leaf.options) or spelled in texts:
        return ""
    return f"default {value!r} is none of {list(leaf.options)}"


def _broken_relation(schema: Schema, leaf: Leaf, value: Any) -> str:
    for clause in leaf.clauses:
        for parent in clause.parents:
            if parent not in schema.leaves:
                return f"depends on {parent}, which the schema lacks"
            other = schema.value(parent)
            is_compared = clause.number is None and is_number(value) and is_number(other)
            if is_compared and not _COMPARE[clause.op](value, other):
                return f"default {value!r} must be {clause}, which is {other!r}"
    return ""


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    **{">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le},
    "!=": operator.ne,
}


def _unbounded(_: Schema, leaf: Leaf, value: Any) -> str:
    if not leaf.kind.is_number or leaf.options:
        return ""
    bounds = _bounds_of(leaf)
    if bounds.low is not None and bounds.high is not None:
        return ""
    missing = "no bounds" if bounds.low is None and bounds.high is None else "one open end"
    return f"{missing}: {bounds}; a search needs a range, or takes it from the default {value!r}"


def _crowded(schema: Schema, leaf: Leaf, value: Any) -> str:
    bounds = _bounds_of(leaf)
    low, high = bounds.low, bounds.high
    is_searched = leaf.kind.is_number and leaf.name in schema.default_parameters
    if not is_searched or not is_number(value) or low is None or high is None or low >= high:
        return ""
    position = (value - low) / (high - low)
    if 0 < position <= _CROWDED or 1 - _CROWDED <= position < 1:
        return f"default {value!r} sits at {position:.3%} of {bounds}: even draws all miss it"
    return ""


def _one_value(_: Schema, leaf: Leaf, value: Any) -> str:  # noqa: ARG001 - table entry
    bounds = _bounds_of(leaf)
    if leaf.kind.is_number and bounds.low is not None and bounds.low == bounds.high:
        return f"has one legal value, {bounds.low:g}"
    if len(leaf.options) == 1 and leaf.kind not in (Kind.SUBSET, Kind.OPTIONAL):
        return f"has one option, {leaf.options[0]!r}"
    return ""


_CHECKS: tuple[tuple[str, Callable[[Schema, Leaf, Any], str]], ...] = (
    ("default", _default_outside),
    ("default", _default_no_option),
    ("relation", _broken_relation),
    ("unbounded", _unbounded),
    ("scale", _crowded),
    ("dead", _one_value),
)


def _listed(schema: Schema, inactive: Mapping[str, str]) -> Iterator[Finding]:
    """Report listed parameters that cannot vary, or whose variation changes nothing."""
    never = (Kind.LIST, Kind.FREE, Kind.UNKNOWN)
    for name in schema.default_parameters:
        leaf = schema.leaves.get(name)
        if leaf is None:
            known = nearest(name, schema.leaves)
            yield Finding(name, "dead", f"is listed for search, but is not a parameter{known}")
        elif leaf.kind in never or (leaf.kind is Kind.STRING and not leaf.options):
            text = f"is listed for search, but {leaf.type_text} is not searchable"
            yield Finding(name, "dead", text)
        elif leaf.enabled is False or name in schema.disabled:
            yield Finding(name, "dead", "is listed for search and disabled at once")
        elif name in inactive:
            yield Finding(name, "dead", f"does nothing under the default spec: {inactive[name]}")


def _duplicates(schema: Schema) -> Iterator[Finding]:
    """Report parameters of one group that carry the same title."""
    seen: dict[tuple[str, str], str] = {}
    for name, leaf in schema.leaves.items():
        if not leaf.title:
            continue
        key = (name.rpartition(".")[0], leaf.title.lower().replace(" ", "_"))
        if key in seen:
            text = f"has the title of {seen[key]} ({leaf.title!r}): the same knob twice?"
            yield Finding(name, "duplicate", text)
        seen.setdefault(key, name)


def _cycles(schema: Schema) -> Iterator[Finding]:
    try:
        parents_first(
            list(schema.leaves), {name: leaf.parents for name, leaf in schema.leaves.items()}
        )
    except RangeError as error:
        yield Finding(schema.source, "relation", str(error))
