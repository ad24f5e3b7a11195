"""One start of an AutoML workspace: the search session plus the route's own steps."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from hpo.algorithms.for_study import build_algorithm
from hpo.automl import retention
from hpo.automl.arguments import describe_others
from hpo.automl.evaluation import FAILURE, Evaluator, plan_of_final, run_baseline
from hpo.automl.feedback import Feedback
from hpo.automl.finishing import conclude, evaluate_again
from hpo.automl.hooks import CallbackListener, HookedDriver, Lengths
from hpo.automl.outcome import build_result, front_of_trials
from hpo.automl.platform import PlatformExecutor, PlatformPlan
from hpo.automl.recommendation import Recommendation, show_trial
from hpo.automl.review import (
    NOT_CONFIRMED,
    REVIEW_ONLY,
    RouteReview,
    describe_time,
    first_batch,
    look_at_machine,
    ways_to_shorten,
    ways_without_baseline,
)
from hpo.automl.route_settings import RouteSettings
from hpo.automl.sdk import Platform
from hpo.automl.skill_trainer import SkillTrainer
from hpo.automl.submission import Submission
from hpo.automl.views import Views, constants_of
from hpo.automl.workspace import (
    RUNGS_STYLE,
    WorkspaceFacts,
    demand_platform,
    objectives_of,
    read_facts,
)
from hpo.core.event_json import from_dict
from hpo.core.events import Preparing, Review
from hpo.core.metric_values import find_metric
from hpo.core.protocols import Algorithm, Executor, TrialDriver
from hpo.core.route_events import Baseline
from hpo.core.spec_dicts import flatten
from hpo.core.trial import TrialRecord
from hpo.jobs.parents import platform_jobs
from hpo.jobs.staging import stage_sources
from hpo.results.model_costs import cost_of
from hpo.run.plain_files import read_printed
from hpo.run.run_dir import RunDir
from hpo.searching.checkpoint_cleaner import Keeper
from hpo.searching.engine import Engine
from hpo.searching.session import Session
from hpo.searching.settings import SearchResult

logger = logging.getLogger(__name__)

_OTHER_VALUES = {
    False: "its trials have the values of {}, and this start passes none, so new ones are "
    "ranked against them by their logs; pass it to AutoMLRunner.run, or start a new workspace",
    True: "its trials have the values of their logs, and new ones are ranked against them by what "
    "{} says; leave it out, or start a new workspace",
}
"""Why a start with or without a caller's function gives other values than those before it."""
_OTHER_ARGUMENTS = (
    "the arguments of its jobs are no longer those that it was begun with ({}), and new trials are "
    "ranked with the earlier ones; pass the same to AutoMLRunner.run"
)


@dataclass(slots=True, kw_only=True)
class RouteResult(SearchResult):
    """How one start of a workspace ended."""

    result: dict[str, Any]
    """The route's result (`hpo.automl.outcome.build_result`)."""


