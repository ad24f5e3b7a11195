"""Reads the `status.json` of published trainers: one JSON object a line, metrics under `kpi`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.core.metric_values import find_metric, numbers_of
from hpo.run.growing_file import GrowingFile
from hpo.run.plain_files import json_objects
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
        places = [folder / NAME, *(folder / action / NAME for action in actions)]
        self._files = [GrowingFile(place) for place in places]
        self._metric = metric
        self._lines = StatusLines(start)
        self._last_epoch = 0

    def skip(self) -> None:
        """Take what is there by now for lines of an earlier training."""
        for file in self._files:
            with contextlib.suppress(OSError):
                file.skip()

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
        for file in self._files:
            with contextlib.suppress(OSError):
                yield from json_objects("\n".join(file.new_lines()))
