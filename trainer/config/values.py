"""Converts one spec value to its declared type, or reports what must hold.

YAML 1.1 takes `1e-4` for a string, so numbers and truth values spelt as text are read; nothing else
is bent to fit.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from trainer.config.bounds import valid_bounds
from trainer.config.fields import KeyInfo

_TRUTHS = {"true": True, "false": False}


class ValueProblem(Exception):  # noqa: N818 - caught and collected where the path is known
    """What must hold of a value and what was got."""


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse(wanted: str, value: Any) -> ValueProblem:
    return ValueProblem(f"must be {wanted}, got {_shown(value)}")


def _number(value: Any) -> float | None:
    """Return the finite number that a value spells, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    try:
        is_finite = isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return None
    return value if is_finite else None


def _read_number(info: KeyInfo, value: Any) -> float:
    bounds, number, is_whole = valid_bounds(info), _number(value), info.kind == "int"
    if number is None or (is_whole and number != int(number)):
        raise _refuse(f"a {'whole ' * is_whole}number {bounds}".rstrip(), value)
    number = int(number) if is_whole else number
    if not bounds.holds(number):
        raise _refuse(str(bounds), number)
    if 0 < number < (info.positive_from or 0):
        raise _refuse(f"0 or {info.positive_from:g} and more", number)
    return number if is_whole else float(number)


def _read_bool(_info: KeyInfo, value: Any) -> bool:
    if isinstance(value, str):
        value = _TRUTHS.get(value.lower(), value)
    if not isinstance(value, bool):
        raise _refuse("true or false", value)
    return value


def _read_string(_info: KeyInfo, value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _refuse("a string", value)
    return value


def _read_categorical(info: KeyInfo, value: Any) -> str:
    if isinstance(value, str):
        if value in info.options or (info.pattern and re.fullmatch(info.pattern, value)):
            return value
        for option in info.options:
            if option.lower() == value.lower():
                raise ValueProblem(f"must be {option} in this spelling, got {value!r}")
    wanted = "one of " + ", ".join(info.options)
    if info.pattern:
        wanted += f" or {info.pattern_hint}"
    raise _refuse(wanted, value)


def _read_list(info: KeyInfo, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _refuse("a list", value)
    if info.lengths and len(value) not in info.lengths:
        lengths = " or ".join(str(length) for length in info.lengths)
        raise _refuse(f"a list of {lengths} values", value)
    member = KeyInfo(kind=_ITEM_KINDS[info.item], description="")
    try:
        return tuple(_READERS[member.kind](member, item) for item in value)
    except ValueProblem as problem:
        raise ValueProblem(f"every member {problem}") from None


_ITEM_KINDS: Mapping[type, Any] = {float: "float", int: "int", str: "string"}

_READERS: Mapping[str, Callable[[KeyInfo, Any], Any]] = {
    "float": _read_number,
    "int": _read_number,
    "bool": _read_bool,
    "string": _read_string,
    "categorical": _read_categorical,
    "list": _read_list,
    "list_3": _read_list,
}


def read_value(info: KeyInfo, value: Any) -> Any:
    """Return the value in its declared type.

    Args:
        info: declaration of a leaf.
        value: what the spec holds, as YAML or Python gave it.

    Raises:
        ValueProblem: when type, range, options or length do not hold.
    """
    return _READERS[info.kind](info, value)
