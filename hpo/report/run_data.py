"""Loads what a report shows from a run directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.core.errors import RunError
from hpo.core.protocols import Trainer
from hpo.core.selection import best_trial, default_trial, of_last_stage
from hpo.core.text import metric_word
from hpo.core.trial import TrialRecord, TrialState
from hpo.run.handed_on import extent_of, read_current
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.study.plan import StudyPlan, build_space, read_plan
from hpo.study.spec import StudySpec, load_study
from hpo.study.stages import planned_stages
from hpo.study.trainers import find_trainer

if TYPE_CHECKING:
    from search_spaces import Parameter, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunData:
    """One search, at the time of looking; no two are equal, so that what is made of it is kept."""

    run: RunDir
    study: StudySpec
    plan: StudyPlan
    trainer: Trainer
    space: SearchSpace
    earlier: Mapping[str, SearchSpace] = field(default_factory=dict)
    """Those of earlier stages, whose parameters trials of the last one may carry."""
    direction: str
    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    status: str
    active_seconds: float
    """Time the search was at work, downtime excluded."""
    spans: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """When trials were at work; see `Ledger.spans`."""
    handed_on: Mapping[str, Any] = field(default_factory=dict)
    """`best/report.json`; empty before the hand-off, and once the search has gone on."""
    ended_because: str = ""
    """As its `finished` event tells; empty before its end."""

    @property
    def searched(self) -> list[TrialRecord]:
        """Trials of the search itself, in its last stage; none that confirms or was refused."""
        return of_last_stage(t for t in self.trials if not t.is_repeat and not t.is_refused)

    @property
    def measured(self) -> list[TrialRecord]:
        """Of the searched trials those with a result."""
        return [t for t in self.searched if t.measurements and not t.error]

    @property
    def carried(self) -> dict[str, Parameter]:
        """What trials of the last stage take over of an earlier one."""
        every = {p.name: p for space in self.earlier.values() for p in space.parameters}
        others = {name for trial in self.searched for name in trial.params}
        others -= {p.name for p in self.space.parameters}
        return {name: parameter for name, parameter in every.items() if name in others}

    @property
    def parameters(self) -> list[Parameter]:
        """What the trials of the last stage differ in."""
        return [*self.space.parameters, *self.carried.values()]

    @property
    def default(self) -> TrialRecord | None:
        """The trial of the default configuration, when it has a result."""
        return default_trial(self.trials, self.direction)

    @property
    def is_default_best(self) -> bool:
        """Whether the winner is the default configuration, by whichever trial of it."""
        best, default = self.best, self.default
        return best is not None and default is not None and best.is_twin_of(default)

    @property
    def metric_word(self) -> str:
        """What the values are, in short."""
        return metric_word(self.trainer.monitoring_metric)

    def spec_of(self, trial: TrialRecord) -> dict[str, Any]:
        """The full spec that a trial was trained with."""
        key = self.trainer.seed_key
        specs = TrialSpecs(base_spec=self.plan.base_spec, seed_key=key, run=self.run)
        return specs.trained_spec(trial)

    def checkpoint_of(self, trial: TrialRecord) -> Path:
        """The model of a trial: its best epoch's, or the average that is handed on in its place."""
        average = self.handed_on.get("average") or {}
        if average.get("is_used") and self.best is not None and trial.number == self.best.number:
            return self.run.best_dir / "model.ckpt"
        return self.run.checkpoints_dir(trial.number) / "best.ckpt"

    def state_word(self, state: TrialState) -> str:
        """A trial's state for people: one that waits for `hpo resume` does not run."""
        return "paused" if state is TrialState.RUNNING and self.status != "running" else str(state)

    def value_of(self, trial: TrialRecord | None) -> float | None:
        """Best value of a trial over its epochs."""
        best = trial.best_measurement(self.direction) if trial else None
        return best.value if best else None


def load_run_data(
    run: RunDir, *, status: str = "", because: str = "", may_be_empty: bool = False
) -> RunData:
    """Read everything a report needs from a run.

    Args:
        run: the run.
        status: how the search stands, where its own driver asks; else it is read from the run.
        because: why it ended, in the same way.
        may_be_empty: whether it is enough that the run is there.

    Raises:
        RunError: when the run cannot be read, or has no trial that could be shown.
    """
    study, plan = load_study(run.study_file), read_plan(run.path)
    trainer = find_trainer(study.trainer)
    space = build_space(study, trainer, plan.base_spec, num_trials=plan.planned_trials)
    ledger = Ledger.read(run.ledger_file)
    trials, seconds = tuple(ledger.trials()), ledger.active_seconds
    direction, spans = ledger.direction, ledger.spans()
    ledger.close()
    if not trials and not may_be_empty:
        raise RunError(f"{run}: no trial has been started, so there is nothing to report yet")
    handed_on = read_current(run, extent_of([t.trained_epochs for t in trials]))
    return RunData(
        run=run,
        study=study,
        plan=plan,
        trainer=trainer,
        space=space,
        earlier={stage.name: stage.space for stage in planned_stages(study, plan, trainer)},
        direction=direction,
        trials=trials,
        best=_winner(trials, direction, handed_on),
        status=status or _status(run),
        active_seconds=seconds,
        spans=spans,
        handed_on=handed_on,
        ended_because=because or (run.read_state().get("finished") or {}).get("ended_because", ""),
    )


def _status(run: RunDir) -> str:
    """A driver that was killed leaves `running` behind."""
    if run.is_running():
        return "running"
    status = str(run.read_state().get("status", "new"))
    return "stopped" if status == "running" else status


def _winner(
    trials: tuple[TrialRecord, ...], direction: str, handed_on: Mapping[str, Any]
) -> TrialRecord | None:
    """The trial that was handed on, else the best so far."""
    number = handed_on.get("trial")
    if isinstance(number, int) and 0 <= number < len(trials):
        return trials[number]
    return best_trial(trials, direction)
