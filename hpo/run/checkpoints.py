"""Finds the checkpoint meant in a training folder: best, newest, or of one epoch.

Two layouts are read: `best.ckpt` and `last.ckpt` with a `status.jsonl` beside the folder, and files
that carry their epoch in the name (`ml_model_epoch=003.pth`) with the published `status.json`.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from hpo.core.errors import RunError
from hpo.core.metric_direction import direction_of
from hpo.core.trial import Direction, TrialRecord
from hpo.run.plain_files import json_objects, read_printed
from hpo.run.run_dir import RunDir

_SUFFIXES = (".ckpt", ".pth", ".pt", ".tlt", ".hdf5")
BEST, LATEST = "best_model", "latest_model"

_EPOCH = re.compile(r"epoch[_=-]?(\d+)")


def choose_checkpoint(
    folder: Path, wanted: str | int, monitored: str = "", name: str = "", *, direction: str = ""
) -> tuple[Path, str]:
    """Find a checkpoint below a training folder.

    Args:
        folder: looked through with everything below it, but for `lightning_logs` and `*_latest*`.
        wanted: `best_model`, `latest_model`, or the number of an epoch.
        monitored: label of the metric in `status.json` that tells the best epoch; the first one
            where empty.
        name: what to call the folder in messages.
        direction: of that metric; told by its name where empty.

    Returns:
        The file, and in words how it was chosen.

    Raises:
        RunError: when there is none, or none can be told to be the one; nothing is guessed.
    """
    found = list_checkpoints(folder)
    name = name or str(folder)
    if not found:
        raise RunError(f"{name}: no checkpoint in {folder}")
    if wanted == BEST:
        return _best(folder, found, monitored, direction, name)
    if wanted == LATEST:
        return _latest(found, name)
    try:
        epoch = int(wanted)
    except ValueError as error:
        raise RunError(
            f"checkpoint: must be {BEST}, {LATEST} or the number of an epoch, got {wanted!r}"
        ) from error
    return _of_epoch(folder, found, epoch, monitored, direction, name)


def best_checkpoint(
    run: RunDir, trial: TrialRecord, direction: str, results_dir: str = ""
) -> Path | None:
    """The checkpoint of a trial's best epoch, where it lies on this machine; never a guess.

    Args:
        run: the run.
        trial: one of its trials.
        direction: of the search.
        results_dir: where a job of a platform has left its files; empty for trials of this machine.
    """
    own = run.checkpoints_dir(trial.number) / "best.ckpt"
    if own.is_file():
        return own
    measured = trial.best_measurement(direction)
    wanted = BEST if measured is None else measured.epoch
    folders = [run.trial_dir(trial.number)]
    if results_dir and "://" not in results_dir:
        folders.append(Path(results_dir))
    for folder in folders:
        if not folder.is_dir():
            continue
        with contextlib.suppress(RunError):
            return choose_checkpoint(folder, wanted, direction=direction)[0]
        with contextlib.suppress(RunError):
            found = choose_checkpoint(folder, BEST, direction=direction)[0]
            if found.stem != "last":  # it would have been found by its epoch
                return found
    return None


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that a training in this folder would be resumed from, if there is one."""
    found = list_checkpoints(folder)
    with contextlib.suppress(RunError):
        return _latest(found, str(folder))[0]
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """All checkpoint files below a folder, sorted by path."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
        and "_latest" not in path.name
        and "lightning_logs" not in path.relative_to(folder).parts
    )


def _epoch_of(path: Path) -> int | None:
    """The epoch that a file name carries."""
    match = _EPOCH.search(path.stem)
    return int(match[1]) if match else None


def _named(found: list[Path], stem: str) -> Path | None:
    hits = [path for path in found if path.stem == stem]
    return hits[0] if len(hits) == 1 else None


def _best(
    folder: Path, found: list[Path], monitored: str, direction: str, name: str
) -> tuple[Path, str]:
    best = _named(found, "best")
    if best is not None:
        return best, "its best epoch"
    if len(found) == 1:
        return found[0], "its only checkpoint"
    epoch = _best_epoch(*_values(folder, monitored), direction)
    hits = [path for path in found if epoch is not None and _epoch_of(path) == epoch]
    if len(hits) == 1:
        return hits[0], f"its best epoch, {epoch}"
    why = "status.json tells no best epoch" if epoch is None else f"none is of epoch {epoch}"
    raise RunError(f"{name}: which of {_listed(found)} is the best is unknown: {why}")


def _latest(found: list[Path], name: str) -> tuple[Path, str]:
    last = _named(found, "last")
    if last is not None:
        return last, "its last epoch"
    epochs = {_epoch_of(path): path for path in found if _epoch_of(path) is not None}
    if epochs:
        newest = max(e for e in epochs if e is not None)
        return epochs[newest], f"its last epoch, {newest}"
    if len(found) == 1:
        return found[0], "its only checkpoint"
    raise RunError(f"{name}: which of {_listed(found)} is the newest cannot be told")


def _of_epoch(
    folder: Path, found: list[Path], epoch: int, monitored: str, direction: str, name: str
) -> tuple[Path, str]:
    epochs = {number: path for path in found if (number := _epoch_of(path)) is not None}
    values, metric = _values(folder, monitored)
    best = _best_epoch(values, metric, direction)
    for stem, number in (("last", max(values, default=None)), ("best", best)):
        path = _named(found, stem)
        if path is not None and number is not None:
            epochs.setdefault(number, path)
    if epoch not in epochs:
        kept = ", ".join(str(number) for number in sorted(epochs)) or "unknown epochs"
        raise RunError(f"{name}: no checkpoint of epoch {epoch} is kept; there are {kept}")
    return epochs[epoch], f"epoch {epoch}"


def _listed(found: list[Path]) -> str:
    return ", ".join(path.name for path in found[:5]) + (", ..." if len(found) > 5 else "")


def _best_epoch(values: dict[int, float], metric: str, direction: str) -> int | None:
    """The epoch of the best value, the earliest of equals."""
    sign = Direction(direction or direction_of(metric)).sign
    return max(values, key=lambda epoch: (sign * values[epoch], -epoch), default=None)


def _values(folder: Path, monitored: str) -> tuple[dict[int, float], str]:
    """Epoch -> monitored value, by whichever status file there is, and the metric's name."""
    values: dict[int, float] = {}
    for name in ("status.jsonl", "status.json"):
        for file in sorted(folder.rglob(name)):
            for line in json_objects(read_printed(file)):
                monitored = monitored or _first_metric(line)
                value = _value(line, monitored)
                if value is not None and isinstance(line.get("epoch"), int):
                    values[line["epoch"]] = value
        if values:
            break
    return values, monitored


def _first_metric(line: dict[str, Any]) -> str:
    kpi = line.get("kpi")
    return next(iter(kpi), "") if isinstance(kpi, dict) else ""


def _value(line: dict[str, Any], monitored: str) -> float | None:
    kpi = line.get("kpi")
    value = kpi.get(monitored) if isinstance(kpi, dict) and kpi else line.get("value")
    return float(value) if isinstance(value, int | float) else None
