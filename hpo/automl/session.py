"""One start of an AutoML workspace: the search session plus the route's own steps."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from hpo.automl.evaluation import FAILED, Evaluator, run_baseline
from hpo.automl.finishing import conclude
from hpo.automl.hooks import CallbackListener, HookedDriver, Hooks
from hpo.automl.platform import Platform, PlatformExecutor, PlatformPlan
from hpo.automl.recommendation import Recommendation, metric_of, status_word
from hpo.automl.review import (
    RouteReview,
    describe_time,
    first_batch,
    look_at_machine,
    ways_to_shorten,
)
from hpo.automl.skill_trainer import SkillTrainer
from hpo.automl.views import Views
from hpo.automl.workspace import RUNGS_STYLE, WorkspaceFacts, read_facts
from hpo.core.errors import RunError
from hpo.core.event_json import from_dict
from hpo.core.events import Preparing, Review
from hpo.core.protocols import Executor, TrialDriver
from hpo.core.route_events import Baseline, Routed
from hpo.core.spec_dicts import flatten
from hpo.core.trial import TrialRecord
from hpo.jobs.staging import stage_sources
from hpo.run.run_dir import RunDir
from hpo.searching.engine import Engine
from hpo.searching.session import SearchResult, SearchSettings, Session

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class RouteSettings:
    """What belongs to this start of a workspace, not to its study."""

    hooks: Hooks = field(default_factory=Hooks)
    platform: Platform | None = None
    platform_facts: Mapping[str, Any] = field(default_factory=dict)
    poll_s: float = 5.0
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    max_hours: float | None = None
    accept_no_baseline: bool = False
    """Whether to go on when the baseline could not be evaluated."""
    review_only: bool = False
    routed: Routed | None = None
    """Which way the request went and why."""
    declined: str = ""
    """Set by the session: why the review stopped the search."""
    session: AutoMLSession | None = None
    """Set by the session: itself."""


def with_session(settings: SearchSettings, route: RouteSettings | None = None) -> SearchSettings:
    """Let a start of a search be one of an AutoML workspace."""
    return replace(settings, make_session=functools.partial(AutoMLSession, route=route))


class AutoMLSession(Session):
    """Reviews, searches and hands on in the route's way."""

    def __init__(self, *args: Any, route: RouteSettings | None = None) -> None:
        super().__init__(*args)
        self.route = route or RouteSettings()
        self.route.session = self
        self.facts: WorkspaceFacts = self._current_facts()
        self.skill_trainer = cast(SkillTrainer, self.trainer)
        self._platform: PlatformExecutor | None = None
        self._base_executor: Executor | None = None
        known = tuple(t.number for t in self.ledger.trials())
        self.bus.add(Views(self.run, self.ledger, self.facts, self._brain(), self._job_of))
        self.bus.add(CallbackListener(self.route.hooks, self.show, known))

    def _current_facts(self) -> WorkspaceFacts:
        """The workspace's constants; an extended budget changes the total.

        Raises:
            RunError: when its trials are jobs of a platform that was not passed.
        """
        facts = read_facts(self.run.path)
        if facts.platform and self.route.platform is None:
            raise RunError(
                f"{self.run}: its trials are jobs of {facts.platform}; go on with "
                "AutoMLRunner(platform_sdk=...).run(workspace_path=..., resume=True)"
            )
        total = self.study.budget.trials
        if facts.total is not None and total is not None and total != facts.total:
            facts = replace(facts, total=total)
            facts.write(self.run.path)
        moved = self._moved_defaults()
        if moved != facts.first_adjustments:
            facts = replace(facts, first_adjustments=moved)
            facts.write(self.run.path)
        return facts

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
        record = self.ledger.trial(number)
        job_id, folder = self._job_of(number)
        return Recommendation(
            id=number,
            specs=dict(record.params),
            status=status_word(record),
            job_id=job_id,
            resume_from_epoch=record.start_from[1] if record.start_from else None,
            metric=metric_of(record, self.ledger.direction),
            results_dir=folder,
            full_spec=self.spec_of(record),
        )

    def spec_of(self, record: TrialRecord) -> dict[str, Any]:
        """The full spec of a trial; one that has ended keeps what it was trained with."""
        specs = self.specs_for(self.run)
        return specs.trained_spec(record) if record.state.is_finished else specs.spec_of(record)

    def _job_of(self, number: int) -> tuple[str, str]:
        """A trial's job id and folder; without a platform the folder is the id."""
        if self._platform is not None:
            return self._platform.job_ids.get(number, ("", ""))
        folder = str(self.run.trial_dir(number))
        return folder, folder

    def _brain(self) -> dict[str, Any]:
        search = self.study.search
        return {
            "algorithm": self.plan.algorithm,
            "options": dict(search.algorithm_options),
            "pruner": self.plan.pruner,
            "seed": search.seed,
            "style": self.facts.style,
            "metric": self.facts.metric,
            "direction": self.facts.direction,
            "space_digest": self.plan.space_digest,
        }

    def search(self) -> SearchResult:
        """Say which way was taken, then search."""
        if self.route.routed is not None:
            self.bus.emit(self.route.routed)
        return super().search()

    # The search -----------------------------------------------------------------------------------

    @property
    def secrets(self) -> Mapping[str, Any]:
        """What the caller passed for this start alone."""
        return self.route.secrets

    def make_executor(self) -> Executor:
        """Build what runs trials, with the caller's functions between it and the engine."""
        hooks = self.route.hooks
        if self.route.platform is None:
            self._base_executor = super().make_executor()
            return _Hooked(self._base_executor, self._drive_with(hooks, self._log_of))
        self._platform = PlatformExecutor(
            self.route.platform, self._platform_plan(), hooks, self.ledger, self.run.path
        )
        after = replace(hooks, metric_extractor=None)  # it has been asked at every poll already
        return _Hooked(self._platform, self._drive_with(after, lambda _number: ""))

    def _drive_with(
        self, hooks: Hooks, read_log: Callable[[int], str]
    ) -> Callable[[TrialDriver], TrialDriver]:
        def wrap(driver: TrialDriver) -> TrialDriver:
            return HookedDriver(
                driver, hooks, self.ledger,
                show=self.show, read_log=read_log, metric=self.facts.metric,
                epochs_key=self.trainer.epochs_key if self._are_rungs_jobs() else "",
            )  # fmt: skip

        return wrap

    def _are_rungs_jobs(self) -> bool:
        is_told_at_end = self.route.platform is not None or not self.skill_trainer.is_registered
        return self.facts.style == RUNGS_STYLE and is_told_at_end

    @property
    def engine_run(self) -> RunDir | None:
        """None on a platform: its jobs, not folders here, hold specs and checkpoints."""
        return self.run if self.route.platform is None else None

    def _log_of(self, number: int) -> str:
        try:
            file = self.run.trial_dir(number) / "log.txt"
            return file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _platform_plan(self) -> PlatformPlan:
        skill = self.skill_trainer.skill
        facts = {
            "action": "train",
            "network_arch": skill.network_arch,
            "skill_dir": str(skill.path),
            "image": self.facts.image or skill.image,
            "command": skill.command("train"),
            "config_format": str(skill.actions.get("train", {}).get("config_format") or "yaml"),
            "inputs": skill.inputs("train"),
            "outputs": skill.outputs("train"),
            **self.route.platform_facts,
        }
        return PlatformPlan(
            metric=self.facts.metric,
            epochs_key=self.trainer.epochs_key,
            slots=self.study.concurrent or 1,
            facts=facts,
            describe=self._describe_job,
            poll_s=self.route.poll_s,
            resume_fields=tuple(skill.fields("train", "resume_model")),
        )

    def _describe_job(self, spec: dict[str, Any], number: int) -> dict[str, Any]:
        own = {key: value for key, value in spec.items() if key != "results_dir"}
        name = f"{self.run.path.name}-rec-{number}"
        return {"specs": own, "job_id": name, "name": name, "rec_id": number}

    # The review -----------------------------------------------------------------------------------

    def _review(self, executor: Executor) -> bool:
        """Stage the data once, with a record, before anything reads them."""
        if self.route.platform is None:
            held_out = {f"evaluate {key}": value for key, value in self.facts.eval_keys.items()}
            sources = {**self.facts.train_keys, **held_out}
            stage_sources(sources or self.plan.sources, self.trainer, self.run.path)
        return super()._review(executor)

    def tell_review(self, review: Review, executor: Executor) -> bool:
        """Evaluate the baseline, tell everything, ask; nothing has been trained until then."""
        baseline = self._baseline(executor)
        machine = look_at_machine(self.run.path, review.probe, self.slots)
        warnings = [*review.warnings, *self.facts.warnings, *machine["warnings"]]
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
            final_evaluation=self._final_plan(),
        )
        limit = self.route.max_hours
        if limit is not None and (full.estimate_s or 0.0) > limit * 3600:
            self.route.declined = ways_to_shorten(
                self.facts, full.expected, limit, self.trainer.epochs_key
            )
        elif baseline.get("status") == FAILED and not self.route.accept_no_baseline:
            self.route.declined = (
                f"the baseline ({baseline['label']}) could not be evaluated: {baseline['reason']}; "
                "mend that, or go on without one (accept_no_baseline)"
            )
        elif self.route.review_only:
            self.route.declined = "review only"
        if self.route.declined:  # told, but nobody is asked
            self.bus.emit(full)
        elif not super().tell_review(full, executor):
            self.route.declined = "not confirmed"
        return not self.route.declined

    def _first_batch(self) -> list[dict[str, Any]] | None:
        """None where an outside model will propose: asking it twice would not give the same."""
        if self.route.secrets or "llm_endpoint" in self.study.search.algorithm_options:
            return None
        left = self.study.budget.trials or 0
        count = min(self.slots.count, max(0, left - self.ledger.next_number))
        waiting = sum(not t.state.is_finished for t in self.ledger.trials())
        return first_batch(self.make_algorithm(), self.ledger, max(count, min(1, waiting)))

    def _final_plan(self) -> str:
        if self.route.hooks.final_eval_fn is not None:
            return "final_eval_fn, called with the best trial"
        if self.route.platform is not None:
            return "none: trials run on a platform and no final_eval_fn was passed"
        if self.facts.eval_keys:
            return "the best trial's checkpoint, once, on data that no trial has seen"
        return f"the best trial's checkpoint on the validation data: {self.facts.no_eval_reason}"

    def _baseline(self, executor: Executor) -> dict[str, Any]:
        if self.route.platform is not None:
            return {
                "status": "unavailable",
                "label": "base checkpoint" if self.facts.base_checkpoint else "untrained start",
                "reason": "trials run on a platform; evaluate the start there to compare with",
            }
        self.bus.emit(Preparing(what="baseline"))
        result = run_baseline(self.evaluator(executor))
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
        return conclude(self, engine, executor)


class _Hooked:
    """An executor whose trials speak to the engine through the caller's functions."""

    def __init__(self, inner: Executor, wrap: Callable[[TrialDriver], TrialDriver]) -> None:
        self._inner, self._wrap = inner, wrap

    def run(self, driver: TrialDriver) -> None:
        """Run trials."""
        self._inner.run(self._wrap(driver))

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the trainer."""
        return self._inner.call(method, *args)

    def call_in_all_slots(self, method: str, *args: Any) -> list[Any]:
        """Call a method of the trainer in every slot at once."""
        return self._inner.call_in_all_slots(method, *args)

    def divide(self, slots: Any) -> None:
        """Place what follows in other slots."""
        self._inner.divide(slots)

    def close(self) -> None:
        """Give workers back."""
        self._inner.close()
