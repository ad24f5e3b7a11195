"""Runs trials one after another in this process: small searches, debugging, tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.core.diverted import undiverted
from hpo.core.events import TrialProgress
from hpo.core.machine import bound_threads
from hpo.core.protocols import TrialDriver
from hpo.core.trial import Ended
from hpo.executors.division import Slots
from hpo.executors.worker import call_method, run_launch


class _DriverFault(BaseException):
    """Carries the driver's own error through the trainer, which must not take it for its own."""


class InProcessExecutor:
    """One slot, no processes.

    Args:
        trainer_name: registered name of the trainer.
    """

    def __init__(self, trainer_name: str) -> None:
        self._trainer_name = trainer_name
        bound_threads()

    def run(self, driver: TrialDriver) -> None:
        """Run trials until the driver has none left."""

        @undiverted()  # the trial prints into its log, the driver's listeners do not
        def report(number: int, payload: Mapping[str, Any]) -> bool:
            try:
                return driver.on_epoch(number, payload)
            except Exception as error:
                raise _DriverFault(error) from error

        @undiverted()
        def show(number: int, text: str) -> None:
            driver.emit(TrialProgress(trial=number, text=text))

        while (launch := driver.next_launch()) is not None or driver.rest():
            if launch is None:
                continue
            try:
                outcomes = run_launch(self._trainer_name, launch, report, show)
            except _DriverFault as fault:
                raise fault.args[0] from None
            for number, outcome in outcomes.items():
                driver.on_end(number, Ended(**outcome))

    def call(self, method: str, *args: Any) -> Any:
        """Call a trainer's method right here."""
        return call_method(self._trainer_name, method, args)

    def call_in_all_slots(self, method: str, *args: Any) -> list[Any]:
        """Call it once: there is one slot."""
        return [self.call(method, *args)]

    def divide(self, slots: Slots) -> None:
        """Nothing changes: there is one slot."""

    def close(self) -> None:
        """Nothing to give back."""
