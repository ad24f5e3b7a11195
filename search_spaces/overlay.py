"""What a user wants searched, beside the schema: names, ranges, options, fixed values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.clauses import Clause
from search_spaces.errors import SchemaError, nearest
from search_spaces.reading import read_conditions
from search_spaces.schema import Leaf, Schema

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Changes to what is searched, from a study file, the command line or the AutoML route."""

    hyperparameters: tuple[str, ...] | None = None
    """Search exactly these; None searches the schema's default list."""
    extra: tuple[str, ...] = ()
    """Search these too."""
    ranges: Mapping[str, tuple[float, float, bool | None]] = field(default_factory=dict)
    """Name -> (low, high, log); log None leaves the scale to the rule. The name is searched too."""
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Name -> the values to choose from. The name is searched too."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Name -> the one value it has in every trial."""
    custom_param_ranges: Mapping[str, Any] | Sequence[Mapping[str, Any]] = field(
        default_factory=dict
    )
    """The published form: name -> {valid_min, valid_max, valid_options, option_weights, ...}, or a list of
    such mappings with the name under `parameter`. Does not by itself add a name to the search."""
    override_automl_disabled_params: bool = False
    """Also search what the schema disables."""


@dataclass(slots=True, kw_only=True)
class Wish:
    """Everything an overlay says of one parameter, in one form."""

    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    log: bool | None = None
    options: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    stays_number: bool = False
    """`disable_list`: a number that might also be a list stays one number."""
    clauses: tuple[Clause, ...] | None = None
    parents: tuple[str, ...] | None = None

    @property
    def has_range(self) -> bool:
        """Whether an end is given."""
        return self.low is not None or self.high is not None


def gather_wishes(schema: Schema, overlay: Overlay, problems: list[str]) -> dict[str, Wish]:
    """Bring an overlay's ranges and options into one form and check their shape.

    Args:
        schema: names are looked up here.
        overlay: what the user wants.
        problems: every problem found is appended, one line each.
    """
    wishes: dict[str, Wish] = {}
    for name, entry in _published(overlay.custom_param_ranges, problems):
        if _is_known(schema, name, problems):
            wishes[name] = _from_published(schema.leaves[name], entry, problems)
    for name, (low, high, log) in overlay.ranges.items():
        if _is_known(schema, name, problems):
            wish = wishes.setdefault(name, Wish())
            wish.low, wish.high, wish.log = low, high, log
            if log and not (_is_number(low) and low > 0):
                problems.append(
                    f"{name}: low > 0 must hold for a log range, got {low!r}; raise it or drop log"
                )
    for name, options in overlay.options.items():
        if _is_known(schema, name, problems):
            wishes.setdefault(name, Wish()).options = tuple(options)
            if not options:
                problems.append(
                    f"{name}: options must not be empty; name the values to choose from"
                )
    for name, wish in wishes.items():
        _check_range(schema.leaves[name], wish, problems)
    return wishes


