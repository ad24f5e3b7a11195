"""Trials one after the other in this process, for small searches, debugging and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.core.protocols import TrialDriver
from hpo.core.trial import Ended
from hpo.executors.worker import call_method, run_job


class _Relay:
    """Passes epochs to the driver; a fault of the driver must not look like one of the trial."""

    def __init__(self, driver: TrialDriver, number: int) -> None:
        self._driver, self._number = driver, number
        self.fault: Exception | None = None

    def __call__(self, payload: Mapping[str, Any]) -> bool:
        try:
            return self._driver.on_epoch(self._number, payload)
        except Exception as error:  # noqa: BLE001 - kept and raised where the driver can see it
            self.fault = error
            return False


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
            relay = _Relay(driver, job.number)
            outcome = run_job(self._trainer_name, job, relay)
            if relay.fault is not None:
                raise relay.fault
            driver.on_end(job.number, Ended(**outcome))

    def call(self, method: str, *args: Any) -> Any:
        """Call a trainer's method right here."""
        return call_method(self._trainer_name, method, args)

    def close(self) -> None:
        """Nothing to give back."""
