"""Finds the checkpoint meant in a training folder: best, newest, or of one epoch.

Two layouts are read: `best.ckpt` and `last.ckpt` with a `status.jsonl` beside the folder, and files
that carry their epoch in the name (`ml_model_epoch=003.pth`) with the published `status.json`.
Epochs are counted from 1 everywhere but in the names that Lightning gives: its first is 0.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path

from hpo.core.errors import RunError
from hpo.core.metric_direction import direction_of
from hpo.core.metric_values import find_metric, number_of
from hpo.core.trial import Direction, TrialRecord
from hpo.run.plain_files import json_objects, read_printed, walk_files
from hpo.run.run_dir import RunDir
from hpo.run.status_lines import StatusLines, Told

_SUFFIXES = (".ckpt", ".pth", ".pt", ".tlt", ".hdf5")
BEST, LATEST = "best_model", "latest_model"

_EPOCH = re.compile(r"epoch[_=-]?(\d+)(?P<lightning>[_-]step[_=-]?\d+)?")


def choose_checkpoint(
    folder: Path,
    wanted: str | int,
    monitored: str = "",
    name: str = "",
    *,
    direction: str = "",
    trained: int | None = None,
    best: int | None = None,
) -> tuple[Path, str]:
    """Find a checkpoint below a training folder.

    Args:
        folder: looked through with everything below it, but for `lightning_logs` and `*_latest*`.
        wanted: `best_model`, `latest_model`, or the number of an epoch, counted from 1.
        monitored: label of the metric in `status.json` that tells the best epoch; the first one
            where empty.
        name: what to call the folder in messages.
        direction: of that metric; told by its name where empty, or where the metric is one of
            which the caller does not know.
        trained: how many epochs a training that is over has had; tells whether names count from 0.
        best: the best epoch as its search knows it, where no status file tells it.

    Returns:
        The file, and in words how it was chosen.

    Raises:
        RunError: when there is none, or none can be told to be the one; nothing is guessed.
    """
    found = list_checkpoints(folder)
    name = name or str(folder)
    if not found:
        raise RunError(f"{name}: no checkpoint in {folder}")
    told = _told(folder, found, monitored, direction)
    told = told if best is None or told.best is not None else replace(told, best=best)
    epochs = _epochs_of(found, trained, told.shift)
    if wanted == BEST:
        return _best(found, epochs, told, name)
    if wanted == LATEST:
        return _latest(found, epochs, name)
    try:
        epoch = int(wanted)
    except ValueError as error:
        raise RunError(
            f"checkpoint: must be {BEST}, {LATEST} or the number of an epoch, got {wanted!r}"
        ) from error
    return _of_epoch(found, epochs, epoch, told, name)


def best_checkpoint(
    run: RunDir,
    trial: TrialRecord,
    direction: str,
    results_dir: str = "",
    metric: str = "",
    metric_direction: str = "",
) -> Path | None:
    """The checkpoint of a trial's best epoch, where it lies on this machine; never a guess.

    Args:
        run: the run.
        trial: one of its trials.
        direction: of the search.
        results_dir: where a job of a platform has left its files; empty for trials of this machine.
        metric: as the published `status.json` may name it; the first one there where empty.
        metric_direction: of that one; that of the search where empty.
    """
    own = run.checkpoints_dir(trial.number) / "best.ckpt"
    if own.is_file():
        return own
    measured = trial.best_measurement(direction)
    wanted = BEST if measured is None else measured.epoch
    told = metric_direction or direction
    folders = [run.trial_dir(trial.number)]
    if results_dir and "://" not in results_dir:
        folders.append(Path(results_dir))
    for folder in folders:
        with contextlib.suppress(RunError):
            return choose_checkpoint(
                folder, wanted, metric, direction=told, trained=trial.epochs or None
            )[0]
        with contextlib.suppress(RunError):
            found = choose_checkpoint(
                folder, BEST, metric, direction=told, trained=trial.epochs or None
            )[0]
            if found.stem != "last":  # it would have been found by its epoch
                return found
    return None


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that a training in this folder would be resumed from, if there is one."""
    found = list_checkpoints(folder)
    with contextlib.suppress(RunError):
        return _latest(found, _epochs_of(found, None, None), str(folder))[0]
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """All checkpoint files below a folder, sorted by path."""
    return [
        path
        for path in walk_files(folder)
        if path.suffix in _SUFFIXES
        and not path.name.startswith(".")
        and "_latest" not in path.name
        and "lightning_logs" not in path.relative_to(folder).parts
    ]


@dataclass(frozen=True, slots=True)
class _Told:
    """What the status files below a folder tell."""

    last: int | None
    """The greatest epoch of any value."""
    best: int | None
    """The epoch of the best value, the earliest of equals."""
    shift: int | None
    """From the numbers in names to epochs counted from 1; None where no file tells epochs.

    1 where one is of the published logger, whose trainers name checkpoints by Lightning; else as
    the files themselves count.
    """