def _published(entries: object, problems: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    pairs: list[tuple[Any, Any]]
    if isinstance(entries, Mapping):
        pairs = list(entries.items())
    elif isinstance(entries, Sequence) and not isinstance(entries, str):
        pairs = [
            (entry.get("parameter"), entry) if isinstance(entry, Mapping) else (None, entry)
            for entry in entries
        ]
    else:
        problems.append(f"custom_param_ranges: must be a mapping or a list, got {entries!r}")
        return []
    for name, entry in pairs:
        if isinstance(name, str) and isinstance(entry, Mapping):
            found.append((name, entry))
        else:
            problems.append(
                f"custom_param_ranges: each entry must name a parameter and hold a mapping such as "
                f"{{valid_min: 0.1, valid_max: 1}}, got {name!r}: {entry!r}"
            )
    return found


def _is_known(schema: Schema, name: str, problems: list[str]) -> bool:
    if name in schema.leaves:
        return True
    problems.append(f"{name}: no such parameter in the schema{nearest(name, schema.leaves)}")
    return False


def _from_published(leaf: Leaf, entry: Mapping[str, Any], problems: list[str]) -> Wish:
    name = leaf.name
    for key in entry:
        if key not in (*_PUBLISHED_KEYS, "parameter"):
            problems.append(f"{name}: unknown key {key!r}{nearest(str(key), _PUBLISHED_KEYS)}")
    wish = Wish(
        low=_end(name, "valid_min", entry.get("valid_min"), problems),
        high=_end(name, "valid_max", entry.get("valid_max"), problems),
        stays_number=bool(entry.get("disable_list")),
    )
    options = entry.get("valid_options")
    if options is not None and options != "":
        wish.options = tuple(options.split(",") if isinstance(options, str) else options)
        if not wish.options:
            problems.append(f"{name}: valid_options must not be empty")
    _weigh(leaf, wish, entry.get("option_weights"), problems)
    if entry.get("math_cond") or entry.get("depends_on"):
        depends_on = entry.get("depends_on") or ",".join(leaf.parents)
        try:
            wish.parents, wish.clauses = read_conditions(name, depends_on, entry.get("math_cond"))
        except SchemaError as error:
            problems.append(str(error))
    return wish


def _weigh(leaf: Leaf, wish: Wish, weights: object, problems: list[str]) -> None:
    if weights is None or weights == "":
        return
    options = wish.options or leaf.options
    good = isinstance(weights, Sequence) and not isinstance(weights, str)
    if not options:
        problems.append(f"{leaf.name}: option_weights need options, the parameter has none")
    elif not good or len(weights) != len(options):  # type: ignore[arg-type]  # a sequence if good
        problems.append(
            f"{leaf.name}: option_weights must be one for each of {len(options)} options, got {weights!r}"
        )
    elif not all(_is_number(item) and math.isfinite(item) and item > 0 for item in weights):  # type: ignore[attr-defined]  # a sequence
        problems.append(f"{leaf.name}: option_weights must be finite and above 0, got {weights!r}")
    else:
        wish.weights = tuple(float(item) for item in weights)  # type: ignore[attr-defined]  # a sequence


def _end(name: str, key: str, value: object, problems: list[str]) -> Any:
    if value is None or value == "":
        return None
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not items or not all(_is_number(item) and math.isfinite(item) for item in items):
        problems.append(f"{name}: {key} must be a finite number, got {value!r}")
        return None
    return tuple(items) if isinstance(value, list | tuple) else value


def _check_range(leaf: Leaf, wish: Wish, problems: list[str]) -> None:
    """Check order and place of a range; ends may be lists, compared element by element."""
    low, high = wish.low, wish.high
    if not wish.has_range:
        return
    if isinstance(low, tuple) and isinstance(high, tuple) and len(low) != len(high):
        problems.append(
            f"{leaf.name}: both ends must have equally many elements, got {low} and {high}"
        )
        return
    for start, stop in _pairs(low, high):
        bad = [end for end in (start, stop) if end is not None and not _is_finite(end)]
        if bad:
            problems.append(f"{leaf.name}: a range must have finite ends, got {bad[0]!r}")
        elif start is not None and stop is not None and start >= stop:
            problems.append(
                f"{leaf.name}: low < high must hold, got {start!r} and {stop!r}; swap them?"
            )
    for start, least in _pairs(low, leaf.minimum):
        if start is not None and least is not None and start < least:
            problems.append(_outside(leaf, start, "minimum", least))
        if (
            start is not None
            and leaf.maximum is not None
            and isinstance(leaf.maximum, int | float)
            and start > leaf.maximum
        ):
            problems.append(_outside(leaf, start, "maximum", leaf.maximum))
    for stop, most in _pairs(high, leaf.maximum):
        if stop is not None and most is not None and stop > most:
            problems.append(_outside(leaf, stop, "maximum", most))
        if (
            stop is not None
            and leaf.minimum is not None
            and isinstance(leaf.minimum, int | float)
            and stop < leaf.minimum
        ):
            problems.append(_outside(leaf, stop, "minimum", leaf.minimum))


def _outside(leaf: Leaf, end: float, which: str, bound: float) -> str:
    return f"{leaf.name}: a range must lie inside the schema's, got {end!r} with {which} {bound!r}"


def _pairs(one: Any, other: Any) -> list[tuple[Any, Any]]:
    """Pair two ends element by element; a single number stands for every element."""
    size = max(len(end) if isinstance(end, tuple) else 1 for end in (one, other))
    wide = [end if isinstance(end, tuple) else (end,) * size for end in (one, other)]
    return list(zip(wide[0], wide[1], strict=False))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
