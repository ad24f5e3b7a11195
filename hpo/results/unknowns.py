"""Calibrates which pictures no class fits, by training a run's best model again without classes."""

from __future__ import annotations

import contextlib
from typing import Any

from hpo.core.errors import RunError
from hpo.core.protocols import Progress
from hpo.core.unknown_calibrator import UnknownCalibrator
from hpo.results.export import trainer_of_export
from hpo.run.handed_on import read_handed_on
from hpo.run.ledger import Ledger
from hpo.run.run_dir import Holder, RunDir
from hpo.study.plan import as_user_errors
from hpo.study.trainers import demand


def check_unknowns(run: RunDir, trainings: int) -> float | None:
    """See whether a run's gallery can be calibrated by further trainings.

    Returns:
        About how many seconds they take; None where that is not known.

    Raises:
        DataError: when there is nothing to calibrate, or there are too few classes.
        RunError: when the run has no exported model yet.
    """
    found = trainer_of_export(run)
    trainer, direction = demand(found, UnknownCalibrator), found.direction
    with as_user_errors():
        trainer.check_calibration(run.best_dir, trainings)
    number = None
    with contextlib.suppress(RunError):  # a damaged report keeps nobody from calibrating
        number = read_handed_on(run).get("trial")
    if number is None:
        return None
    trial = Ledger.read_trials(run.ledger_file)[0][int(number)]
    best = trial.best_measurement(direction)
    last = best.epoch if best else 0
    seconds = sum(m.seconds for m in trial.measurements if m.epoch <= last)
    # Each training has all pictures but one part of `trainings`.
    return seconds * (trainings - 1)


def calibrate_unknowns(run: RunDir, trainings: int, progress: Progress) -> dict[str, Any]:
    """Train without a part of the classes, so often; as `UnknownCalibrator.calibrate_unknowns`.

    Finished trainings are kept in `unknowns/` of the run, and are not made again.

    Raises:
        DataError: as `check_unknowns`, or the pictures have changed.
        RunError: when a search, or another calibration, is at work in the run.
    """
    trainer = demand(trainer_of_export(run), UnknownCalibrator)
    with run.lock(Holder.CALIBRATION), as_user_errors():
        return trainer.calibrate_unknowns(run.best_dir, run.path / "unknowns", trainings, progress)
