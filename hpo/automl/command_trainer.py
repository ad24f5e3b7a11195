"""Trainer for a skill without a registered trainer: runs the skill's own commands.

What such a trainer can tell is read from its published `status.json`, then from its log.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.automl.artifacts import tables_in_folder, values_in_folder
from hpo.automl.failures import explain_analysis, explain_failure
from hpo.automl.metrics import find_in_log
from hpo.automl.routing import read_template
from hpo.automl.script import ScriptExecution, read_execution
from hpo.automl.status_file import StatusFile
from hpo.core.addresses import is_missing, is_remote, without_file
from hpo.core.durable_files import write_atomically
from hpo.core.errors import RunError, SpecError
from hpo.core.process.groups import end_group
from hpo.core.protocols import Progress, Report, Spec
from hpo.core.spec_dicts import flatten, lookup, merged, nest, value_at
from hpo.jobs.job import ENDED, PENDING, RUNNING, SUCCESS, Job, read_job
from hpo.jobs.run_command import command_of, start_worker
from hpo.jobs.spec_formats import format_of, read_spec, render_spec
from hpo.run.checkpoints import choose_checkpoint
from hpo.run.plain_files import read_printed
from hpo.study.skill import Skill
from search_spaces import load_schema

POLL_S = 0.1
STOP_WITHIN_S = 30.0
SPEC_NAME = "job_spec"


class CommandFailure(Exception):  # noqa: N818 - a fact about a trial
    """A command ended without a result; `kind` is one of the named causes."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class CommandTrainer:
    """Implements `hpo.core.protocols.Trainer` over subprocesses.

    Args:
        skill: the network's folder.
        metric: name of the monitored metric.
        direction: `maximize` or `minimize`.
        action: what is run in each trial.
        execution: the script that the action is, where it is one.
    """

    multiple_of: Mapping[str, str] = {}

    def __init__(
        self,
        skill: Skill,
        metric: str,
        direction: str,
        *,
        action: str = "train",
        execution: ScriptExecution | None = None,
    ) -> None:
        self._skill, self._execution = skill, execution
        self.action = action
        self.name = skill.network_arch or skill.path.name
        self.skill_dir = skill.path
        self.monitoring_metric = metric
        self.direction = direction
        self._tree = full_template(skill, action)
        known = flatten(self._tree)
        length = skill.shorthands.get("num_epochs", "train.num_epochs")
        self.epochs_key = length if length in known else ""
        if skill.gpu_key:
            self.devices_key = skill.gpu_key
        self.seed_key = next((name for name in ("train.seed", "seed") if name in known), "")

    # The spec ----------------------------------------------------------------------------------

    def validate(self, spec: Spec) -> dict[str, Any]:
        """Return the spec over the schema's defaults and the template; the trainer checks it."""
        return merged(self._tree, nest(spec))

    def inactive(self, spec: Spec) -> dict[str, str]:
        """Nothing is known of what does nothing."""
        del spec
        return {}

    def limits(self, spec: Spec) -> dict[str, tuple[float | None, float | None]]:
        """Nothing is known beyond the schema."""
        del spec
        return {}

    # The data ----------------------------------------------------------------------------------

    def data_overrides(self, sources: Mapping[str, str]) -> dict[str, Any]:
        """Its sources stand in the spec already."""
        del sources
        return {}

    def split_data(
        self, folder: str, out: Path, *, seed: int, class_disjoint: bool, group_by: str = ""
    ) -> dict[str, str]:
        """Refuse: how this network's data are laid out is not known here."""
        del out, seed, class_disjoint, group_by
        raise SpecError(f"data: {self.name} has no split of its own; name its sources ({folder})")

    def demo_data(self, folder: Path, seed: int) -> dict[str, str]:
        """There are none."""
        del folder, seed
        return {}

    def inspect_data(
        self, spec: Spec, *, opens: bool = True, beside: Spec | None = None
    ) -> dict[str, Any]:
        """Look whether every local input of the action is there.

        Raises:
            SpecError: naming every mandatory input that is not.
        """
        del opens, beside
        problems = []
        inputs = (self._action(self.action).get("inputs") or {}).items()
        for name, facts in inputs:
            value = value_at(spec, name)
            if (facts or {}).get("optional") and not value:
                continue
            if not value:
                problems.append(f"{name}: is mandatory and not set")
            elif isinstance(value, str) and is_missing(value):
                problems.append(f"{name}: {value} is not there")
        if problems:
            raise SpecError("; ".join(problems))
        return {"splits": {}, "findings": []}

    def stage(self, source: str) -> Path:
        """Leave sources as they are: the command opens them.

        Raises:
            SpecError: for an address.
        """
        if is_remote(source):
            raise SpecError(f"{source}: {self.name} has no way to fetch it; give a local path")
        return Path(without_file(source))

    def prepare(self, spec: Spec, progress: Progress | None = None) -> None:
        """Nothing can be shared between its trials."""

    def probe(self, spec: Spec, brief: bool = False) -> dict[str, Any]:
        """Nothing can be measured before the first trial."""
        del spec, brief
        return {}

    # Actions -----------------------------------------------------------------------------------

    def fit(
        self,
        spec: Spec,
        report: Report,
        resume_from: Path | None = None,
        start_epoch: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Train one trial as a command; a killed driver finds it again where it still runs.

        Returns:
            A receipt of what the command was given: the values of its spec file, read back.

        The value of the last epoch is None where neither a result file nor the log tells the
        metric: the caller's own functions may know it.

        Raises:
            CommandFailure: when the command fails.
        """
        folder = Path(str(spec["results_dir"]))
        known = self._known_job(folder)
        if known is not None and known.status not in ENDED and progress is not None:
            progress(f"command of an earlier start, process {known.pid}", 0, 0)
        # A command that is known may have begun before the epochs that are known of it.
        start = 0 if known is not None and not self._goes_on(folder) else start_epoch or 0
        told = StatusFile(folder, self.monitoring_metric, (self.action,), start=start)
        if known is None:
            told.skip()
        job = known or self._start(self.action, spec, folder, resume_from)
        length = int(lookup(spec, self.epochs_key)) if self.epochs_key else 1
        last, line, end = start_epoch or 0, None, None
        is_over = False
        while not is_over:
            job = read_job(folder)
            is_over = job.status in ENDED  # known before the last look at the file
            for seen in told.poll():
                # Without epochs there is one value, that of the end.
                if seen.epoch <= last or not self.epochs_key:
                    continue
                last = seen.epoch
                if last >= length:  # about to end; its checkpoint may be written after its status
                    end = seen
                    continue
                line = self._line(folder, seen.epoch, seen.value, seen.metrics)
                if not report(line):
                    _stop(job)
                    return self._receipt(folder)
            if not is_over:
                time.sleep(POLL_S)
        _demand_success(job, told)
        if end is not None:
            report(self._line(folder, end.epoch, end.value, end.metrics, trained=end.epoch))
        else:
            report(self._last_line(length, job, line))
        return self._receipt(folder)

    def _known_job(self, folder: Path) -> Job | None:
        """The trial's command from an earlier start of the search, if it runs or has succeeded."""
        with contextlib.suppress(RunError):
            job = read_job(folder)
            return job if job.status in (PENDING, RUNNING, SUCCESS) else None
        return None

    def _goes_on(self, folder: Path) -> bool:
        """Whether the command of a folder goes on from a checkpoint."""
        given = flatten(_spec_given(folder))
        return any(given.get(name) for name in self._skill.fields(self.action, "resume_model"))

    def _last_line(self, length: int, job: Job, line: Mapping[str, Any] | None) -> dict[str, Any]:
        """The last epoch; a trainer that validates rarely may not have told of it."""
        metrics = dict((line or {}).get("metrics") or {})
        metrics |= values_in_folder(job.folder, [self.monitoring_metric])
        tables = tables_in_folder(job.folder)
        value = metrics.get(self.monitoring_metric, (line or {}).get("value"))
        value = self._found_in_log(job) if value is None else value
        return self._line(job.folder, length, value, {**tables, **metrics}, trained=length)

    def _line(
        self,
        folder: Path,
        epoch: int,
        value: float | None,
        metrics: Mapping[str, Any],
        *,
        trained: int | None = None,
    ) -> dict[str, Any]:
        """One report; the checkpoint is that of the epoch itself, never an older or newer one."""
        checkpoint = None
        with contextlib.suppress(RunError):
            path, _ = choose_checkpoint(
                folder, epoch, self.monitoring_metric, direction=self.direction, trained=trained
            )
            checkpoint = str(path.relative_to(folder))
        return {
            "epoch": epoch, "value": value, "checkpoint": checkpoint, "metrics": dict(metrics),
        }  # fmt: skip

    def _found_in_log(self, job: Job) -> float | None:
        return find_in_log(read_printed(job.log_file), self.monitoring_metric)

    def evaluate(self, spec: Spec) -> dict[str, Any]:
        """Run the evaluate action and return `{"metrics": {name: value}}` of what it tells."""
        job = self._run("evaluate", spec)
        metrics = values_in_folder(job.folder, [self.monitoring_metric])
        value = None if metrics else self._found_in_log(job)
        found = metrics if value is None else {self.monitoring_metric: value}
        return {"metrics": {**tables_in_folder(job.folder), **found}}

    def explain(self, spec: Spec, with_map: bool = True) -> dict[str, Any]:
        """Nothing is known of single queries."""
        del spec, with_map
        return {"queries": [], "suspects": [], "map": []}

    def export(self, spec: Spec) -> dict[str, Any]:
        """Run the export action."""
        self._run("export", spec)
        fields = self._skill.fields("export", "create_onnx_file")
        return {"onnx": str(lookup(spec, fields[0]))} if fields else {}

    def predict(self, folder: Path, images: list[Path], topk: int) -> list[dict[str, Any]]:
        """Refuse: how this network labels pictures is not known here."""
        del images, topk
        raise SpecError(f"predict: {self.name} has no such command ({folder})")

    def _run(self, action: str, spec: Spec) -> Job:
        """Run another action to its end."""
        folder = Path(str(spec["results_dir"]))
        job = self._start(action, spec, folder, None)
        while job.status not in ENDED:
            time.sleep(POLL_S)
            job = read_job(folder)
        told = StatusFile(folder, self.monitoring_metric, (action,))
        told.poll()
        _demand_success(job, told)
        return job

    def _start(self, action: str, spec: Spec, folder: Path, resume_from: Path | None) -> Job:
        given = dict(spec)
        if resume_from is not None:
            fields = self._skill.fields(action, "resume_model")
            if not fields:
                raise CommandFailure(
                    "spec",
                    f"{self.name} cannot go on from {resume_from}: its skill_info.yaml names no "
                    f"resume_model field for {action}",
                )
            given = merged(given, {name: str(resume_from) for name in fields})
        folder.mkdir(parents=True, exist_ok=True)
        form = self._format_of(action)
        file = folder / f"{SPEC_NAME}.{form}"
        write_atomically(file, render_spec(given, form))
        command, cwd = self._command(action, file, folder)
        job = Job(
            id=folder.name,
            action=action,
            skill_dir=str(self._skill.path),
            folder=folder,
            network_arch=self._skill.network_arch,
            command=command,
            cwd=cwd,
            created=time.time(),
        )
        job.save()
        start_worker(job)
        return job

    def _execution_of(self, action: str) -> ScriptExecution | None:
        if action == self.action:
            return self._execution
        return read_execution(self._skill.path, self._action(action))

    def _format_of(self, action: str) -> str:
        execution = self._execution_of(action)
        if execution is not None:
            return execution.config_format
        return format_of(self._skill, action, "yaml")

    def _command(self, action: str, file: Path, folder: Path) -> tuple[list[str], str]:
        """The words of an action's command, and the folder that it is run in; empty: this one."""
        execution = self._execution_of(action)
        if execution is None:
            return command_of(str(self._action(action).get("command") or ""), file), ""
        words = execution.words(config_path=str(file), results_dir=str(folder), job_id=folder.name)
        # Bytecode beside the script would change the skill folder.
        start = [sys.executable, "-B", str(execution.script)]
        return [*start, *words], str(execution.cwd)

    def _action(self, action: str) -> dict[str, Any]:
        facts = self._skill.actions.get(action)
        if not facts:
            raise SpecError(f"{self._skill.path}: skill_info.yaml has no action {action!r}")
        return dict(facts)

    def _receipt(self, folder: Path) -> dict[str, Any]:
        applied = flatten(_spec_given(folder))
        # A rung's job gets a shorter length, its folder and the checkpoint it goes on from.
        own = {self.epochs_key, "results_dir", *self._skill.fields(self.action, "resume_model")}
        applied = {name: value for name, value in applied.items() if name not in own}
        return {"applied": applied, "read_back_from": "spec file"}


def full_template(skill: Skill, action: str = "train") -> dict[str, Any]:
    """The defaults of an action's schema under its template, nested.

    Raises:
        SpecError: when the template is no mapping.
    """
    schema = skill.schema_file(action)
    tree: Mapping[str, Any] = {}
    if schema.is_file():
        known = load_schema(schema)
        leaves = {name: leaf.default for name, leaf in known.leaves.items()}
        tree = known.tree or nest({k: v for k, v in leaves.items() if v is not None})
    return merged(tree, read_template(skill.template_file(action)))


def _spec_given(folder: Path) -> dict[str, Any]:
    """The spec that a command was given."""
    return read_spec(next(folder.glob(f"{SPEC_NAME}.*")))


def _demand_success(job: Job, told: StatusFile) -> None:
    """Refuse a job that failed, also one that only says so in its status file and exits with 0."""
    if job.status == SUCCESS and told.failure is None:
        return
    log = read_printed(job.log_file)
    if told.failure is None or job.status != SUCCESS:
        raise CommandFailure(**explain_failure(log, job.exit_code))
    raise CommandFailure(**explain_analysis(told.failure, log, "FAILURE by status.json"))


def _stop(job: Job) -> None:
    """End a command that is no longer wanted, and wait for it."""
    if job.status in ENDED or job.pid is None:
        return
    end_group(job.pid, STOP_WITHIN_S)
    deadline = time.monotonic() + STOP_WITHIN_S
    while read_job(job.folder).status not in ENDED and time.monotonic() < deadline:
        time.sleep(POLL_S)
