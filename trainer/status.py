"""Writes `status.jsonl` and the published `status.json` of a run.

`status.jsonl` has one line per epoch: the entry that is reported, `value` null where the epoch was
not validated. `status.json` has the published trainer's lines (despite its name also one JSON
object a line): `date`, `time`, `status` (STARTED, RUNNING, SUCCESS, FAILURE), `verbosity`,
`message`, and for validated epochs `epoch`, `max_epoch`, `time_per_epoch`, `eta` and `kpi`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from trainer.config.skill_info import PUBLISHED_METRIC
from trainer.durable_files import write_text
from trainer.errors import TrainerError

STATUS = "status.jsonl"
_PUBLISHED_STATUS = "status.json"
TEST_METRIC = "test Precision at Rank 1"
"""What an evaluation by itself reports: of one checkpoint, on the data that it is given."""


class StatusFiles:
    """Both files of one run.

    Args:
        folder: the run's own folder.
        num_epochs: epochs that the run is to have.
        areas: share of a whole picture that each epoch's have.
    """

    def __init__(self, folder: Path, num_epochs: int, areas: Sequence[float] = ()) -> None:
        self._folder = folder
        self._num_epochs = num_epochs
        self._areas = areas

    def begin(self, history: list[dict[str, Any]]) -> None:
        """Start both files with the lines of epochs that a resumed run already had."""
        lines = [_dated("STARTED", "Starting training.")]
        lines += [self._published(entry) for entry in history if entry["value"] is not None]
        self._write(STATUS, history)
        self._write(_PUBLISHED_STATUS, lines)

    def add(self, entry: dict[str, Any]) -> None:
        """Append the line of an epoch."""
        self._append(STATUS, entry)
        if entry["value"] is not None:
            self._append(_PUBLISHED_STATUS, self._published(entry))

    def end(self, status: str, message: str) -> None:
        """Append the published last line."""
        self._append(_PUBLISHED_STATUS, _dated(status, message))

    def _published(self, entry: dict[str, Any]) -> dict[str, Any]:
        done = entry["epoch"]
        left: float = max(0, self._num_epochs - done)
        if own := self._areas[done - 1 :]:  # a run that is resumed for fewer epochs had more
            left = sum(own[1:]) / own[0]
        left *= entry["seconds"]
        return {
            **_dated("RUNNING", "Training loop in progress."),
            "epoch": entry["epoch"],
            "max_epoch": self._num_epochs,
            "time_per_epoch": str(timedelta(seconds=entry["seconds"])),
            "eta": str(timedelta(seconds=left)),
            "kpi": {PUBLISHED_METRIC: entry["value"]},
        }

    def _write(self, name: str, lines: list[dict[str, Any]]) -> None:
        write_text(self._folder / name, "".join(json.dumps(line) + "\n" for line in lines))

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def write_evaluation(folder: Path, precision: float) -> None:
    """Write the published `status.json` of an evaluation, with its figure under `kpi`."""
    line = _dated("SUCCESS", "Evaluation finished.") | {"kpi": {TEST_METRIC: precision}}
    write_text(folder / _PUBLISHED_STATUS, json.dumps(line) + "\n")


def reason(error: BaseException) -> str:
    """Return in one line why a run ended early: what kind of ending it was, then what was said."""
    # Lightning leaves with SystemExit where it was interrupted.
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        return "Interrupted."
    if not isinstance(error, Exception):
        return "Stopped by the program that ran it."
    kind = error.kind.replace("_", " ") if isinstance(error, TrainerError) else "bug"
    said = " ".join(str(error).split())
    return f"{kind}: {type(error).__name__}: {said}"


def _dated(status: str, message: str) -> dict[str, Any]:
    now = time.localtime()
    return {
        "date": time.strftime("%m/%d/%Y", now),
        "time": time.strftime("%H:%M:%S", now),
        "status": status,
        "verbosity": "INFO",
        "message": message,
    }
