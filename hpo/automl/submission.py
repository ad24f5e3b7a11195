"""Submits one trial to a platform: as a container's command, or as a Python script.

What the caller passed for jobs is handed on as it is; what the platform does not take is refused
before the first job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.automl.script import ScriptExecution
from hpo.automl.sdk import Platform, call_with_known, demand_keywords, takes
from hpo.core.spec_dicts import flatten, merged, nest
from hpo.jobs.spec_formats import demand_command, format_of, remove_written, whole_command
from hpo.study.skill import Skill

OUTPUT_KEYS = ("results_dir", "output_dir", "save_dir")
"""Endings of spec keys that name a folder to write to."""
_RESUMED = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
"""Environment of a job that goes on from a checkpoint: one of the search itself, so trusted."""
CONTAINER_FORMAT = "toml"
"""The format of a container's spec where its action names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """How the trials of one search become jobs."""

    platform: Platform
    skill: Skill
    action: str
    execution: ScriptExecution | None
    image: str
    """As the caller gave it; empty takes the action's, then the skill's."""
    name_of: Callable[[int], str]
    """(number) -> the id that a job is asked for."""
    attempt_of: Callable[[int], str] = str
    """(number) -> what tells this start of a trial from all others, in names of folders."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the caller passes on to every job."""

    def check(self) -> None:
        """Refuse what no job could be made of.

        Raises:
            AutoMLError: for a missing image, or an argument that the platform's call does not
                take.
        """
        create, name = self._call()
        who = f"{type(self.platform).__name__}.{name}"
        if self.execution is None and takes(create, "image") and not self.own_image:
            raise AutoMLError(
                "image: must be given, as neither the action nor the skill names one: pass image=, "
                f"or write container_image into {self.skill.path}/references/skill_info.yaml"
            )
        if self.execution is None and takes(create, "command"):
            demand_command(self.skill, self.action)
        if create is not None:
            demand_keywords(create, self.arguments, who)

    @property
    def own_image(self) -> str:
        """The image of the jobs: the caller's, else the action's, else the skill's."""
        return str(self.image or self._facts.get("container_image") or self.skill.image)

    @property
    def _facts(self) -> dict[str, Any]:
        return self.skill.action(self.action)

    def _call(self) -> tuple[Callable[..., Any] | None, str]:
        name = "create_job" if self.execution is None else "create_python_job"
        return getattr(self.platform, name, None), name

    def asked_id(self, number: int) -> str:
        """The id that a trial's job is asked for; empty where the platform chooses by itself."""
        create = self._call()[0]
        names = [name for name in ("job_id", "name") if name not in self.arguments]
        is_asked = any(takes(create, name, by_name=True) for name in names)
        return self.name_of(number) if is_asked else ""

    def submit(self, spec: dict[str, Any], number: int, *, is_resumed: bool = False) -> Any:
        """Create the job of a trial.

        Args:
            spec: nested, complete.
            number: of the trial.
            is_resumed: whether it goes on from a checkpoint of another job.

        Returns:
            What the platform answers.

        Raises:
            Exception: whatever the platform raises.
        """
        own = self._own_folders({k: v for k, v in spec.items() if k != "results_dir"}, number)
        common = {
            "specs": own,
            "inputs": self.skill.inputs(self.action),
            "outputs": self.skill.outputs(self.action),
            "upload_excludes": list(self._facts.get("upload_excludes") or []),
            "network_arch": self.skill.network_arch,
            "action": self.action,
        }
        arguments = self._arguments(is_resumed=is_resumed)
        name = self.name_of(number)
        asked = {"job_id": name, "name": name}
        if self.execution is not None:
            return self._submit_script(common, arguments, asked)
        facts = {**common, **asked, "skill_dir": str(self.skill.path), "rec_id": number}
        form = format_of(self.skill, self.action, CONTAINER_FORMAT)
        if takes(self.platform.create_job, "command"):
            command = self._whole_command(common, form, name)
            arguments = {"image": self.own_image, "command": command, **arguments}
        facts["config_format"] = form
        return call_with_known(self.platform.create_job, facts, arguments)

    def clean_up(self, number: int) -> None:
        """Remove what the job of a trial, which has ended, has left on this machine."""
        remove_written(self.name_of(number))

    def _arguments(self, *, is_resumed: bool) -> dict[str, Any]:
        """What the caller passes on, with what a job needs to load a checkpoint."""
        given = self.arguments.get("env_vars") or {}
        if not is_resumed or not takes(self._call()[0], "env_vars"):
            return dict(self.arguments)
        if not isinstance(given, Mapping):  # in a form of the platform's own
            return dict(self.arguments)
        return {**self.arguments, "env_vars": {**_RESUMED, **given}}

    def _whole_command(self, common: Mapping[str, Any], form: str, name: str) -> str:
        """The command with this trial's spec in it, by the platform's own builder if it has one."""
        template = self.skill.command(self.action)
        build = getattr(self.platform, "build_entrypoint", None)
        if build is None:
            return whole_command(template, common["specs"], form, name)
        built = call_with_known(build, {**common, "command": template, "config_format": form})
        return str(built)

    def _submit_script(
        self, common: Mapping[str, Any], arguments: Mapping[str, Any], asked: Mapping[str, str]
    ) -> Any:
        assert self.execution is not None  # noqa: S101 - told by the caller
        create, _ = self._call()
        if create is None:
            raise TypeError(
                f"{type(self.platform).__name__} has no create_python_job, which the Python "
                f"script of {self.action} needs"
            )
        facts = {
            **common,
            "script": str(self.execution.script),
            "config_format": self.execution.config_format,
            "script_args": list(self.execution.args),
            "cwd": str(self.execution.cwd),
        }
        return call_with_known(create, asked, {**facts, **arguments})

    def _own_folders(self, spec: dict[str, Any], number: int) -> dict[str, Any]:
        """Give each trial a folder of its own below a folder that the spec names for all."""
        declared = self.skill.outputs(self.action)
        changes = {
            name: f"{value.rstrip('/')}/rec_{self.attempt_of(number)}"
            for name, value in flatten(spec).items()
            if name.endswith(OUTPUT_KEYS)
            and name not in declared
            and isinstance(value, str)
            and value.startswith(("/", "./", "../", "~"))
        }
        return merged(spec, nest(changes)) if changes else spec
