"""Events as JSON: the one place that writes them, and reads them back.

Example: `Epoch(trial=0, epoch=1, value=0.5)` is
`{"event": "epoch", "time": 1700000000.0, "trial": 0, "epoch": 1, "value": 0.5, ...}`.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from hpo.core import events, route_events
from hpo.core.budget import Budget, parse_budget
from hpo.core.errors import HpoError
from hpo.core.events import Event
from hpo.core.route_events import JobFinished
from hpo.core.text import quoted, storable

T = TypeVar("T")
Reader = Callable[[Any], Any]
"""Makes a value of its plain form; raises ValueError for what it cannot be made of."""
EVENTS: tuple[type[Event], ...] = tuple(
    kind
    for module in (events, route_events)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Event) and hasattr(kind, "name")
    if kind is not JobFinished
)
"""Every event that a search emits."""
_BY_NAME = {kind.name: kind for kind in EVENTS}


def to_json(event: Event) -> str:
    """One event as a line of strict JSON; a number that JSON does not know becomes null."""
    return strict_json(to_dict(event))


def strict_json(data: Any, indent: int | None = None) -> str:
    """Plain data as JSON that any reader takes.

    A number that JSON does not know becomes null, and bytes of paths that are no UTF-8 are spelt
    out.
    """
    how: dict[str, Any] = {"indent": indent, "allow_nan": False, "default": str}
    try:
        text = json.dumps(data, **how)
    except ValueError:
        text = json.dumps(data := _finite(data), **how)
    return json.dumps(_storable(data), **how) if _STRAY_BYTE in text else text


_STRAY_BYTE = r"\udc"
"""How a byte that is no UTF-8 begins where JSON is written."""


def _storable(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {_storable(key): _storable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_storable(value) for value in data]
    return storable(str(data)) if isinstance(data, str | Path) else data


def to_dict(event: Event) -> dict[str, Any]:
    """One event as plain data."""
    return {"event": event.name, "time": event.time, **data_of(event)}


def data_of(event: Event) -> dict[str, Any]:
    """An event's own fields as plain data, without its name and time."""
    data: dict[str, Any] = {}
    for item in fields(event):
        value = getattr(event, item.name)
        if item.metadata.get("flat"):
            data.update(to_plain(value))
        elif item.name != "time" and not (value is None and item.metadata.get("if_known")):
            data[item.name] = to_plain(value)
    return data


def to_plain(value: Any) -> Any:
    """Plain data for JSON: a budget in its grammar, a dataclass as an object."""
    if isinstance(value, Budget):
        return value.to_text()
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {
            item.name: to_plain(kept)
            for item in fields(value)
            if (kept := getattr(value, item.name)) is not None or not item.metadata.get("if_known")
        }
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def from_json(line: str | bytes) -> Event | None:
    """Read one line; None for an unknown event, and for a line that a kill has cut off."""
    try:
        data = json.loads(line)
        return from_dict(_BY_NAME[data["event"]], data)
    except (ValueError, TypeError, KeyError):
        return None


def from_dict(kind: type[T], data: Mapping[str, Any]) -> T:
    """Make an event, or what an event holds, of its plain data.

    What no field is named after goes to the `FLAT` field; without one it is left out. Data of a
    file may be damaged anywhere, so every value is held against its field's type.

    Raises:
        ValueError: for a value that the field cannot hold, and where one without a default is
            missing.
    """
    readers, flat = _readers_of(kind)  # type: ignore[arg-type]  # a class is hashable
    if not isinstance(data, Mapping):
        raise _unfit(kind, data)
    known = {key: readers[key](value) for key, value in data.items() if key in readers}
    rest = {key: value for key, value in data.items() if key not in readers and key != "event"}
    try:
        return kind(**known, **dict.fromkeys(flat, rest))
    except TypeError as error:
        raise ValueError(str(error)) from error


@lru_cache
def _readers_of(kind: type) -> tuple[dict[str, Reader], list[str]]:
    """What reads a dataclass's fields by their names, and which of them are `FLAT`."""
    hints, items = typing.get_type_hints(kind), fields(kind)
    flat = [item.name for item in items if item.metadata.get("flat")]
    return {item.name: _reader(hints[item.name]) for item in items}, flat


def _reader(hint: Any) -> Reader:
    """What makes a field's value of its plain form, by the field's type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin is types.UnionType:
        (inner,) = (_reader(arg) for arg in args if arg is not types.NoneType)
        return lambda value: None if value is None else inner(value)
    if origin is not None:
        return _reader_of_many(origin, args)
    if hint is Budget:
        return _read_budget
    if is_dataclass(hint):
        return lambda value: from_dict(hint, value)  # type: ignore[arg-type]
    if issubclass(hint, StrEnum):
        known_word: Reader = hint
        return known_word
    return _reader_of_one(hint)


def _read_budget(value: Any) -> Budget:
    if not isinstance(value, str):
        return from_dict(Budget, value)
    try:
        return parse_budget(value) if value else Budget()
    except HpoError as error:
        raise ValueError(str(error)) from error


def _reader_of_one(hint: type) -> Reader:
    legal = (int, float) if hint is float else hint

    def read(value: Any) -> Any:
        if not isinstance(value, legal) or (isinstance(value, bool) and hint is not bool):
            raise _unfit(hint, value)
        return value

    return read


def _reader_of_many(origin: Any, args: tuple[Any, ...]) -> Reader:
    """What reads a mapping, or a sequence, whose items are read by their types."""
    readers = [_reader(arg) for arg in args if arg is not ...]
    if issubclass(origin, Mapping):
        return partial(_read_mapping, origin, readers[1])
    is_fixed = origin is tuple and args[-1] is not ...
    return partial(_read_items, origin, readers if is_fixed else readers[0])


def _read_mapping(kind: Any, read: Reader, value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _unfit(kind, value)
    return {key: read(item) for key, item in value.items()}


def _read_items(kind: Any, read: Reader | list[Reader], value: Any) -> Any:
    """A sequence whose items have a reader each, or all the same."""
    if not isinstance(value, list | tuple):
        raise _unfit(kind, value)
    readers = (
        zip(read, value, strict=True) if isinstance(read, list) else ((read, v) for v in value)
    )
    items = [one(item) for one, item in readers]
    return items if kind is list else tuple(items)


def _unfit(hint: Any, value: Any) -> ValueError:
    return ValueError(f"must be {getattr(hint, '__name__', hint)}, got {quoted(value)}")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