class AutoMLSession(Session):
    """Reviews, searches and hands on in the route's way; `SearchSettings.make_session` takes it."""

    def __init__(self, *args: Any, route: RouteSettings | None = None) -> None:
        super().__init__(*args)
        self.route = route or RouteSettings()
        self.declined = ""
        """Why the review stopped the search, if it did."""
        self._has_concluded = False
        self._changed_evaluations: set[str] = set()
        self.facts: WorkspaceFacts = self._current_facts()
        self.skill_trainer = cast(SkillTrainer, self.trainer)
        self.objectives = objectives_of(self.facts)
        self._jobs = {} if self.route.platform is None else platform_jobs(self.run.path)
        """Trial -> (job id, results folder) on a platform; the executor keeps them up to date."""
        self._algorithm: Algorithm | None = None
        known = [t.number for t in self.ledger.trials()]
        self.notes = Feedback(self.run.path)
        constants = constants_of(self.facts, self.study, self.plan)
        self.bus.add(Views(self.run, self.ledger, self.facts, constants, self.outline))
        self.bus.add(CallbackListener(self.route.hooks, self.show, known, self.notes))

    def _current_facts(self) -> WorkspaceFacts:
        """The workspace's constants; an extended budget changes the total.

        Raises:
            RunError: when its trials are started elsewhere.
        """
        facts = read_facts(self.run.path)
        demand_platform(self.run.path, facts, is_given=self.route.platform is not None)
        functions = {"eval_fn": facts.has_eval_fn, "metric_extractor": facts.has_extractor}
        for name, begun in functions.items():
            is_given = getattr(self.route.hooks, name) is not None
            if begun not in (None, is_given):
                logger.warning("%s: %s", self.run, _OTHER_VALUES[is_given].format(name))
        if others := describe_others(facts.job_arguments, self.route.platform_arguments):
            logger.warning("%s: %s", self.run, _OTHER_ARGUMENTS.format(others))
        total = self.study.budget.trials if facts.total is not None else None
        current = replace(
            facts,
            total=total or facts.total,
            first_adjustments=self._moved_defaults(),
            **self.route.changes,
        )
        if current != facts and not self.route.review_only:
            current.write(self.run.path)
        was, now = facts.evaluations, current.evaluations
        self._changed_evaluations = {name for name in now if now[name] != was.get(name)}
        return current

    def _moved_defaults(self) -> list[dict[str, Any]]:
        """Values of the spec that lie outside their range, so that the first trial has others."""
        spec = flatten(self.plan.base_spec)
        return [
            {"param": name, "from": spec[name], "to": value, "reason": "outside its range"}
            for name, value in self.space.default().items()
            if name in spec and spec[name] != value
        ]

    # What trials look like to a caller ----------------------------------------------------------

    def show(self, number: int) -> Recommendation:
        """A trial as the caller sees it."""
        rec = self.outline(number)
        rec.full_spec = self.spec_of(self.ledger.trial(number))
        return rec

    def outline(self, number: int) -> Recommendation:
        """The same without its full spec, which would be read from the trial's folder."""
        return show_trial(
            self.ledger.trial(number),
            self.facts,
            direction=self.ledger.direction,
            job_of=lambda trial: self._job_of(trial)[0],
            results_dir=self._job_of(number)[1],
            is_rung=self.plan.route_style == RUNGS_STYLE,
        )

    def spec_of(self, record: TrialRecord) -> dict[str, Any]:
        """The full spec of a trial; one that has ended keeps what it was trained with."""
        specs = self.specs_for(self.run)
        return specs.trained_spec(record) if record.state.is_finished else specs.spec_of(record)

    def _job_of(self, number: int) -> tuple[str, str]:
        """A trial's job id and folder; without a platform the folder is the id."""
        if self.route.platform is not None:
            return self._jobs.get(number, ("", ""))
        folder = str(self.run.trial_dir(number))
        return folder, folder

    def search(self) -> RouteResult:
        """Say which way was taken, then search."""
        if self.route.routed is not None:
            self.bus.emit(self.route.routed)
        ended = super().search()
        if ended.finished and not self._has_concluded:  # it was over before this start
            evaluate_again(self, self._changed_evaluations)
        because = ended.finished.ended_because if ended.finished else "interrupted"
        found = build_result(
            self.run, self.ledger, self.facts, self.show, self.outline, ended_because=because
        )
        return RouteResult(
            run=ended.run, finished=ended.finished, result=found, declined=self.declined
        )

    # The search -----------------------------------------------------------------------------------

    @property
    def secrets(self) -> Mapping[str, Any]:
        """What the caller passed for this start alone."""
        return self.route.secrets

    def make_algorithm(self) -> Algorithm:
        """Build the algorithm, and keep it for whoever asks what it may go on from."""
        self._algorithm = build_algorithm(
            self.study, self.plan, self.trainer, self.space,
            slots=self.slots.count, secrets=self.secrets, notes=lambda: self.notes.all,
        )  # fmt: skip
        return self._algorithm

    def make_executor(self) -> Executor:
        """Build what runs trials: here, or as jobs of the platform."""
        if (platform := self.route.platform) is None:
            return super().make_executor()
        executor = PlatformExecutor(
            platform, self._platform_plan(), self.route.hooks, self.ledger, self.run.path
        )
        self._jobs = executor.job_ids
        if retention.is_on(self.facts, platform):
            self.bus.add(retention.ArtifactCleaner(
                platform, executor.artifacts, self.ledger, self._job_of, self.needed_trials
            ))  # fmt: skip
        return executor

    def driver_of(self, engine: Engine) -> TrialDriver:
        """Put the caller's functions between what runs trials and the engine."""
        hooks = self.route.hooks
        if self.route.platform is not None:  # the extractor was asked at every poll already
            hooks = replace(hooks, metric_extractor=None)
        return HookedDriver(
            engine, hooks, self.ledger,
            show=self.show, objectives=self.objectives,
            read_log=lambda number: read_printed(self.run.trial_dir(number) / "log.txt"),
            known_of=self._known_of,
            lengths=Lengths(
                full=self.plan.num_epochs,
                key=self.trainer.epochs_key if self._are_rungs_trials() else "",
            ),
        )  # fmt: skip

    def needed_trials(self) -> set[int]:
        """Trials whose checkpoints are still needed."""
        return retention.needed_trials(
            self.ledger, self.facts, self._algorithm,
            name=self.plan.algorithm, confirm=self.study.search.confirm,
        )  # fmt: skip

    def _watch_disk(self, algorithm: Algorithm) -> Keeper | None:
        """Let `--keep best` keep the front of several objectives, too."""
        keeper = super()._watch_disk(algorithm)
        if keeper is not None:
            keeper.also = lambda trials: front_of_trials(trials, self.ledger.direction, self.facts)
        return keeper

    def _known_of(self, number: int) -> dict[str, float]:
        """Values that a trial has without being trained: the measured latency of its model."""
        row = cost_of(self.architectures.rows, self.ledger.trial(number).params)
        if row is None or not self.objectives.is_several:
            return {}
        costs = {"latency_ms": row["latency_ms"], "params": row["params"]}
        found = {name: find_metric(costs, name) for name in self.objectives.names[1:]}
        return {name: value for name, value in found.items() if value is not None}

    def _are_rungs_trials(self) -> bool:
        is_told_at_end = self.route.platform is not None or not self.skill_trainer.is_registered
        return self.plan.route_style == RUNGS_STYLE and is_told_at_end

    @property
    def engine_run(self) -> RunDir | None:
        """None on a platform: its jobs, not folders here, hold specs and checkpoints."""
        return self.run if self.route.platform is None else None

    def _platform_plan(self) -> PlatformPlan:
        skill, action = self.skill_trainer.skill, self.facts.action
        # Searches that begin in the same second, in two folders, may share a platform.
        name = f"{self.run.path.name}-{self.plan.study_uuid[:8]}"
        submission = Submission(
            platform=cast(Platform, self.route.platform),
            skill=skill,
            action=action,
            execution=self.skill_trainer.execution,
            image=self.facts.image,
            name_of=lambda number: f"{name}-rec-{self._attempt_of(number)}",
            attempt_of=self._attempt_of,
            arguments=self.route.platform_arguments,
        )
        return PlatformPlan(
            objectives=self.objectives,
            epochs_key=self.trainer.epochs_key,
            slots=self.study.concurrent or 1,
            action=action,
            submission=submission,
            poll_s=self.route.poll_s,
            resume_fields=tuple(skill.fields(action, "resume_model")),
            finish_spec=self._finished_spec,
        )

    def _attempt_of(self, number: int) -> str:
        """A trial's number, and the number of the retry: what a lost job holds is not touched."""
        retries = self.ledger.trial(number).retries
        return f"{number}-retry-{retries}" if retries else str(number)

    def _finished_spec(self, spec: dict[str, Any], epochs: int) -> dict[str, Any]:
        """The spec that a job gets: it keeps few checkpoints where artifacts are deleted anyway."""
        if not retention.is_on(self.facts, self.route.platform):
            return spec
        known = set(flatten(self.skill_trainer.template))
        goes_on = self.plan.route_style == RUNGS_STYLE
        return retention.keep_few(spec, self.facts, known, epochs, goes_on=goes_on)

    # The review -----------------------------------------------------------------------------------

    def _review(self, executor: Executor) -> bool:
        """Stage the data once, with a record, before anything reads them."""
        if self.route.platform is None:
            held_out = {f"evaluate {key}": value for key, value in self.facts.eval_keys.items()}
            sources = {**self.facts.train_keys, **held_out}
            stage_sources(sources or self.plan.sources, self.trainer, self.run.path)
        return super()._review(executor)

    def confirm_review(self, review: Review, executor: Executor) -> bool:
        """Evaluate the baseline, show everything, ask; nothing has been trained until then."""
        baseline = self.measure_start(executor)
        machine = look_at_machine(self.run.path, review.probe, self.slots)
        warnings = [*review.warnings, *self.facts.warnings, *machine["warnings"]]
        if self.route.max_hours is not None and review.estimate_s is None:
            warnings.append("max_hours: cannot be checked, as no time of a trial is known")
        full = RouteReview(
            **{**vars(review), "warnings": warnings},
            network=self.facts.network,
            skill_dir=self.facts.skill_dir,
            platform=self.facts.platform or "this machine",
            image=self.facts.image,
            workspace=str(self.run.path),
            metric=self.facts.metric,
            direction=self.facts.direction,
            recommendations=self.facts.total,
            data_keys=self.facts.train_keys or dict(self.plan.sources),
            parameters=self.space.to_json()["parameters"],
            adjustments=[*self.facts.adjustments, *self.facts.first_adjustments],
            first_batch=self._first_batch(),
            expected=describe_time(
                review.forecast,
                seconds_per_epoch=review.probe.get("seconds_per_epoch"),
                num_epochs=self.plan.num_epochs,
                slots=self.slots.count,
            ),
            machine=machine,
            baseline=baseline,
            final_evaluation=plan_of_final(
                self.facts,
                has_fn=self.route.hooks.final_eval_fn is not None,
                is_on_platform=self.route.platform is not None,
            ),
        )
        # A search that has a trial was begun without a baseline.
        is_accepted = self.route.accept_no_baseline or bool(self.ledger.trials())
        limit = self.route.max_hours
        if limit is not None and (full.estimate_s or 0.0) > limit * 3600:
            told = self.ledger.trials(), full.expected, limit, self.trainer.epochs_key
            self.declined = ways_to_shorten(self.facts, *told)
        elif baseline.get("status") == FAILURE and not is_accepted:
            self.declined = ways_without_baseline(self.facts, self.run.place, baseline)
        if self.declined:  # told, but nobody is asked
            self.bus.emit(full)
        elif not super().confirm_review(full, executor):
            self.declined = NOT_CONFIRMED
        elif self.route.review_only:
            self.declined = REVIEW_ONLY
        return not self.declined

    def _first_batch(self) -> list[dict[str, Any]] | None:
        """None where an outside model will propose: asking it twice would not give the same."""
        if self.route.secrets or "llm_endpoint" in self.study.search.algorithm_options:
            return None
        count, most = self.slots.count, self.study.budget.trials
        if most is not None:
            count = min(count, max(0, most - self.ledger.next_number))
        waiting = sum(not t.state.is_finished for t in self.ledger.trials())
        return first_batch(super().make_algorithm(), self.ledger, max(count, min(1, waiting)))

    def measure_start(self, executor: Executor) -> dict[str, Any]:
        """Evaluate what the search starts from."""
        blocked = ""
        if self.route.platform is not None:
            what = "there is no base checkpoint, so trials start from scratch"
            if self.facts.base_checkpoint:
                what = "the base checkpoint was not evaluated"
            blocked = f"{what}; pass baseline_fn or baseline_metric to compare with the start"
        self.bus.emit(Preparing(what="baseline"))
        result = run_baseline(self.evaluator(executor), self.route.hooks, blocked=blocked)
        self.bus.emit(from_dict(Baseline, result))
        return result

    def evaluator(self, executor: Executor) -> Evaluator:
        """What evaluates checkpoints of this workspace."""
        return Evaluator(
            run=self.run,
            trainer=self.skill_trainer,
            executor=executor,
            facts=self.facts,
            base_spec=self.plan.base_spec,
        )

    def conclude(self, engine: Engine, executor: Executor) -> dict[str, Any] | None:
        """Evaluate the best trial, compare, write `best/`; all failed is a result too."""
        self._has_concluded = True
        return conclude(self, engine, executor)
