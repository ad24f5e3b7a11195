"""Trials one after the other in this process, for small searches, debugging and tests."""

from __future__ import annotations

from typing import Any

from hpo.core.protocols import TrialDriver
from hpo.core.trial import Ended
from hpo.executors.worker import call_method, run_job


class InProcessExecutor:
    """One slot, no processes.

    Args:
        trainer_name: registered name of the trainer.
    """

    def __init__(self, trainer_name: str) -> None:
        self._trainer_name = trainer_name

    def run(self, driver: TrialDriver) -> None:
        """Run jobs until the driver has none left."""
        while (job := driver.next_job()) is not None:
            number = job.number
            outcome = run_job(
                self._trainer_name, job, lambda payload, n=number: driver.on_epoch(n, payload)
            )
            driver.on_end(number, Ended(**outcome))

    def call(self, method: str, *args: Any) -> Any:
        """Call a trainer's method right here."""
        return call_method(self._trainer_name, method, args)

    def close(self) -> None:
        """Nothing to give back."""
