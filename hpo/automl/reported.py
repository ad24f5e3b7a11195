"""Reads what a caller reports of a trial; what is wrong is refused while the trial still waits."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.automl.arguments import shown
from hpo.automl.errors import AutoMLError
from hpo.automl.hooks import parse_number
from hpo.automl.metrics import METRIC_NOT_FOUND
from hpo.automl.objectives import Objectives
from hpo.automl.sdk import CANCELED, DONE, FAILED, status_of
from hpo.core.text import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What is known of a trial that its caller has trained."""

    values: dict[str, float] = field(default_factory=dict)
    """The value of every objective."""
    best_epoch: int | None = None
    failure: str = ""
    """Why it has no values; empty where it has them."""


def read_id(given: Any, waiting: Collection[int]) -> int:
    """The number of a trial that waits for its values.

    Raises:
        AutoMLError: where none of that number does.
    """
    with contextlib.suppress(TypeError):
        number = operator.index(given)
        if not isinstance(given, bool) and number in waiting:
            return number
    known = ", ".join(map(str, sorted(waiting))) or "none"
    raise AutoMLError(f"rec_id: {shown(given)} is not waiting for a result; these are: {known}")


def read_report(
    objectives: Objectives, value: Any, best_epoch: Any, status: Any, *, epochs: int | None
) -> Reported:
    """Check what was reported.

    Args:
        objectives: what is optimized.
        value: a number, a mapping of metric -> number, or None where there is none.
        best_epoch: the epoch of the value, or None.
        status: a word for success or failure.
        epochs: how long the trial was to be trained; None where only the caller knows.

    Raises:
        AutoMLError: for what has another type, lies out of range or names none of the objectives.
    """
    word = status_of(status)
    if word not in DONE | FAILED | CANCELED:
        hint = nearest(word, DONE | FAILED | CANCELED)
        raise AutoMLError(f"status: must be success or failure, got {shown(status)}{hint}")
    epoch = _read_epoch(best_epoch, epochs)
    if word not in DONE:
        return Reported(failure=f"reported as {word}")
    values = _read_values(objectives, value)
    missing = objectives.missing(values)
    if not missing:
        return Reported(values=values, best_epoch=epoch)
    names = ", ".join(repr(name) for name in missing) if objectives.is_several else ""
    return Reported(failure=METRIC_NOT_FOUND + (f": {names}" if names else ""))


def _read_epoch(given: Any, epochs: int | None) -> int | None:
    if given is None:
        return None
    epoch = 0
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if not isinstance(given, str) and parse_number(given).is_integer():
            epoch = int(given)
    if epoch < 1 or (epochs is not None and epoch > epochs):
        limit = f"from 1 to {epochs}" if epochs is not None else "of at least 1"
        raise AutoMLError(f"best_epoch: must be a whole number {limit}, got {shown(given)}")
    return epoch


def _read_values(objectives: Objectives, value: Any) -> dict[str, float]:
    """The value of every objective that has one."""
    if not isinstance(value, Mapping):
        value = {objectives.primary.metric: value}
    elif not objectives.names_any(value):
        names = ", ".join(repr(name) for name in objectives.names)
        raise AutoMLError(f"value: must be a number, or name {names}, got {shown(value)}")
    found = {}
    for name, told in objectives.named(value).items():
        if told is None:
            continue
        try:
            found[name] = parse_number(told)
        except OverflowError as error:
            raise AutoMLError(f"value: {name}: is too large for a number") from error
        except (TypeError, ValueError) as error:
            raise AutoMLError(
                f"value: {name}: must be a number, or None where there is none, got {shown(told)}"
            ) from error
    return found
