"""Reads the keys of one schema node: types, bounds, options, conditions.

What cannot be understood is an error; what is understood and has no effect is a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.clauses import Clause, parse_condition, parse_dependency
from search_spaces.errors import SchemaError
from search_spaces.schema import Bound, Kind, is_finite, is_number

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
_INFINITE = ("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")
_ABSENT = ("", "nan")
_LARGEST = 1e300
"""From here on a bound stands for none, as the largest float does; a width would be infinite."""
_LIMITS = {
    "exclusiveMinimum": (">", "minimum"),
    "exclusiveMaximum": ("<", "maximum"),
    "multipleOf": ("/", ""),
}
"""What JSON Schema calls conditions: their operator, and the bound that is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """What values a node takes."""

    kind: Kind
    type_name: str
    options: tuple[Any, ...]
    allows_list: bool
    """A number that may also be written as a list."""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """The alternative that decides; what it says counts where the node itself says nothing."""


def read_typing(name: str, node: Mapping[str, Any]) -> Typing:
    """Read `type`, `anyOf`, `oneOf`, `enum` and `const`; of several alternatives the first decides.

    Bounds beside alternatives belong to the numeric one, which then decides.
    """
    listed = [*(node.get("anyOf") or ()), *(node.get("oneOf") or ())]
    alternatives = [item for item in listed if isinstance(item, Mapping)]
    type_name, options = node.get("type"), _enum(node)
    if isinstance(type_name, list):
        alternatives += [{"type": item} for item in type_name]
        type_name = None
    kinds = [(_kind(_type_of(item)), item) for item in alternatives]
    kinds = [(kind, item) for kind, item in kinds if item.get("type") != "null"]
    if not kinds:
        type_name = type_name or _type_of(node)
    if type_name is not None or not kinds:
        return Typing(
            kind=_kind(type_name),
            type_name=str(type_name or ""),
            options=_read_options(name, options),
            allows_list=False,
        )
    has_bounds = node.get("minimum") is not None or node.get("maximum") is not None
    numbers = [pair for pair in kinds if pair[0].is_number]
    kind, chosen = (numbers if has_bounds and numbers else kinds)[0]
    theirs = _enum(chosen)
    if isinstance(options, list) and isinstance(theirs, list):
        options = [option for option in options if option in theirs]
        if not options:
            raise SchemaError(
                f"{name}: an option of enum must be one of {theirs} beside it, too, got "
                f"{_enum(node)}; correct the schema"
            )
    return Typing(
        kind=kind,
        type_name=str(_type_of(chosen) or ""),
        options=_read_options(name, theirs if options is None else options),
        allows_list=kind.is_number and any(other is Kind.LIST for other, _ in kinds),
        chosen=chosen,
    )


def _type_of(node: Mapping[str, Any]) -> object:
    """The type; JSON Schema asks for none beside options."""
    told = node.get("type")
    return Kind.CATEGORICAL if told is None and _enum(node) is not None else told


def _enum(node: Mapping[str, Any]) -> object:
    return [node["const"]] if "const" in node else node.get("enum")


def _read_options(name: str, options: object) -> tuple[Any, ...]:
    """Read `enum`; blanks and line ends around texts are noise."""
    if options is None:
        return ()
    if not isinstance(options, list):
        raise SchemaError(
            f"{name}: enum must be a list, got {shape_of(options)}; correct the schema"
        )
    return tuple(item.strip() if isinstance(item, str) else item for item in options)


def read_weights(name: str, weights: object, num_options: int) -> tuple[float, ...]:
    """Read `option_weights`: one number above 0 for each option."""
    if weights is None:
        return ()
    given = weights if isinstance(weights, list) else []
    is_good = all(is_finite(item) and item > 0 for item in given)
    if not is_good or len(given) != num_options:
        raise SchemaError(
            f"{name}: option_weights must be one number above 0 for each of {num_options} options, "
            f"got {weights!r}; correct the schema"
        )
    return tuple(float(item) for item in given)


def read_flag(name: str, flag: object) -> bool | None:
    """Read `automl_enabled`; None when it is absent."""
    if flag is None or isinstance(flag, bool):
        return flag
    if isinstance(flag, str) and flag.strip().lower() in ("true", "false"):
        return flag.strip().lower() == "true"
    raise SchemaError(
        f"{name}: automl_enabled must be true or false, got {flag!r}; correct the schema"
    )


def read_bound(name: str, key: str, value: object, warnings: list[str]) -> Bound:
    """Read `minimum` or `maximum`; None where it bounds nothing."""
    if isinstance(value, list):
        return tuple(_finite(name, key, item, warnings)[0] for item in value)
    return _finite(name, key, value, warnings)[0]


def read_positive_from(name: str, value: object, warnings: list[str]) -> float:
    """Read the least value above 0; 0 where there is none."""
    number, _ = _finite(name, "positive_from", value, warnings)
    return 0.0 if number is None else float(number)


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


def read_limits(name: str, node: Mapping[str, Any]) -> tuple[Clause, ...]:
    """Read `exclusiveMinimum`, `exclusiveMaximum` and `multipleOf` of JSON Schema.

    Raises:
        SchemaError: when one of them is no number, or the multiple is not above 0.
    """
    clauses: list[Clause] = []
    for key, (op, closed) in _LIMITS.items():
        value = node.get(key)
        if value is True and closed:  # as drafts up to 4 write it
            value = node.get(closed)
        if (
            value is None
            or value is False
            or (closed and _finite(name, key, value, []) == (None, True))
        ):
            continue
        if not is_finite(value) or (op == "/" and value <= 0):
            least = " above 0" if op == "/" else ""
            raise SchemaError(
                f"{name}: {key} must be a number{least}, got {value!r}; correct the schema"
            )
        clauses.append(Clause(op, float(value)))
    return tuple(clauses)


def shape_of(value: object) -> str:
    """Say what a value is, for messages."""
    if value is None:
        return "nothing"
    names = {bool: "a truth value", int: "a number", float: "a number", str: "text"}
    return names.get(type(value), f"a {type(value).__name__}")


def _kind(type_name: object) -> Kind:
    return _KINDS.get(str(type_name), Kind.UNKNOWN)


def _finite(name: str, key: str, value: object, warnings: list[str]) -> tuple[float | None, bool]:
    """Return one bound as a finite number or None, and whether it was infinite."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _INFINITE or text in _ABSENT:
            return None, text in _INFINITE
        try:
            value = float(value)
        except ValueError:
            warnings.append(f"{name}: {key} {value!r} is not a number, so it bounds nothing")
            return None, False
    if value is None:
        return None, False
    if not is_number(value):
        warnings.append(f"{name}: {key} {value!r} is not a number, so it bounds nothing")
        return None, False
    if is_finite(value) and abs(value) < _LARGEST:
        return value, False
    return None, value == value  # noqa: PLR0124 - NaN
