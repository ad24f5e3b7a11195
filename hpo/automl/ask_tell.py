"""`AutoML`: ask for configurations, train them yourself, report their values.

    automl = AutoML(workspace="ws", network="ml_recog", train_specs=spec, settings=settings)
    while not automl.is_complete():
        for rec in automl.next_recommendation():
            automl.report_result(rec.id, train(rec.specs))
    automl.finish()

The workspace is an ordinary run directory and the engine that of every search; what the caller
reports is a trial's value at its last epoch.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from hpo.automl.arguments import check_path, check_spec, check_text
from hpo.automl.asking import build_engine, demand_free, open_or_create, plan_opened, take_over
from hpo.automl.outcome import build_result
from hpo.automl.planning import as_value_errors
from hpo.automl.recommendation import Recommendation, show_trial
from hpo.automl.reported import read_id, read_report
from hpo.automl.request import Request
from hpo.automl.retention import needed_trials
from hpo.automl.routing import open_skill
from hpo.automl.schema_skill import write_skill
from hpo.automl.status import query_status
from hpo.automl.views import Views, constants_of
from hpo.automl.wandb_table import Listeners, group_of, wandb_listeners
from hpo.automl.workspace import (
    RUNGS_STYLE,
    WorkspaceFacts,
    demand_own,
    is_workspace,
    objectives_of,
    read_facts,
)
from hpo.core.errors import RunError, SpecError
from hpo.core.event_bus import EventBus, EventFile
from hpo.core.process.imports import calls_stay_harmless, import_apart
from hpo.core.selection import best_trial
from hpo.core.spec_dicts import merged
from hpo.core.trial import Ended
from hpo.jobs.parents import demand_platform_jobs
from hpo.run.ledger import Ledger
from hpo.run.next_commands import BY_CALLER
from hpo.run.plain_files import write_json
from hpo.run.run_dir import AUTOML_JOBS, Holder
from hpo.searching.state_writer import StateWriter, describe_start
from hpo.study.copied_run import with_own_uuid
from hpo.study.plan import read_plan
from hpo.study.spec import load_study
from hpo.study.trainers import find_trainer, registered_trainer
from hpo.tracking.listener import mlflow_listener

logger = logging.getLogger(__name__)


@calls_stay_harmless
class AutoML:
    """A search whose trials the caller trains.

    Args:
        workspace: a folder that does not exist yet, or is empty: it becomes the workspace. One that
            holds a workspace is gone on with: what is not given is as it was begun, a larger
            `automl_max_recommendations` extends it.
        network: a registered network, or the path of a skill folder; with `search_schema` any name.
        train_specs: the spec of every trial, nested or dotted, over the skill's template.
        settings: as `automl_settings` of `AutoMLRunner.run`.
        automl_hyperparameters: searched parameters; None means the schema's default list.
        custom_param_ranges: as in `AutoMLRunner.run`.
        action: what is searched.
        resume: whether a workspace must be there to go on with; where it is, it always is.
        wandb_config: `{"enabled", "project"}`.
        search_schema: the schema of what is searched, a dict or a file, in place of a skill folder.
        trainer: a registered trainer that knows the network's spec.

    Raises:
        ValueError: for wrong settings, specs or ranges, and for those that a workspace was not
            begun with.
        RunError: when another process has the workspace.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the published call
        self,
        workspace: str | Path,
        network: str,
        train_specs: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        automl_hyperparameters: list[str] | None = None,
        custom_param_ranges: Any = None,
        action: str = "train",
        resume: bool = False,
        wandb_config: Mapping[str, Any] | None = None,
        search_schema: Mapping[str, Any] | str | Path | None = None,
        *,
        trainer: str = "",
    ) -> None:
        for name, path in (("workspace", workspace), ("network", network)):
            check_path(path, name)
        for name, text in (("action", action), ("trainer", trainer)):
            check_text(text, name)
        check_spec(train_specs, "train_specs")
        import_apart("optuna")
        mirrors = (mlflow_listener, *wandb_listeners(wandb_config))
        with as_value_errors():
            folder = Path(workspace).expanduser().resolve()
            demand_own(folder)
            if resume and not is_workspace(folder):
                raise RunError(
                    f"{folder}: is not an AutoML workspace, so there is nothing to resume"
                )
            demand_free(folder)
            place = _skill_folder(network, trainer) if search_schema is None else (
                write_skill(folder.parent, str(network), action, search_schema)
            )  # fmt: skip
            request = Request(
                skill=open_skill(place),
                action=action,
                workspace=folder,
                settings=settings or {},
                overrides=train_specs or {},
                hyperparameters=automl_hyperparameters,
                ranges=custom_param_ranges,
                trainer=trainer,
                platform=BY_CALLER,
                needs_data=False,
            )
            planned = plan_opened(request)
            self.run = open_or_create(folder, planned)
            self._slots = planned.study.concurrent or 1
            with contextlib.ExitStack() as held:
                held.enter_context(self.run.lock(Holder.CALLER))
                take_over(self.run, planned)
                self._bus = EventBus([EventFile(self.run.events_file)])
                held.callback(self._bus.close)
                self._begin(planned.settings.secrets, mirrors)
                self._held = held.pop_all()

    def _begin(self, secrets: Mapping[str, Any], mirrors: Listeners) -> None:
        """Bring engine and algorithm to where the ledger is."""
        self.facts: WorkspaceFacts = read_facts(self.run.path)
        known = demand_platform_jobs(self.run.path)
        self._jobs = {number: job for number, (job, _) in known.items()}
        self._ledger = Ledger.open(self.run.ledger_file)
        study = load_study(self.run.study_file)
        plan = with_own_uuid(self.run, read_plan(self.run.path))
        trainer = find_trainer(study.trainer)
        self._engine, self._algorithm = build_engine(
            self.run, study, plan, trainer, self._ledger, self._bus.emit,
            secrets=secrets, slots=self._slots,
        )  # fmt: skip
        self._epochs_key, self._num_epochs = trainer.epochs_key, plan.num_epochs
        self._name, self._confirm = plan.algorithm, study.search.confirm
        self._are_rungs = plan.route_style == RUNGS_STYLE
        self._state = StateWriter(self.run, study, self._engine, self._ledger)
        self._bus.add(self._state)
        self._objectives = objectives_of(self.facts)
        for make in mirrors:
            self._bus.add(make(self.run, study, plan, self._ledger))
        self._open: dict[int, Recommendation] = {}
        self._is_finished = False
        constants = constants_of(self.facts, study, plan)
        self._views = Views(self.run, self._ledger, self.facts, constants, self._outline)
        self._bus.add(self._views)
        self._bus.emit(
            describe_start(self.run, study, self._engine, self._ledger, self.facts.metric)
        )
        waiting = {trial.number for trial in self._ledger.trials() if not trial.state.is_finished}
        while not waiting <= self._open.keys() and self._hand_out() is not None:
            pass  # what was under way may end before it is asked for again
        self._unseen = list(self._open.values())
        self._state.write_now()  # the bus would pass over a file that cannot be written

    def _hand_out(self) -> Recommendation | None:
        """Take one more configuration from the search; None while it has none."""
        launch = self._engine.next_launch()
        if launch is None:
            return None
        self._open[launch.number] = self._show(launch.number)
        return self._open[launch.number]

    @property
    def wandb_group(self) -> str:
        """The group under which all runs of this search are found."""
        return group_of(self.run)

    def is_complete(self) -> bool:
        """Whether nothing is left to train or to report."""
        return self._is_finished or (not self._open and self._engine.is_over())

    def next_recommendation(self) -> list[Recommendation]:
        """Return configurations to train now; empty while reported values are awaited.

        A configuration that goes on from an earlier one has `resume_from_epoch`; its `specs` then
        hold the epoch to train until.
        """
        self._demand_open()
        fresh = [rec for rec in self._unseen if rec.id in self._open]
        self._unseen = []
        while len(self._open) < self._slots and (rec := self._hand_out()) is not None:
            fresh.append(rec)
        self._state.catch_up()
        return fresh

    def report_result(
        self,
        rec_id: int,
        value: float | Mapping[str, float] | None,
        best_epoch: int | None = None,
        status: str = "success",
    ) -> None:
        """Tell the value of a configuration; None, or a status of failure, means that it has none.

        Args:
            rec_id: its id.
            value: in the caller's own scale; a mapping of metric -> value with several objectives,
                where `metric_value`, `metric`, `value` or `score` stand for the primary one.
            best_epoch: the epoch that it was measured at; the last one where not given.
            status: `success` or `failure`, or another of a platform's words for them.

        Raises:
            AutoMLError: for an id that was not handed out, or has been reported, and for a value,
                an epoch or a status that is none; the configuration then still waits.
        """
        self._demand_open()
        number = read_id(rec_id, self._open)
        record = self._ledger.trial(number)
        length = record.params.get(self._epochs_key, record.until_epoch)
        told = read_report(
            self._objectives, value, best_epoch, status,
            epochs=length if self._epochs_key else None,
        )  # fmt: skip
        self._note_jobs()
        del self._open[number]
        if told.failure:
            self._engine.on_end(number, Ended(failure={"kind": "code", "message": told.failure}))
            self._state.catch_up()
            return
        metrics = dict(told.values) if self._objectives.is_several else {}
        metrics |= {"best_epoch": float(told.best_epoch)} if told.best_epoch else {}
        score = self._objectives.score(told.values)
        payload = {"epoch": record.until_epoch, "value": score, "metrics": metrics}
        self._engine.on_epoch(number, payload)
        self._engine.on_end(number, Ended())
        self._state.catch_up()

    def get_best(self) -> Recommendation | None:
        """The best configuration so far, of those trained longest."""
        best = best_trial(self._ledger.trials(), self._ledger.direction)
        return None if best is None else self._show(best.number)

    def get_status(self) -> dict[str, Any]:
        """As `query_status` of this workspace, with `pareto_front` and `active_rec_ids`."""
        self._state.write_now()
        self._views.catch_up()
        return {
            **query_status(self.run.path),
            "pareto_front": self.get_pareto_front(),
            "active_rec_ids": sorted(self._open),
        }

    def get_progress(self) -> dict[str, Any]:
        """`completed`, `total`, `best_metric`, `best_rec_id`, `algorithm` and more."""
        counts = self.get_status()["progress"]
        return {**counts, **self.result()["progress"]}

    def get_pareto_front(self) -> list[dict[str, Any]]:
        """The trials that no other beats in every objective; empty with one objective."""
        front: list[dict[str, Any]] = self.result().get("pareto_front", [])
        return front

    def get_verified_full_fidelity_best(self) -> Recommendation | None:
        """The best configuration of those that were trained in full; None before there is one."""
        best = self.get_best()
        if best is None or self._ledger.trial(best.id).epochs < self._num_epochs:
            return None
        return best

    def get_required_checkpoint_job_ids(self) -> set[str]:
        """Jobs whose checkpoints are still needed: the best's, and those that others go on from."""
        needed = needed_trials(
            self._ledger, self.facts, self._algorithm, name=self._name, confirm=self._confirm
        )
        return {job for number in needed if (job := self._jobs.get(number))}

    def get_history(self) -> list[Recommendation]:
        """Every configuration."""
        return [self._show(t.number) for t in self._ledger.trials() if t.purpose == "search"]

    def result(self) -> dict[str, Any]:
        """The same result as `AutoMLRunner.run` returns."""
        return build_result(
            self.run, self._ledger, self.facts, self._show, self._outline,
            ended_because=self._engine.ended_because,
        )  # fmt: skip

    def finish(self) -> None:
        """Close the workspace; calling it again does nothing. Reading stays possible."""
        if self._is_finished:
            return
        is_over = self.is_complete()
        self._is_finished = True
        self._state.close_as("finished" if is_over else "interrupted")
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def _demand_open(self) -> None:
        if self._is_finished:
            raise RunError(f"{self.run}: finish() was called; open the workspace again to go on")
        self.run.demand_here()

    def _show(self, number: int) -> Recommendation:
        rec, spec = self._outline(number), self._engine.specs.spec_of(self._ledger.trial(number))
        rec.full_spec = merged(spec, rec.specs, {"results_dir": rec.results_dir})
        return rec

    def _outline(self, number: int) -> Recommendation:
        """A trial without its full spec."""
        record = self._ledger.trial(number)
        self._note_jobs()
        rec = show_trial(
            record,
            self.facts,
            direction=self._ledger.direction,
            job_of=self._jobs.get,
            results_dir=str(self.run.trial_dir(number)),
            is_rung=self._are_rungs,
        )
        if self._are_rungs and self._epochs_key:  # rungs decide the epoch to train until
            rec.specs[self._epochs_key] = record.until_epoch
        return rec

    def _note_jobs(self) -> None:
        """Remember the job ids that the caller gave to open recommendations."""
        told = {number: rec.job_id for number, rec in self._open.items() if rec.job_id}
        if told.items() <= self._jobs.items():
            return
        self._jobs |= told
        write_json(self.run.path / AUTOML_JOBS, {n: [job, ""] for n, job in self._jobs.items()})


def _skill_folder(network: str, trainer: str) -> Path:
    folder = Path(network).expanduser()
    if (folder / "references").is_dir():
        return folder
    found = find_trainer(trainer) if trainer else registered_trainer(network)
    if found is None:
        raise SpecError(
            f"network: {network!r} is neither registered nor a skill folder; give the folder's path"
        )
    return found.skill_dir
