"""Reads an overlay's ranges and options into one form and reports everything wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.errors import SchemaError, nearest
from search_spaces.fields import read_conditions
from search_spaces.notes import Notes
from search_spaces.overlay import End, Overlay, ParameterChange
from search_spaces.schema import Leaf, Schema, is_finite, is_number

_PUBLISHED_KEYS = (
    "valid_min",
    "valid_max",
    "valid_options",
    "option_weights",
    "disable_list",
    "depends_on",
    "math_cond",
    "parent_param",
)


def gather_changes(schema: Schema, overlay: Overlay, notes: Notes) -> dict[str, ParameterChange]:
    """Return what the overlay says of each parameter; what it says twice is a problem."""
    changes: dict[str, ParameterChange] = {}
    for name, entry in _published(overlay.custom_param_ranges, notes):
        if _is_known(schema, name, notes):
            changes[name] = _from_published(schema.leaves[name], entry, notes)
            _demand_one(name, changes[name], overlay, notes)
    for name in overlay.ranges:
        if _is_known(schema, name, notes):
            _take_range(changes.setdefault(name, ParameterChange()), name, overlay, notes)
    for name, options in overlay.options.items():
        if _is_known(schema, name, notes):
            changes.setdefault(name, ParameterChange()).options = tuple(options)
            if not options:
                notes.problem(name, "options must not be empty; name the values to choose from")
    for name, change in changes.items():
        _check_range(schema.leaves[name], change, notes)
    return changes


def _demand_one(name: str, change: ParameterChange, overlay: Overlay, notes: Notes) -> None:
    """Note what else the overlay says of a parameter in place of its published range."""
    if name in overlay.fixed:
        notes.problem(name, "is fixed and in custom_param_ranges; drop one of the two")
    elif (name in overlay.ranges or name in overlay.options) and (
        change.has_range or change.options
    ):
        notes.problem(name, "has a range or options, and others in custom_param_ranges")


def _take_range(change: ParameterChange, name: str, overlay: Overlay, notes: Notes) -> None:
    low, high, change.log = overlay.ranges[name]
    change.low, change.high = _end(name, "low", low, notes), _end(name, "high", high, notes)
    if change.log and is_number(change.low) and change.low <= 0:
        notes.problem(name, f"low > 0 must hold for a log range, got {low!r}; raise it")


def _published(entries: object, notes: Notes) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (name, entry) of both published forms."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(entries, Mapping):
        pairs = list(entries.items())
    elif isinstance(entries, Sequence) and not isinstance(entries, str):
        for entry in entries:
            name = entry.get("parameter") if isinstance(entry, Mapping) else None
            pairs.append((name, entry))
    else:
        notes.problem("custom_param_ranges", f"must be a mapping or a list, got {entries!r}")
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, entry in pairs:
        if isinstance(name, str) and isinstance(entry, Mapping):
            found.append((name, entry))
        else:
            notes.problem(
                "custom_param_ranges",
                "each entry must name a parameter and hold a mapping such as {valid_min: 0.1, "
                f"valid_max: 1}}, got {name!r}: {entry!r}",
            )
    return found


def _is_known(schema: Schema, name: str, notes: Notes) -> bool:
    if name in schema.leaves:
        return True
    known = nearest(name, schema.leaves)
    notes.problem(name, f"no such parameter in the schema{known}")
    return False


def _from_published(leaf: Leaf, entry: Mapping[str, Any], notes: Notes) -> ParameterChange:
    name = leaf.name
    for key in entry:
        if key not in (*_PUBLISHED_KEYS, "parameter"):
            notes.problem(name, f"unknown key {key!r}{nearest(str(key), _PUBLISHED_KEYS)}")
    change = ParameterChange(
        low=_end(name, "valid_min", entry.get("valid_min"), notes),
        high=_end(name, "valid_max", entry.get("valid_max"), notes),
        stays_number=bool(entry.get("disable_list")),
    )
    options = entry.get("valid_options")
    if isinstance(options, str):
        change.options = tuple(part for part in options.split(",") if part.strip())
    elif isinstance(options, Sequence):
        change.options = tuple(options)
        if not change.options:
            notes.problem(name, "valid_options must not be empty; name the values to choose from")
    elif options is not None:
        notes.problem(name, f"valid_options must be a list, got {options!r}")
    _weigh(leaf, change, entry.get("option_weights"), notes)
    if entry.get("math_cond") or entry.get("depends_on"):
        depends_on = entry.get("depends_on") or ",".join(leaf.parents)
        try:
            change.parents, change.clauses = read_conditions(
                name, depends_on, entry.get("math_cond")
            )
        except SchemaError as error:
            notes.problems.append(str(error))
    return change


def _weigh(leaf: Leaf, change: ParameterChange, weights: object, notes: Notes) -> None:
    """Take over option weights: one above 0 per option."""
    if weights is None or weights == "":
        return
    options = change.options or leaf.options
    given = list(weights) if isinstance(weights, list | tuple) else []
    if not options:
        notes.problem(leaf.name, "option_weights need options, and the parameter has none")
    elif len(given) != len(options):
        notes.problem(
            leaf.name,
            f"option_weights must be one for each of {len(options)} options, got {weights!r}",
        )
    elif not all(is_finite(item) and item > 0 for item in given):
        notes.problem(leaf.name, f"option_weights must be finite and above 0, got {weights!r}")
    else:
        change.weights = tuple(float(item) for item in given)


def _end(name: str, key: str, value: Any, notes: Notes) -> End:
    """Return one end of a range; None when it is absent or wrong."""
    if value is None or value == "":
        return None
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not items or not all(is_finite(item) for item in items):
        notes.problem(name, f"{key} must be a finite number, got {value!r}")
        return None
    return tuple(items) if isinstance(value, list | tuple) else items[0]


def _check_range(leaf: Leaf, change: ParameterChange, notes: Notes) -> None:
    """Check order and place of a range; ends may be lists, compared element by element."""
    low, high = change.low, change.high
    if change.has_range and change.options:
        notes.problem(leaf.name, "has a range and options; drop one of the two")
        return
    if isinstance(low, tuple) and isinstance(high, tuple) and len(low) != len(high):
        notes.problem(leaf.name, f"both ends must have equally many elements, got {low} and {high}")
        return
    for start, stop in _pairs(low, high):
        if start is not None and stop is not None and start >= stop:
            advice = "to keep one value, fix it" if start == stop else "swap them?"
            notes.problem(leaf.name, f"low < high must hold, got {start!r} and {stop!r}; {advice}")
    for end in (low, high):
        _check_inside(leaf, _pairs(end, leaf.minimum), "minimum", notes)
        _check_inside(leaf, _pairs(end, leaf.maximum), "maximum", notes)


def _check_inside(leaf: Leaf, pairs: list[tuple[Any, Any]], kind: str, notes: Notes) -> None:
    """Check ends of a range against the schema's bound of one kind."""
    for number, bound in pairs:
        if number is None or bound is None:
            continue
        if number < bound if kind == "minimum" else number > bound:
            told = f"got {number!r} beside {kind} {bound!r}"
            notes.problem(leaf.name, f"a range must lie inside the schema's, {told}")


def _pairs(one: Any, other: Any) -> list[tuple[Any, Any]]:
    """Pair two ends element by element; a single number stands for every element."""
    size = max(len(end) if isinstance(end, tuple) else 1 for end in (one, other))
    wide = [end if isinstance(end, tuple) else (end,) * size for end in (one, other)]
    return list(zip(wide[0], wide[1], strict=False))
