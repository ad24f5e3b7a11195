"""Selects which parameters are searched: the schema's list changed by the overlay."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.errors import nearest
from search_spaces.notes import Notes
from search_spaces.overlay import Overlay, ParameterChange
from search_spaces.schema import Kind, Leaf, Schema

_NEEDS_OPTIONS = (
    Kind.STRING,
    Kind.CATEGORICAL,
    Kind.ORDERED,
    Kind.ORDERED_INT,
    Kind.SUBSET,
    Kind.OPTIONAL,
)
_NEVER = (Kind.LIST, Kind.FREE, Kind.UNKNOWN)


def select_names(
    schema: Schema, overlay: Overlay, changes: Mapping[str, ParameterChange], notes: Notes
) -> list[str]:
    """Return the names to search, in the schema's order.

    A name that the user lists and that cannot be searched is a problem; one from the schema's own
    list is left out with a warning.
    """
    listed = overlay.hyperparameters
    if listed is not None and not listed:
        notes.problem("hyperparameters", "an empty list leaves nothing to search; name some")
    by_hand = [*(listed or ()), *overlay.extra, *overlay.ranges, *overlay.options]
    by_schema = schema.default_parameters if listed is None else ()
    names: set[str] = set()
    for name in dict.fromkeys([*by_hand, *by_schema]):
        reason = _refusal(schema, overlay, name, changes.get(name, ParameterChange()))
        if not reason:
            names.add(name)
        elif name in by_hand:
            notes.problem(name, reason)
        else:
            notes.warn(name, f"is listed in the schema but left out: {reason}")
    for name in changes:
        if name not in names and name not in by_hand and name not in overlay.fixed:
            notes.warn(name, "has a range but is not searched; list it to search over it")
    names -= set(overlay.fixed)
    return sorted(names, key=lambda name: schema.leaves[name].order)


def _refusal(schema: Schema, overlay: Overlay, name: str, change: ParameterChange) -> str:
    leaf = schema.leaves.get(name)
    if leaf is None:
        if name in schema.containers:
            return "is a group of parameters, not one; name the parameters in it"
        return f"no such parameter in the schema{nearest(name, schema.leaves)}"
    is_disabled = leaf.enabled is False or name in schema.disabled
    if is_disabled and not overlay.override_automl_disabled_params:
        return (
            "is disabled for search; set override_automl_disabled_params to search it all the same"
        )
    return _unsearchable(leaf, change)


def _unsearchable(leaf: Leaf, change: ParameterChange) -> str:
    if leaf.kind in _NEVER and not change.options:
        return f"{leaf.type_text} is not searchable; fix a value or give options"
    if leaf.kind in _NEEDS_OPTIONS and not (change.options or leaf.options):
        return f"type {leaf.type_name!r} without options is not searchable; give options"
    return ""
