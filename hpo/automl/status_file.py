"""Reads the `status.json` of published trainers: one JSON object a line, metrics under `kpi`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.core.metric_values import find_metric, numbers_of
from hpo.run.plain_files import json_objects, read_printed
from hpo.run.status_lines import StatusLines

NAME = "status.json"
_FAILED = ("FAILURE", "FAILED")


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
        start: the epoch that the training goes on from.
    """

    failure: str | None = None
    """What the file says of a failure, if that is how the trainer ended by it."""

    def __init__(
        self, folder: Path, metric: str, actions: tuple[str, ...] = ("train",), *, start: int = 0
    ) -> None:
        self._places = [folder / NAME, *(folder / action / NAME for action in actions)]
        self._metric = metric
        self._read: dict[Path, int] = {}
        self._earlier: dict[Path, tuple[int, str]] = {}
        """When a file of an earlier training was written, and what it held."""
        self._lines = StatusLines(start)
        self._last_epoch = 0

    def skip(self) -> None:
        """Take what is there by now for lines of an earlier training."""
        self._earlier = {
            place: (place.stat().st_mtime_ns, read_printed(place))
            for place in self._places
            if place.is_file()
        }

    def poll(self) -> list[EpochReport]:
        """Return every new value of the metric; one whose epoch no line tells is the next one."""
        found = []
        for line in self._new_lines():
            if isinstance(status := line.get("status"), str):
                has_failed = status.strip().upper() in _FAILED
                self.failure = str(line.get("message") or "it says no more") if has_failed else None
            for told, metrics in self._lines.read(line):
                kpi = numbers_of(metrics)
                if (value := find_metric(kpi, self._metric)) is not None:
                    epoch = self._last_epoch + 1 if told is None else told
                    self._last_epoch = max(self._last_epoch, epoch)
                    found.append(EpochReport(epoch=epoch, value=value, metrics=kpi))
        return found

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        for place in self._places:
            if not place.is_file():
                continue  # nor is a pipe opened, which would wait for its writer
            written, earlier = self._earlier.get(place, (-1, ""))
            try:
                if place.stat().st_mtime_ns == written:
                    continue
                text = place.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            self._earlier.pop(place, None)
            is_longer = text.startswith(earlier) and text != earlier
            start = self._read.get(place, len(earlier) if is_longer else 0)
            if len(text) < start:  # written anew by a trainer that was started again
                start = 0
            end = text.rfind("\n") + 1
            self._read[place] = max(start, end)
            yield from json_objects(text[start:end])