def _epochs_of(found: list[Path], trained: int | None, shift: int | None) -> dict[int, Path]:
    """The files that carry an epoch in their names, by that epoch as counted from 1."""
    matches = [(path, match) for path in found if (match := _EPOCH.search(path.stem))]
    named = {int(match[1]): path for path, match in matches}
    if 0 in named or any(match["lightning"] for _, match in matches):
        shift = 1
    elif shift is None:
        shift = int(_is_from_0(set(named), trained))
    return {number + shift: path for number, path in named.items()}


def _is_from_0(numbers: set[int], trained: int | None) -> bool:
    """Whether names without a 0 count from it, by the last epoch: that is one of theirs.

    True of one name, and of several that are regular in this way alone; else the last epoch was
    not kept.
    """
    if trained is None or trained in numbers or trained - 1 not in numbers:
        return False
    if len(numbers) == 1:
        return True
    return gcd(*numbers) == 1 < gcd(*(number + 1 for number in numbers))


def _named(found: list[Path], stem: str) -> Path | None:
    hits = [path for path in found if path.stem == stem]
    return hits[0] if len(hits) == 1 else None


def _best(found: list[Path], epochs: dict[int, Path], told: _Told, name: str) -> tuple[Path, str]:
    best = _named(found, "best")
    if best is not None:
        return best, "its best epoch"
    if len(found) == 1:
        return found[0], "its only checkpoint"
    if told.best in epochs:
        return epochs[told.best], f"its best epoch, {told.best}"
    why = (
        "status.json tells no best epoch" if told.best is None else f"none is of epoch {told.best}"
    )
    raise RunError(f"{name}: which of {_listed(found)} is the best is unknown: {why}")


def _latest(found: list[Path], epochs: dict[int, Path], name: str) -> tuple[Path, str]:
    last = _named(found, "last")
    if last is not None:
        return last, "its last epoch"
    if epochs:
        newest = max(epochs)
        return epochs[newest], f"its last epoch, {newest}"
    if len(found) == 1:
        return found[0], "its only checkpoint"
    raise RunError(f"{name}: which of {_listed(found)} is the newest cannot be told")


def _of_epoch(
    found: list[Path], epochs: dict[int, Path], epoch: int, told: _Told, name: str
) -> tuple[Path, str]:
    epochs = dict(epochs)
    for stem, number in (("last", told.last), ("best", told.best)):
        path = _named(found, stem)
        if path is not None and number is not None:
            epochs.setdefault(number, path)
    if epoch not in epochs:
        kept = ", ".join(str(number) for number in sorted(epochs)) or "unknown epochs"
        raise RunError(f"{name}: no checkpoint of epoch {epoch} is kept; there are {kept}")
    return epochs[epoch], f"epoch {epoch}"


def _listed(found: list[Path]) -> str:
    return ", ".join(path.name for path in found[:5]) + (", ..." if len(found) > 5 else "")


def _read_lines(file: Path, found: list[Path]) -> tuple[list[Told], StatusLines]:
    """What a published status file tells, and what has read it.

    The lines of a training that went on from its first epoch look as those of one from the start:
    which it is tells the newest checkpoint, whose name is one less than the last epoch.
    """
    text = read_printed(file)
    numbers = {int(match[1]) for path in found if (match := _EPOCH.search(path.stem))} or {0}

    def read_from(start: int) -> tuple[list[Told], StatusLines]:
        lines = StatusLines(start)
        return [row for line in json_objects(text) for row in lines.read(line)], lines

    rows, lines = read_from(0)
    if lines.is_published and 0 not in numbers and lines.last == max(numbers):
        others, later = read_from(1)
        if later.last == lines.last + 1:
            return others, later
    return rows, lines


def _told(folder: Path, found: list[Path], monitored: str, direction: str) -> _Told:
    """What whichever status file there is tells; a trainer's own one comes first."""
    values: dict[int, float] = {}
    told: list[Told] = []
    shift = None
    files = walk_files(folder)
    for file in files:
        for line in json_objects(read_printed(file)) if file.name == "status.jsonl" else ():
            value = number_of(line.get("value"))
            if value is not None and isinstance(line.get("epoch"), int):
                values[line["epoch"]], shift = value, 0
    for file in files if not values else ():
        if file.name == "status.json":
            rows, lines = _read_lines(file, found)
            told += rows
            if lines.shift is not None:
                shift = max(shift or 0, lines.shift)
    if told and not monitored:
        monitored, direction = next(iter(told[0][1])), ""
    for epoch, metrics in told:
        value = find_metric(metrics, monitored)
        if epoch is not None and value is not None:
            values[epoch] = value
    sign = Direction(direction or direction_of(monitored)).sign
    best = max(values, key=lambda epoch: (sign * values[epoch], -epoch), default=None)
    named = [epoch for epoch, _ in told if epoch is not None]
    return _Told(max((*named, *values), default=None), best, shift)
