"""Ray Tune's searcher and scheduler: hand out the driver's launches, return its decisions.

And what Tune lacks: any error about a lost worker ends a trial, not the experiment, and the end of
Ray itself is noticed.

Measured rules they follow: epochs reach the scheduler before the searcher, and the searcher not at
all when the decision is STOP; a result with `done=True` reaches neither; hooks are called by
keyword; an exception in a hook would end the whole experiment, so each is guarded and the first
fault is raised after `fit`. What Tune prints is dropped, what functions of the user's print is not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback
from ray.tune.execution import tune_controller as tune_controller_module
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from hpo.core.diverted import undiverted
from hpo.core.events import TrialProgress
from hpo.core.protocols import TrialDriver
from hpo.core.trial import Ended
from hpo.executors.ray_faults import Losses, RayLostError, ended_process
from hpo.executors.ray_start import SETTLES_S

logger = logging.getLogger(__name__)


class RelaySearcher(Searcher):
    """Hands out the driver's launches and reports their ends to it.

    Args:
        driver: where launches come from.
        constants: what every trial's configuration holds beside its launch.
    """

    def __init__(self, driver: TrialDriver, constants: Mapping[str, Any]) -> None:
        super().__init__()
        self.driver = driver
        self.constants = dict(constants)
        self.numbers: dict[str, tuple[int, ...]] = {}
        """Tune's trial -> those of its launch: one, or a batch."""
        self.stopped: set[int] = set()
        """Trials of batches that the driver has stopped; the batch goes on for the others."""
        self.outcomes: dict[int, dict[str, Any]] = {}
        self.errors: dict[str, BaseException | None] = {}
        self.losses = Losses()
        self.has_progressed = False
        """Whether an epoch was reported."""
        self.fault: Exception | None = None

    def set_search_properties(
        self,
        metric: str | None,  # noqa: ARG002 - Tune's signature
        mode: str | None,  # noqa: ARG002
        config: dict[str, Any],  # noqa: ARG002
        **_spec: Any,
    ) -> bool:
        """Say that nothing is needed: the metric and its direction live in the study."""
        return True

    @undiverted()
    def suggest(self, trial_id: str) -> Any:
        """Return a launch's configuration, None to be asked again, or FINISHED."""
        if self.fault is not None:
            return Searcher.FINISHED
        try:
            launch = self.driver.next_launch()
            if launch is None:
                return Searcher.FINISHED if self.driver.is_over() else None
        except Exception as error:  # noqa: BLE001 - kept and raised after fit
            return self.keep(error)
        members = tuple(member.number for member in launch.members)
        self.numbers[trial_id] = members or (launch.number,)
        return {**self.constants, "launch": asdict(launch)}

    @undiverted()
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report to the driver how the trial ended; Tune calls this by keyword.

        One that a fault of the driver has cut off has not ended: it stays open for a resume.
        """
        del result  # the outcome came through the scheduler
        numbers, cause = self.numbers.pop(trial_id, ()), self.errors.pop(trial_id, None)
        is_lost = error and not self.outcomes.keys() >= set(numbers)
        lost = {"failure": self.losses.describe(cause)} if is_lost else {}
        for number in numbers:
            is_cut_off = self.fault is not None and number not in self.outcomes
            outcome = self.outcomes.pop(number, lost)
            self.stopped.discard(number)
            if is_cut_off:
                continue
            try:
                self.driver.on_end(number, Ended(**outcome))
            except Exception as fault:  # noqa: BLE001 - kept and raised after fit
                self.keep(fault)

    def stop(self, number: int) -> bool:
        """Stop a trial; whether its whole batch then has nothing left to train."""
        self.stopped.add(number)
        batches = (members for members in self.numbers.values() if number in members)
        return self.stopped.issuperset(next(batches, ()))

    def lose_running(self, lost: RayLostError) -> None:
        """Report to the driver that all running trials have lost their workers."""
        for trial_id in list(self.numbers):
            self.errors[trial_id] = lost
            self.on_trial_complete(trial_id, error=True)

    def keep(self, error: Exception) -> Any:
        """Remember the first fault of a hook and end the experiment."""
        if self.fault is None:
            self.fault = error
            logger.debug("a hook failed", exc_info=error)
        return Searcher.FINISHED

    def raise_fault(self) -> None:
        """Raise what went wrong inside a hook."""
        if self.fault is not None:
            raise self.fault

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of this belongs into Tune's snapshots."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger is the state."""


class RelayScheduler(FIFOScheduler):
    """Passes epochs to the driver and its decision to Tune."""

    def __init__(self, searcher: RelaySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.searcher = searcher

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:  # noqa: ARG002 - as below
        """Give what was stopped as long to end after the last trial as before another one."""
        controller = getattr(tune_controller, "_tune_controller", tune_controller)
        controller._actor_force_cleanup_timeout = SETTLES_S  # Tune's own is 10 s

    @undiverted()
    def on_trial_result(
        self,
        tune_controller: Any,  # noqa: ARG002 - Tune's signature
        trial: Trial,  # noqa: ARG002
        result: dict[str, Any],
    ) -> str:
        """Return CONTINUE or STOP for one reported epoch."""
        searcher = self.searcher
        number = result.get("number")
        if number is None:
            return str(TrialScheduler.CONTINUE)
        if "outcome" in result:
            searcher.outcomes[number] = json.loads(result["outcome"])
            return str(TrialScheduler.CONTINUE)
        if searcher.fault is not None:
            return str(TrialScheduler.STOP)
        if "progress" in result:
            searcher.driver.emit(TrialProgress(trial=number, text=result["progress"]))
            return str(TrialScheduler.CONTINUE)
        searcher.has_progressed = True
        try:
            goes_on = searcher.driver.on_epoch(number, json.loads(result["payload"]))
        except Exception as error:  # noqa: BLE001 - kept and raised after fit
            searcher.keep(error)
            goes_on = False
        is_over = not goes_on and searcher.stop(number)
        return str(TrialScheduler.STOP if is_over else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Keep the error by which Ray tells that a worker was lost."""
        manager = tune_controller._actor_manager
        self.searcher.errors[trial.trial_id] = manager.last_error

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of this belongs into Tune's snapshots."""
        return {}


class LostWorkerError(RayActorError):
    """Stands for every error about a lost worker that Tune does not take for one."""


class Workers(RayActorManager):
    """Tune's manager of workers, which takes every error of Ray's for a lost worker."""

    last_error: BaseException | None = None

    def is_actor_started(self, tracked_actor: Any) -> bool:
        """Whether it may still end by itself, so that Tune waits for it: none does without Ray."""
        return bool(super().is_actor_started(tracked_actor)) and not ended_process()

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        self.last_error = exception
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = LostWorkerError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)

    def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:
        self.last_error = exception
        super()._actor_start_failed(tracked_actor, exception)


class Watch(Callback):
    """Looks at each of Tune's steps whether the Ray of this process still runs."""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Raise `RayLostError` if it does not."""
        del iteration, trials, info
        if name := ended_process():
            raise RayLostError(name)


def make_relay(
    driver: TrialDriver, constants: Mapping[str, Any]
) -> tuple[RelaySearcher, RelayScheduler]:
    """Make the pair of hooks for one experiment."""
    module: Any = tune_controller_module
    module.RayActorManager = Workers
    searcher = RelaySearcher(driver, constants)
    return searcher, RelayScheduler(searcher)
