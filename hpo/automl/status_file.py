"""Reads the `status.json` of published trainers: one JSON object a line, metrics under `kpi`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.metrics import find_metric, numbers_of
from hpo.run.plain_files import json_objects

NAME = "status.json"
_FAILED = ("FAILURE", "FAILED")
_EPOCH_KEYS = ("epoch", "cur_epoch", "current_epoch")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """What a trainer reported of one epoch."""

    epoch: int
    """Counted from 1."""
    value: float
    """The metric that was asked for."""
    metrics: dict[str, float]
    """All metrics of the line."""


class StatusFile:
    """Reads what has been added to a trainer's status file since the last look.

    Args:
        folder: the results folder; the file lies in it or in the folder of the action below.
        metric: whose values are wanted.
        actions: names of folders below that may hold the file.
    """

    failure: str | None = None
    """What the file says of a failure, if that is how the trainer ended by it."""

    def __init__(self, folder: Path, metric: str, actions: tuple[str, ...] = ("train",)) -> None:
        self._places = [folder / NAME, *(folder / action / NAME for action in actions)]
        self._metric = metric
        self._read: dict[Path, int] = {}
        self._zero_based: bool | None = None
        self._last_epoch = 0

    def poll(self) -> list[EpochReport]:
        """Return every new line that holds the metric."""
        found = []
        for line in self._new_lines():
            if isinstance(status := line.get("status"), str):
                has_failed = status.strip().upper() in _FAILED
                self.failure = str(line.get("message") or "it says no more") if has_failed else None
            kpi = numbers_of(line.get("kpi"))
            if (value := find_metric(kpi, self._metric)) is not None:
                found.append(EpochReport(epoch=self._epoch_of(line), value=value, metrics=kpi))
        return found

    def _epoch_of(self, line: Mapping[str, Any]) -> int:
        """The line's epoch; where it tells none, one more than the last."""
        named = (line[key] for key in _EPOCH_KEYS if _is_epoch(line.get(key)))
        told: int | None = next(named, None)
        if told is None:
            self._last_epoch += 1
            return self._last_epoch
        if self._zero_based is None:
            self._zero_based = told == 0
        self._last_epoch = max(self._last_epoch, told + bool(self._zero_based))
        return told + bool(self._zero_based)

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        for place in self._places:
            if not place.is_file():
                continue  # nor is a pipe opened, which would wait for its writer
            try:
                text = place.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            start = self._read.get(place, 0)
            if len(text) < start:  # written anew by a trainer that was started again
                start = 0
            end = text.rfind("\n") + 1
            self._read[place] = max(start, end)
            yield from json_objects(text[start:end])


def _is_epoch(value: Any) -> bool:
    """Whether a value can be a number of epochs: what a ledger can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
