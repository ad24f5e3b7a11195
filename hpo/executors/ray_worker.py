"""Code that runs inside Ray's worker processes: trials, and single calls of the trainer."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hpo.core.trainer_extras import MemoryLimiter
from hpo.core.trial import Launch
from hpo.core.trial_failures import describe_failure, exits_as_failures
from hpo.executors.worker import call_method, run_launch
from hpo.study.trainers import find_trainer

RECYCLE_AFTER = 200
"""Trials after which a worker makes room for a new one, whatever libraries have left behind."""


class WornOutError(Exception):
    """Ends a worker after a trial whose outcome has been told: the next one gets a new process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What a worker may use."""

    threads: int
    memory_share: float | None
    """Part of a GPU's memory; None where it has the GPU to itself."""


def constants_of(trainer_name: str, place: WorkerLimits) -> dict[str, Any]:
    """What every trial's configuration holds beside its launch."""
    return {"trainer_name": trainer_name, "place": asdict(place)}


class _Served:
    """Trials that this process has run."""

    trials = 0


class _StoppedError(BaseException):
    """Ends a trainer that goes on after it was told to stop; it is not to take it for its own."""


class _Told:
    """Tells the driver of a trial's epochs and progress.

    Stopping arrives as `SystemExit` out of `tune.report`, once: the trainer is told by `report`'s
    False, as everywhere, and one that reports again is ended.
    """

    def __init__(self) -> None:
        self.is_stopped = False
        self._began = time.monotonic()

    def report(self, number: int, payload: Mapping[str, Any]) -> bool:
        """Tell of an epoch; False when the trial should end."""
        if self.is_stopped:
            raise _StoppedError
        told = {**payload, "elapsed_s": time.monotonic() - self._began}
        self._tell({"number": number, "payload": json.dumps(told)})
        return not self.is_stopped

    def show(self, number: int, text: str) -> None:
        """Tell what is done between epochs."""
        if self.is_stopped:
            return
        self._tell({"number": number, "progress": text})
        if self.is_stopped:
            raise _StoppedError

    def _tell(self, line: dict[str, Any]) -> None:
        from ray import tune

        try:
            tune.report(line)
        except SystemExit:
            self.is_stopped = True


def train(config: dict[str, Any]) -> None:
    """Run one trial, or those of a batch."""
    from ray import tune

    _Served.trials, told = _Served.trials + 1, _Told()
    name, launch = config["trainer_name"], Launch.of(config["launch"])
    numbers = [member.number for member in launch.members] or [launch.number]
    if trouble := _settle(name, WorkerLimits(**config["place"])):
        outcomes = dict.fromkeys(numbers, trouble)
    else:
        with contextlib.suppress(_StoppedError):
            outcomes = run_launch(name, launch, told.report, told.show)
    if told.is_stopped:  # Tune takes nothing more
        sys.exit(0)
    for number, outcome in outcomes.items():
        tune.report({"number": number, "outcome": json.dumps(outcome)})
    if any(_is_worn(outcome) for outcome in outcomes.values()):
        raise WornOutError


class Settling:
    """Part of Tune's trainable: ends a worker only when a stopped trial has written all it has.

    Tune itself waits before it gives a worker the next trial, and not before it ends one: the last
    checkpoint, which may be the best, would be lost on its way to the disk.
    """

    def cleanup(self) -> None:
        """Let `fit` end, where it was stopped out of a report; then as Tune does."""
        from ray.train._internal.session import get_session

        session: Any = get_session()  # as long as between two trials
        session.finish(timeout=int(os.environ.get("TUNE_FUNCTION_THREAD_TIMEOUT_S", "120")))
        super().cleanup()  # type: ignore[misc]  # Tune's trainable comes after this class


# Where Tune looks for what else the trainable of a function inherits from.
train.__mixins__ = (Settling,)  # type: ignore[attr-defined]


def _is_worn(outcome: Mapping[str, Any]) -> bool:
    """Whether the process should end: a failed allocation may have left it unfit."""
    kind = (outcome.get("failure") or {}).get("kind")
    return kind == "out_of_memory" or _Served.trials >= RECYCLE_AFTER


def call_in_worker(
    trainer_name: str, method: str, args: tuple[Any, ...], place: WorkerLimits
) -> dict[str, Any]:
    """Call a trainer's method; what goes wrong is carried over as data."""
    try:
        if trouble := _settle(trainer_name, place):
            return {**trouble, "detail": ""}
        return {"result": call_method(trainer_name, method, args)}
    except Exception as error:  # noqa: BLE001 - the border: carried over as data
        return {"failure": describe_failure(error), "detail": traceback.format_exc()}


def _settle(trainer_name: str, place: WorkerLimits) -> dict[str, Any] | None:
    """Keep this process to its threads and its share of the GPU; a failure to is the outcome."""
    # Ray would set one thread per whole CPU it was told of.
    os.environ["OMP_NUM_THREADS"] = str(place.threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(place.threads)
    try:
        with exits_as_failures():
            trainer = find_trainer(trainer_name)
        if place.memory_share is not None and isinstance(trainer, MemoryLimiter):
            trainer.limit_memory(place.memory_share)
    except Exception as error:  # noqa: BLE001 - as above
        return {"failure": describe_failure(error)}
    return None
