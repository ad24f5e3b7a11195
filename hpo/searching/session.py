"""Runs one search from study to hand-off, for `hpo search` and `hpo resume`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hpo.core.budget import Budget, Spent
from hpo.core.bytes import parse_size
from hpo.core.durable_files import write_atomically
from hpo.core.errors import HpoError
from hpo.core.event_bus import EventBus, EventFile
from hpo.core.event_json import data_of, from_dict
from hpo.core.events import Error, Finished, Interrupted, Preparing, Review
from hpo.core.forecast import Forecast
from hpo.core.protocols import Algorithm, Executor, Trainer, TrialDriver, takes
from hpo.core.yaml_io import to_yaml
from hpo.executors.gpu_sharing import Measured, growth_of, measure_packed
from hpo.executors.placement import (
    make_executor,
    most_at_a_time,
    place_trials,
    sharing_asked,
)
from hpo.executors.ray_owner import leaving_unused
from hpo.results.handoff import SearchEnd, hand_on
from hpo.results.model_costs import Architectures
from hpo.run.create_run import create_run
from hpo.run.disk_errors import explain_disk_faults
from hpo.run.disk_space import FILES_PER_TRIAL, DiskSpace
from hpo.run.handed_on import has_ended, read_end
from hpo.run.ledger import Ledger
from hpo.run.ledger_backup import open_ledger
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import LEDGER_FILE, STUDY_FILE, RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.budget_account import remark_on
from hpo.searching.checkpoint_cleaner import Keeper
from hpo.searching.choose_network import plan_completed
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from hpo.searching.make_plan import plan_study
from hpo.searching.moved_data import explain_gone_files, moved_places, settle_run
from hpo.searching.resume import find_startable, load_run_study, open_plan
from hpo.searching.reviewing import count_staying, disk_warning, review_of, share_of
from hpo.searching.settings import SearchResult, SearchSettings
from hpo.searching.state_writer import StateWriter, describe_end, describe_start
from hpo.study.copied_run import with_own_uuid
from hpo.study.model_limits import parse_limits
from hpo.study.plan import StudyPlan, build_space, planned_space
from hpo.study.provenance import read_origin, take_origin, write_origin
from hpo.study.skill_address import moved_name
from hpo.study.spec import StudySpec, check_study
from hpo.study.stages import make_specs, planned_stages
from hpo.study.start_files import StartFiles

logger = logging.getLogger(__name__)


@leaving_unused()
def start_search(study: StudySpec, out: Path, settings: SearchSettings) -> SearchResult:
    """Plan a study, make its run directory and search.

    Raises:
        HpoError: for anything the user can mend, before the run directory appears where possible.
    """
    trainer = find_startable(study, is_route=settings.make_session is not None)
    plan, kept = None, settings.kept_below(out)
    if settings.completes:
        study, plan = plan_completed(study, trainer, settings, settings.runs or out, kept)
    slots = place_trials(study, trainer, settings)  # what cannot run here is refused at once
    plan = plan or plan_study(
        study, trainer, slots=slots.count, route_style=settings.route_style, kept=kept
    )

    def fill(folder: Path) -> None:
        (folder / STUDY_FILE).write_text(to_yaml(study.to_dict()), encoding="utf-8")
        plan.write(folder)
        space = build_space(study, trainer, plan.base_spec, num_trials=plan.planned_trials)
        write_origin(folder, take_origin(space, plan.sources, plan.base_spec, trainer))
        Ledger.create(folder / LEDGER_FILE, trainer.direction).close()
        settings.fill(folder)

    run = create_run(out, study.name, fill, prefix=settings.name_prefix)
    return _drive(run, study, plan, trainer, settings)


@leaving_unused()
def resume_search(
    run: RunDir,
    settings: SearchSettings,
    *,
    budget: Budget | None = None,
    keep: str | None = None,
    disk_quota: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> SearchResult:
    """Go on with a run from its ledger; of a finished one only the result is shown again.

    Args:
        run: the run.
        settings: of this start.
        budget: in place of the study's.
        keep: in place of the study's: `best` or `all`.
        disk_quota: in place of the study's, such as `20GB`.
        changes: other fields, in place of the study's.

    Raises:
        RunError: when the run cannot be read, or its space, data or code have changed since.
    """
    given = {"budget": budget, "keep": keep, "disk_quota": disk_quota}
    changes = {**(changes or {}), **{k: v for k, v in given.items() if v is not None}}
    study = replace(load_run_study(run), **changes)
    check_study(study, str)
    if budget is not None:
        remark_on(budget, run, study.search.confirm)
    texts = {**given, "budget": budget and budget.to_text()}
    flags = ((f"--{name.replace('_', '-')}", text) for name, text in texts.items() if text)
    run.asked = (*settings.place_flags, *flags)
    trained_by = moved_name(study.trainer, moved_places(settings))
    plan, trainer = open_plan(run, trained_by, is_route=settings.make_session is not None)
    is_changed = bool(budget or settings.places or settings.moved)
    is_over = not is_changed and has_ended(run, study.budget)  # nothing is trained beside it
    settings = replace(settings, is_over=is_over)
    return _drive(
        run, study, plan, trainer, settings, is_resumed=not is_over, is_changed=bool(changes)
    )


def _drive(
    run: RunDir,
    study: StudySpec,
    plan: StudyPlan,
    trainer: Trainer,
    settings: SearchSettings,
    *,
    is_resumed: bool = False,
    is_changed: bool = False,
) -> SearchResult:
    """Search while the lock is held; a changed study is kept once it is known to be usable."""
    gone = explain_gone_files(run, study, plan, trainer, is_resumed)
    run.start_words = settings.words
    with explain_disk_faults(run), run.lock(), gone:
        run.stop_file.unlink(missing_ok=True)  # from here on `hpo stop` means this start
        if is_resumed:
            study, plan = settle_run(run, study, plan, trainer, settings)
            run.asked = run.asked[len(settings.place_flags) :]
        plan = with_own_uuid(run, plan)
        ledger, backups = open_ledger(run, plan.study_uuid, on_driver=bool(settings.ray_address))
        bus = EventBus([EventFile(run.events_file), *backups])
        try:
            for make in settings.listeners:
                bus.add(make(run, study, plan, ledger))
            session: Session = (settings.make_session or Session)(
                run, study, plan, trainer, settings, ledger, bus
            )
            if is_changed:
                write_atomically(run.study_file, to_yaml(study.to_dict()))
            run.asked = ()
            return session.search()
        except (HpoError, KeyboardInterrupt):
            raise
        except Exception as error:
            bus.emit(Error(run_dir=str(run), message=f"{type(error).__name__}: {error}"))
            raise
        finally:
            bus.close()
            ledger.close()
            for backup in backups:
                backup.discard()


class Session:
    """One start of one run, while the lock is held.

    `make_executor`, `driver_of`, `confirm_review` and `conclude` are what another route changes.
    """

    def __init__(
        self,
        run: RunDir,
        study: StudySpec,
        plan: StudyPlan,
        trainer: Trainer,
        settings: SearchSettings,
        ledger: Ledger,
        bus: EventBus,
    ) -> None:
        self.run, self.study, self.plan, self.trainer = run, study, plan, trainer
        self.settings, self.ledger, self.bus = settings, ledger, bus
        self.space = planned_space(run.path, study, trainer, plan)
        self.stages = planned_stages(study, plan, trainer, run)
        self.slots = place_trials(study, trainer, settings, plan.base_spec)
        limits = parse_limits(study.search.max_latency, study.search.max_params)
        earlier = [stage.space for stage in self.stages]
        self.architectures = Architectures(run, self.space, plan.base_spec, limits, earlier)
        kept = read_origin(run).get("files", {})
        self.start_files = StartFiles(plan.base_spec, trainer, kept, run)
        self.spent_before = Spent()
        """What earlier starts of this search have used."""
        self.share_of: float | None = None
        """Where the trainer tells it (`Trainer.inspect_data`), after the review."""
        self.disk_space = DiskSpace(
            run,
            emit=bus.emit,
            should_stop=self._should_stop,
            quota=parse_size(study.disk_quota, "disk_quota"),
            keep=study.keep,
            free=settings.free_space,
        )
        folder = ledger.path.parent if ledger.path else run.path
        ledger.wait_with(partial(self.disk_space.wait_for_space, place=folder))

    def search(self) -> SearchResult:
        """Run to the end, or to the user's wish to pause."""
        algorithm = self.make_algorithm()
        engine = self._make_engine(algorithm)
        self.spent_before = engine.spent()
        state = StateWriter(self.run, self.study, engine, self.ledger)
        self.bus.add(state)
        keeper = self._watch_disk(algorithm)
        is_over = self.settings.is_over or (engine.is_over() and not engine.was_interrupted)
        if is_over and (done := read_end(self.run)):
            if keeper is not None:
                keeper.sweep()
            finished = from_dict(Finished, done)
            self.bus.emit(finished)
            state.close_as("finished", finished=done)
            return SearchResult(run=self.run, finished=finished)
        metric = self.trainer.monitoring_metric
        self.bus.emit(describe_start(self.run, self.study, engine, self.ledger, metric))
        try:
            return self._run(engine, state)
        except KeyboardInterrupt:
            state.close_as("interrupted")
            raise

    def _run(self, engine: Engine, state: StateWriter) -> SearchResult:
        """Review, search, hand on."""
        self.bus.emit(Preparing(what="workers"))
        with contextlib.closing(self.make_executor()) as executor:
            if not self._review(executor):
                state.close_as("declined")
                return SearchResult(run=self.run)
            engine.take_places(self.slots.count, self.slots.gpus)
            executor.run(self.driver_of(engine))
            if engine.was_interrupted:
                self.bus.emit(Interrupted(run_dir=str(self.run), resume=resume_command(self.run)))
                state.close_as("interrupted")
                return SearchResult(run=self.run)
            best = self.disk_space.wait_for_space(lambda: self.conclude(engine, executor))
            page = self._write_report(engine, executor) if self.settings.report else None
        finished = describe_end(self.run, self.study, engine, self.ledger, best, self.space, page)
        self.bus.emit(finished)
        kept = data_of(finished)
        self.disk_space.wait_for_space(lambda: state.close_as("finished", finished=kept))
        return SearchResult(run=self.run, finished=finished)

    def driver_of(self, engine: Engine) -> TrialDriver:
        """What the executor asks for launches and reports to."""
        return engine

    def _write_report(self, engine: Engine, executor: Executor) -> str | None:
        """Write the page about this search; a search is worth as much without one."""
        from hpo.report.page import write_report
        from hpo.report.run_data import load_run_data

        self.bus.emit(Preparing(what="report"))
        try:
            because = engine.ended_because
            facts = load_run_data(self.run, status="finished", because=because)
            return str(write_report(facts, executor))
        except Exception as error:
            logger.warning("no report was written: %s", error)
            logger.debug("the traceback", exc_info=True)
            return None

    @property
    def engine_run(self) -> RunDir | None:
        """Where the engine writes trials' specs and finds their checkpoints."""
        return self.run

    def specs_for(self, run: RunDir | None) -> TrialSpecs:
        """What makes the full specs of trials, whose folders lie in `run`."""
        return make_specs(self.study, self.plan, self.trainer, self.space, self.stages, run=run)

    @property
    def secrets(self) -> Mapping[str, Any]:
        """Options of the algorithm that no file holds."""
        return {}

    def make_algorithm(self) -> Algorithm:
        """Build the study's algorithm, without any trial."""
        from hpo.algorithms.for_study import build_algorithm

        return build_algorithm(
            self.study, self.plan, self.trainer, self.space,
            slots=self.slots.count, secrets=self.secrets,
        )  # fmt: skip

    def make_executor(self) -> Executor:
        """Build what runs trials."""
        return make_executor(self.study, self.slots, self.settings)

    def conclude(self, engine: Engine, executor: Executor) -> dict[str, Any] | None:
        """Hand the best trial on, once the budget is spent."""
        end = SearchEnd(
            budget=self.study.budget, because=engine.ended_because, share_of=self.share_of
        )
        return hand_on(
            self.run, self.plan, self.trainer, self.ledger, executor, self.bus.emit,
            specs=engine.specs, end=end,
        )  # fmt: skip

    def confirm_review(self, review: Review, executor: Executor) -> bool:
        """Show what will happen and ask whether to go on."""
        del executor
        self.bus.emit(review)
        return self.settings.confirm_start(review)

    def _should_stop(self) -> bool:
        self.run.demand_here()
        return self.settings.should_stop() or self.run.stop_file.exists()

    def _watch_disk(self, algorithm: Algorithm) -> Keeper | None:
        """Learn from events how large checkpoints are, and remove those that nothing can need."""
        if self.engine_run is None:
            return None
        keeper = Keeper(
            self.run, self.ledger, algorithm, keep=self.study.keep,
            confirm=self.study.search.confirm, averages=self.plan.averages, emit=self.bus.emit,
        )  # fmt: skip
        keeper.is_scarce, self.disk_space.make_room = self.disk_space.is_little, keeper.sweep
        self.bus.add(keeper)
        self.bus.add(self.disk_space)  # which warns of what is left when the keeper is through
        return keeper

    def _make_engine(self, algorithm: Algorithm) -> Engine:
        return Engine(
            ledger=self.ledger,
            algorithm=algorithm,
            plan=Plan(
                specs=self.specs_for(self.engine_run),
                budget=self.study.budget,
                confirm=self.study.search.confirm,
                gpus_per_trial=self.slots.gpus,
                at_a_time=self.slots.count,
                spent_before_s=self.plan.screened_s,
                study_seed=self.study.search.used_seed,
                num_epochs=self.plan.num_epochs,
                until_converged=self.study.search.until_converged,
                refuse=self._refuse,
            ),
            emit=self.bus.emit,
            should_stop=self._should_stop,
            disk_space=None if self.engine_run is None else self.disk_space,
        )

    def _refuse(self, params: Mapping[str, Any]) -> str:
        """Why parameters are not to be tried."""
        self.start_files.demand_same()
        return self.architectures.refuse(params)

    def _review(self, executor: Executor) -> bool:
        """Prepare the data, measure an epoch, show what will happen, ask whether to go on."""
        review = review_of(self, executor, self.settings.progress)
        self.share_of = share_of(review.data)
        return self.confirm_review(review, executor)

    def disk_warning(self, probe: Mapping[str, Any], expected: Forecast | None) -> str:
        """Say before the start that checkpoints may find no room; empty while they will."""
        size = int(probe.get("checkpoint_bytes") or 0)
        self.disk_space.expect(size)
        stay = count_staying(self.study, self.spent_before, expected, self.architectures.rows)
        files = 2 * stay + FILES_PER_TRIAL * self.slots.count  # the newest and the best of each
        return disk_warning(self.study.keep, self.disk_space.left(), size, files)

    def measure(self, executor: Executor, spec: Mapping[str, Any]) -> Measured:
        """Measure an epoch in every slot at once; trials may come to share GPUs by what it says."""
        if not self.settings.probe:
            return {}, None
        growth = growth_of(self.space, self.trainer, self.plan.base_spec)
        probe, self.slots, packing = measure_packed(
            executor, spec, self.slots, sharing_asked(self.study, self.settings), growth,
            as_told=bool(self.study.concurrent or self.settings.ray_address),
            trials=most_at_a_time(self.study),
            briefly=takes(self.trainer.probe, "brief"),
        )  # fmt: skip
        return probe, packing
