"""Mirrors a search to Weights & Biases: one run `automl_brain` with a table of all trials."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hpo.automl.arguments import is_wandb_on
from hpo.core.events import Event, TrialFinished
from hpo.core.pacing import Pacer
from hpo.core.protocols import Listener
from hpo.jobs.parents import platform_jobs
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.study.plan import StudyPlan
from hpo.study.spec import StudySpec
from hpo.tracking.listener import Nothing

logger = logging.getLogger(__name__)

Listeners = tuple[Callable[..., Listener], ...]
KEY = "WANDB_API_KEY"
RUN_NAME, TABLE = "automl_brain", "automl_experiments"
COLUMNS = ("experiment_id", "job_id", "status", "metric", "best_epoch_number", "parameters")
ROW_S = 0.1
"""The whole table is sent again after so many seconds for each of its rows, as it is uploaded
beside the search: 10 trials after a second, 10,000 after a quarter of an hour."""


def group_of(run: RunDir) -> str:
    """The group that all runs of a workspace share."""
    return f"automl_{run.path.name}"


def wandb_listeners(config: Mapping[str, Any] | None) -> Listeners:
    """What mirrors a search there, where that is asked for; `SearchSettings.listeners` takes it.

    Raises:
        AutoMLError: for what is no configuration of it.
    """
    if not is_wandb_on(config):
        return ()
    return partial(_LentKey, config or {}), partial(make_listener, config or {})


class _LentKey(Nothing):
    """Lets trials mirror themselves by the given key, where the environment has none."""

    def __init__(self, config: Mapping[str, Any], *_: Any) -> None:
        key = config.get("api_key")
        self._is_lent = bool(key) and KEY not in os.environ
        if self._is_lent:
            os.environ[KEY] = str(key)

    def close(self) -> None:
        """Take it back."""
        if self._is_lent:
            os.environ.pop(KEY, None)


def make_listener(
    config: Mapping[str, Any], run: RunDir, study: StudySpec, plan: StudyPlan, ledger: Ledger
) -> Listener:
    """Start the run, or warn and listen to nothing where that is impossible."""
    del study, plan
    own_key = config.get("api_key")
    key = own_key or os.environ.get(KEY)
    try:
        wandb = importlib.import_module("wandb")
    except ImportError:
        logger.warning("wandb_config: the package wandb is not installed; nothing is sent")
        return Nothing()
    mode = os.environ.get("WANDB_MODE", "")
    if not key and mode not in ("offline", "disabled"):
        logger.warning("wandb_config: no api_key and no WANDB_API_KEY; nothing is sent")
        return Nothing()
    try:
        started = wandb.init(
            project=str(config.get("project") or "automl"),
            name=RUN_NAME,
            group=group_of(run),
            dir=str(run.path),
            settings=wandb.Settings(api_key=str(own_key)) if own_key else None,
        )
    except Exception as error:  # noqa: BLE001 - a mirror never ends a search
        logger.warning("wandb_config: the run could not be started, nothing is sent: %s", error)
        return Nothing()
    return _Table(wandb, started, ledger, run)


class _Table:
    """Sends the whole table when trials have ended; a long one more rarely, and at the end."""

    def __init__(self, wandb: Any, started: Any, ledger: Ledger, run: RunDir) -> None:
        self._wandb, self._started, self._ledger, self._run = wandb, started, ledger, run
        self._is_behind, self._pacer = False, Pacer()

    def handle(self, event: Event) -> None:
        """Send what has changed, once that is due."""
        self._is_behind |= isinstance(event, TrialFinished)
        if self._is_behind and self._pacer.is_due(ROW_S * self._ledger.next_number):
            self._send()

    def _send(self) -> None:
        with self._pacer.timed():
            self._log_table()
        self._is_behind = False

    def _log_table(self) -> None:
        direction = self._ledger.direction
        jobs, rows = platform_jobs(self._run.path), []
        for trial in self._ledger.trials():
            best = trial.best_measurement(direction)
            epoch, value = (best.epoch, best.value) if best else (None, None)
            number = trial.number
            job_id = jobs[number][0] if number in jobs else str(self._run.trial_dir(number))
            rows.append([number, job_id, str(trial.state), value, epoch, str(trial.params)])
        self._started.log({TABLE: self._wandb.Table(columns=list(COLUMNS), data=rows)})

    def close(self) -> None:
        """Send what has changed since, and end the run."""
        if self._is_behind:
            self._send()
        self._started.finish()
