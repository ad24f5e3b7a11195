"""The JSON Schema of study files, made from the dataclasses of a study, and validation by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_type_hints

from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.text import nearest, quoted

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_KINDS: dict[Any, tuple[str | list[str], str]] = {
    str: ("string", "text"),
    str | None: (["string", "null"], "text"),
    int: ("integer", "a whole number"),
    int | None: (["integer", "null"], "a whole number"),
    int | str | None: (["integer", "string", "null"], "a whole number or auto"),
    float | None: (["number", "null"], "a number"),
    bool: ("boolean", "true or false"),
    Budget: (["string", "integer"], "a budget such as 20, 2h or 500epochs"),
    Mapping[str, Any]: (["object", "null"], "a mapping"),
    tuple[str, ...]: ("array", "a list of names"),
}
"""Type of a field -> what YAML may hold there, and its name in messages."""


def schema_of(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of a dataclass; one in a field is a section of its own."""
    hints = get_type_hints(kind)
    return {
        "type": ["object", "null"],
        "title": "a mapping",
        "additionalProperties": False,
        "properties": {item.name: _property(hints[item.name]) for item in fields(kind)},
    }


def _property(hint: Any) -> dict[str, Any]:
    if hint not in _KINDS:
        return schema_of(hint)
    legal, title = _KINDS[hint]
    items = {"items": {"type": "string"}} if legal == "array" else {}
    return {"type": legal, "title": title, **items}


def check_shape(kind: type, data: Any, where: str) -> None:
    """Check the keys and types of plain data against a dataclass.

    Raises:
        SpecError: for the first problem, with its path.
    """
    errors = sorted(_validator(kind).iter_errors(data), key=lambda error: len(error.absolute_path))
    if errors:
        raise SpecError(_describe(errors[0], where))


def values_of(kind: Any, data: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values of a section that fits a dataclass.

    Lists become tuples, and a section that is left empty a mapping.
    """
    given = dict(data or {})
    for item in fields(kind):
        value = given.get(item.name)
        if isinstance(value, list):
            given[item.name] = tuple(value)
        elif item.name in given and value is None and item.default_factory is not MISSING:
            given[item.name] = {}
    return given


@lru_cache
def _validator(kind: type) -> Validator:
    from jsonschema import Draft202012Validator, validators

    # JSON Schema takes 2.0 for an integer; here a whole number is written as one.
    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ).redefine("array", lambda _, value: isinstance(value, list | tuple))
    checked: Any = validators.extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    validator: Validator = checked(schema_of(kind))
    return validator


def _describe(error: ValidationError, where: str) -> str:
    path = list(error.absolute_path)
    schema: dict[str, Any] = dict(error.schema)  # type: ignore[arg-type]  # never a bare true
    given: Any = error.instance
    if error.validator == "additionalProperties":
        known = list(schema["properties"])
        key = next(key for key in given if key not in known)
        guess = nearest(str(key), known) or f"; it may hold {', '.join(known)}"
        return f"{_place(where, path)}: unknown key {quoted(key)}{guess}"
    if path and isinstance(path[-1], int):  # an element of a list of names
        return f"{_place(where, path[:-1])}: must be a list of names, got {quoted(given)} in it"
    return f"{_place(where, path)}: must be {schema['title']}, got {quoted(given)}"


def _place(where: str, path: Sequence[Any]) -> str:
    """A path below a file: `FILE: section.key`."""
    return f"{where}: {'.'.join(map(str, path))}" if path else where
