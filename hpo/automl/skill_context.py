"""`SkillContext`: what a skill folder says of one action, as the published package shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hpo.automl.command_trainer import full_template
from hpo.automl.errors import NotRunnableError
from hpo.automl.routing import check_gates, demand_action, open_skill
from hpo.automl.script import ScriptExecution, read_execution
from hpo.automl.script_schema import check_script_schema
from hpo.study.skill import Skill
from search_spaces import load_schema


@dataclass(frozen=True)
class SkillContext:
    """One action of a skill folder.

    Raises:
        FileNotFoundError: when the folder is no skill folder, or a script that it names is missing.
        KeyError: when the skill has no such action.
    """

    skill_dir: str | Path
    action: str = "train"
    skill: Skill = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "skill", open_skill(self.skill_dir))
        demand_action(self.skill, self.action)
        _ = self.execution

    @property
    def skill_info(self) -> dict[str, Any]:
        """The skill's metadata."""
        return dict(self.skill.info)

    @property
    def network_arch(self) -> str:
        """The network's name."""
        return self.skill.title

    @property
    def action_cfg(self) -> dict[str, Any]:
        """What the metadata say of the action."""
        return self.skill.action(self.action)

    @property
    def command(self) -> str:
        """The action's command, with its placeholders."""
        return str(self.action_cfg.get("command") or "")

    @property
    def container_image(self) -> str:
        """The action's image, else the skill's; empty where there is none."""
        own = self.action_cfg.get("container_image")
        return str(own or self.skill.image)

    @property
    def config_format(self) -> str:
        """The format of the action's spec file."""
        if self.execution is not None:
            return self.execution.config_format
        return str(self.action_cfg.get("config_format") or "toml")

    @cached_property
    def execution(self) -> ScriptExecution | None:
        """The Python script that the action is; None for a command."""
        return read_execution(self.skill.path, self.action_cfg)

    @cached_property
    def default_specs(self) -> dict[str, Any]:
        """The defaults of the action's schema under its template, nested."""
        return full_template(self.skill, self.action)

    def validate_runtime(self) -> dict[str, Any]:
        """Check that the action can be searched.

        Returns:
            `network_arch`, `action`, `schema_title` and `parameter_count`.

        Raises:
            NotRunnableError: when schema or template are missing or broken.
        """
        gate = check_gates(self.skill, self.action, needs_template=False)
        if gate.problem:
            raise NotRunnableError(f"{self.skill.path}: {gate.problem}")
        file = self.skill.schema_file(self.action)
        if self.execution is not None:
            check_script_schema(file)
        schema = load_schema(file)
        return {
            "network_arch": self.network_arch,
            "action": self.action,
            "schema_title": f"{self.network_arch} {self.action}",
            "parameter_count": len(schema.leaves),
        }


def validate_skill_runtime(skill_dir: str | Path, action: str = "train") -> dict[str, Any]:
    """Check that an action of a skill folder can be searched; see `SkillContext`."""
    return SkillContext(skill_dir, action).validate_runtime()
