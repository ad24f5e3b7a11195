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
from hpo.core.protocols import Listener
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.study.plan import StudyPlan
from hpo.study.spec import StudySpec
from hpo.tracking.listener import Nothing

logger = logging.getLogger(__name__)

Listeners = tuple[Callable[..., Listener], ...]
RUN_NAME, TABLE = "automl_brain", "automl_experiments"
COLUMNS = ("experiment_id", "job_id", "status", "metric", "best_epoch_number", "parameters")


def group_of(run: RunDir) -> str:
    """The group that all runs of a workspace share."""
    return f"automl_{run.path.name}"


def wandb_listeners(config: Mapping[str, Any] | None) -> Listeners:
    """What mirrors a search there, where that is asked for; `SearchSettings.listeners` takes it.

    Raises:
        AutoMLError: for what is no configuration of it.
    """
    return (partial(make_listener, config or {}),) if is_wandb_on(config) else ()


def make_listener(
    config: Mapping[str, Any], run: RunDir, study: StudySpec, plan: StudyPlan, ledger: Ledger
) -> Listener:
    """Start the run, or warn and listen to nothing where that is impossible."""
    del study, plan
    key = config.get("api_key") or os.environ.get("WANDB_API_KEY")
    try:
        wandb = importlib.import_module("wandb")
    except ImportError:
        logger.warning("wandb_config: the package wandb is not installed; nothing is sent")
        return Nothing()
    mode = os.environ.get("WANDB_MODE", "")
    if not key and mode not in ("offline", "disabled"):
        logger.warning("wandb_config: no api_key and no WANDB_API_KEY; nothing is sent")
        return Nothing()
    if key:
        os.environ.setdefault("WANDB_API_KEY", str(key))
    started = wandb.init(
        project=str(config.get("project") or "automl"),
        name=RUN_NAME,
        group=group_of(run),
        dir=str(run.path),
    )
    return _Table(wandb, started, ledger)


class _Table:
    """Sends the table anew whenever a trial has ended."""

    def __init__(self, wandb: Any, started: Any, ledger: Ledger) -> None:
        self._wandb, self._run, self._ledger = wandb, started, ledger

    def handle(self, event: Event) -> None:
        """Send what has changed."""
        if not isinstance(event, TrialFinished):
            return
        direction = self._ledger.direction
        rows = []
        for trial in self._ledger.trials():
            best = trial.best_measurement(direction)
            epoch, value = (best.epoch, best.value) if best else (None, None)
            rows.append(
                [trial.number, str(trial.number), str(trial.state), value, epoch, str(trial.params)]
            )
        self._run.log({TABLE: self._wandb.Table(columns=list(COLUMNS), data=rows)})

    def close(self) -> None:
        """End the run."""
        self._run.finish()
