"""Events as JSON: the one place that writes them, and reads them back.

Example: `Epoch(trial=0, epoch=1, value=0.5)` is
`{"event": "epoch", "time": 1700000000.0, "trial": 0, "epoch": 1, "value": 0.5, ...}`.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar

from hpo.core.budget import Budget, parse_budget
from hpo.core.errors import HpoError
from hpo.core.events import (
    AlgorithmStep,
    Averaged,
    CheckpointsRemoved,
    Chosen,
    Confirmed,
    Continued,
    DiskLow,
    Epoch,
    Error,
    Evaluated,
    Event,
    Exported,
    Finished,
    Interrupted,
    Paused,
    Preparing,
    Review,
    Started,
    TrialFinished,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.route_events import Baseline, Compared, Routed

T = TypeVar("T")
EVENTS: tuple[type[Event], ...] = (
    *(Routed, Started, Preparing, Baseline, Review, AlgorithmStep, TrialStarted, Epoch),
    *(TrialFinished, Confirmed, TrialSuspended, CheckpointsRemoved, DiskLow, Paused, Continued),
    *(Chosen, Averaged, Evaluated, Compared, Exported, Finished, Interrupted, Error),
)
"""Every event that a search emits."""
_BY_NAME = {kind.name: kind for kind in EVENTS}


def to_json(event: Event) -> str:
    """One event as a line of strict JSON; a number that JSON does not know becomes null."""
    data = to_dict(event)
    try:
        return json.dumps(data, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(data), allow_nan=False, default=str)


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


def from_json(line: str) -> Event | None:
    """Read one line; None for an unknown event, and for a line that a kill has cut off."""
    try:
        data = json.loads(line)
        return from_dict(_BY_NAME[data["event"]], data)
    except (ValueError, TypeError, KeyError, HpoError):
        return None


def from_dict(kind: type[T], data: Mapping[str, Any]) -> T:
    """Make an event, or what an event holds, of its plain data.

    What no field is named after goes to the `FLAT` field; without one it is left out.

    Raises:
        ValueError: for a value that the field cannot hold.
        TypeError: where a field without a default is missing.
    """
    hints = typing.get_type_hints(kind)
    items = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    flat = [name for name, item in items.items() if item.metadata.get("flat")]
    known = {key: _read(hints[key], data[key]) for key in data if key in items}
    rest = {key: data[key] for key in data if key not in items and key != "event"}
    return kind(**known, **dict.fromkeys(flat, rest))


def _read(hint: Any, value: Any) -> Any:
    """A field's value from its plain form, by the field's type."""
    if value is None:
        return None
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _read(next(arg for arg in args if arg is not types.NoneType), value)
    if origin in (tuple, Sequence):
        return tuple(_read(args[0], item) for item in value)
    if hint is Budget:
        return parse_budget(value) if value else Budget()
    if is_dataclass(hint):
        return from_dict(hint, value)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
