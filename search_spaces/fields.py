"""Reads the keys of one schema node: types, bounds, options, conditions.

What cannot be understood is an error; what is understood and has no effect is a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


def read_typing(name: str, node: Mapping[str, Any]) -> Typing:
    """Read `type`, `enum` and `const` of a node without alternatives."""
    return Typing(
        kind=kind_of(node),
        type_name=str(_type_of(node) or ""),
        options=_read_options(name, options_of(node)),
    )


def options_of(node: Mapping[str, Any]) -> object:
    """What `enum` or `const` says; None where there is neither."""
    return [node["const"]] if "const" in node else node.get("enum")


def kind_of(node: Mapping[str, Any]) -> Kind:
    """What values a node without alternatives takes."""
    return _KINDS.get(str(_type_of(node)), Kind.UNKNOWN)


def _type_of(node: Mapping[str, Any]) -> object:
    """The type; JSON Schema asks for none beside options."""
    told = node.get("type")
    return Kind.CATEGORICAL if told is None and options_of(node) is not None else told


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
