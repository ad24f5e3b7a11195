"""Reads `best/report.json`, what a search wrote of the winner that it handed on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.core.budget import Budget, gave_up
from hpo.core.errors import RunError
from hpo.core.event_json import from_dict
from hpo.core.events import Finished
from hpo.core.expected import Expected
from hpo.core.held_out import HeldOut
from hpo.core.spec_dicts import relocated
from hpo.core.trial import TrialRecord
from hpo.run.run_dir import RunDir

REPORT_FILE = "report.json"
"""Stands in `best/`."""
GALLERY_FILE = "gallery.npz"
CHANGES_FOLDER = "gallery.history"
"""Holds what can be undone of the gallery beside it: of all changes the last ones."""
_FILES = ("spec", "checkpoint", "onnx", "gallery")


@dataclass(frozen=True, kw_only=True)
class _Standing:
    number: int
    value: float
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class _Confirmation:
    words: Sequence[str] = ()
    standings: Sequence[_Standing] = ()


@dataclass(frozen=True, kw_only=True)
class _Average:
    words: str
    trials: Sequence[int] = ()
    value: float | None = None
    is_used: bool = False

    def __post_init__(self) -> None:
        if self.is_used and self.value is None:
            raise ValueError("value: must be known of an average that is used")


@dataclass(frozen=True, kw_only=True)
class _Priced:
    """An architecture with its best trial and its cost."""

    name: str
    trial: int
    value: float
    latency_ms: float
    params: float
    on_front: bool


@dataclass(frozen=True, kw_only=True)
class _Test:
    trial: int | None = None
    held_out: HeldOut | None = None
    alone: HeldOut | None = None

    def __post_init__(self) -> None:
        if self.alone is not None and self.trial is None:
            raise ValueError("trial: must be known beside an average")


@dataclass(frozen=True, kw_only=True)
class _HandedOn:
    trial: int
    value: float
    spec: str
    metric: str = ""
    params: Mapping[str, Any]
    checkpoint: str | None = None
    onnx: str | None = None
    gallery: str | None = None
    confirmation: _Confirmation | None = None
    expected: Expected | None = None
    average: _Average | None = None
    pareto: Sequence[_Priced] = ()
    test: _Test | None = None
    next: Sequence[str] = ()
    over: Mapping[str, int] | None = None
    """`extent_of` the search that it was the end of; earlier releases wrote none."""


def extent_of(trained: Collection[int]) -> dict[str, int]:
    """How far a search is, by the epochs that its trials have trained; one without is not begun."""
    return {"trials": sum(1 for epochs in trained if epochs), "epochs": sum(trained)}


def extent_of_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The same of trials as `state.json` holds them."""
    return extent_of([row["epoch"] - (row.get("start_from") or (0, 0))[1] for row in rows])


def read_current(run: RunDir, extent: Mapping[str, int]) -> dict[str, Any]:
    """Return what was handed on; empty where the search has gone on since, to another extent.

    Nothing is known of the extent where it has no trial: then what was handed on counts.

    Raises:
        RunError: as `read_handed_on`.
    """
    told = read_handed_on(run)
    is_current = not extent["trials"] or told.get("over") in (None, extent)
    return told if is_current else {}


def read_handed_on(run: RunDir) -> dict[str, Any]:
    """Return what was handed on, with the run where it lies now; empty before the hand-off.

    Raises:
        RunError: when it is damaged.
    """
    file = run.best_dir / REPORT_FILE
    try:
        told = checked_report(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RunError(
            f"{file}: must be what a search wrote of its winner, and is damaged; "
            f"`{run.command('export')}` makes the winner's files again"
        ) from error
    moved: dict[str, Any] = relocated(told, Path(told["spec"]).parent.parent, run.path)
    return moved


def read_end(run: RunDir) -> dict[str, Any] | None:
    """What a finished search told at its end, with the run where it lies now.

    None before its end, and where a file that it handed on is gone: it must be made again.
    """
    done: dict[str, Any] | None = run.read_state().get("finished")
    if not done:
        return None
    done = relocated(done, Path(done["run_dir"]), run.path)
    best = done.get("best") or {}
    files = [best[name] for name in _FILES if isinstance(best.get(name), str)]
    own = [Path(file) for file in files if Path(file).is_relative_to(run.best_dir)]
    return done if all(file.is_file() for file in own) else None


def has_ended(run: RunDir, budget: Budget) -> bool:
    """Whether a search has come to its end, so that without another budget it is only told again.

    One that gave up goes on, once its cause is mended.

    Args:
        run: the run.
        budget: as its study says now.
    """
    done = read_end(run) if run.read_state().get("status") == "finished" else None
    if done is None:
        return False
    finished = from_dict(Finished, done)
    return finished.budget == budget and not gave_up(finished.ended_because)


def handed_on_checkpoint(run: RunDir, trial: TrialRecord, direction: str) -> Path | None:
    """The copy of a trial's best checkpoint in `best/`; None where another model lies there."""
    with contextlib.suppress(RunError):
        report, measured = read_handed_on(run), trial.best_measurement(direction)
        file = run.best_dir / Path(report.get("checkpoint") or "model.ckpt").name
        is_average = (report.get("average") or {}).get("is_used")
        is_same = measured and (report.get("trial"), report.get("epoch")) == (
            trial.number,
            measured.epoch,
        )
        return file if is_same and not is_average and file.is_file() else None
    return None


def checked_report(data: Any) -> dict[str, Any]:
    """Return a report whose values are such as its readers show.

    Raises:
        ValueError: for one that is not.
    """
    report = from_dict(_HandedOn, data)
    if report.test is not None:  # of a workspace it is the metrics alone
        from_dict(_Metric, {"value": data["test"].get(report.metric)})
    return dict(data)


@dataclass(frozen=True, kw_only=True)
class _Metric:
    value: float | None
