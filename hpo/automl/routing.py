"""Decides between a search and one plain training, by policy and skill folder. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.errors import (
    AutoMLError,
    NotRunnableError,
    SkillFolderError,
    UnknownActionError,
)
from hpo.automl.policy import Policy
from hpo.core.errors import SpecError
from hpo.core.route_events import Routed
from hpo.core.text import nearest
from hpo.core.yaml_io import read_yaml
from hpo.study.skill import INFO_FILE, Skill, load_skill
from search_spaces import SchemaError, load_schema

AUTOML, DIRECT = "automl", "direct"
ACTION = "train"
"""The one action that can become a search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether a skill folder can be searched; `problem` says what keeps it from it."""

    is_enabled: bool
    problem: str = ""
    """Empty where AutoML can run."""


def open_skill(skill_dir: str | Path) -> Skill:
    """Read the metadata of a skill folder.

    Raises:
        SkillFolderError: when `references/skill_info.yaml` is not there, naming the full path.
    """
    folder = Path(skill_dir).expanduser().resolve()
    file = folder / INFO_FILE
    if not file.is_file():
        raise SkillFolderError(f"skill_info.yaml not found at {file}")
    return load_skill(folder)


def check_gates(skill: Skill, action: str = ACTION, *, needs_template: bool = True) -> Gate:
    """Look at the three gates in order: enabled, a schema that parses, a template that parses.

    Args:
        skill: the folder.
        action: whose files are looked at.
        needs_template: whether the defaults of the schema are not enough.
    """
    if not skill.is_automl_enabled:
        return Gate(is_enabled=False, problem="automl_enabled is not true in its skill_info.yaml")
    file = skill.schema_file(action)
    try:
        if not file.is_file():
            return Gate(is_enabled=True, problem=f"{file} is missing")
        schema = load_schema(file)
        has_defaults = schema.tree or any(
            leaf.default is not None for leaf in schema.leaves.values()
        )
        file = skill.template_file(action)
        if not file.is_file() and (needs_template or not has_defaults):
            return Gate(is_enabled=True, problem=f"{file} is missing")
        read_template(file)
    except (SchemaError, SpecError) as error:
        return Gate(is_enabled=True, problem=str(error))
    return Gate(is_enabled=True)


def read_template(file: Path) -> dict[str, Any]:
    """Read the template of an action; empty where there is none.

    Raises:
        SpecError: when it cannot be read, or is no mapping.
    """
    data = read_yaml(file) if file.is_file() else {}
    if not isinstance(data, dict):
        raise SpecError(f"{file}: must be a mapping of keys, got {type(data).__name__}")
    return data


def decide_route(skill: Skill, action: str, policy: Policy) -> Routed:
    """Choose between a search and the plain action, and say why."""
    kind, why = _choose(skill, action, policy)
    return Routed(
        route=kind,
        action=action,
        automl_policy=policy.shown,
        decided_by=policy.source,
        phrase=policy.phrase,
        unclear=policy.unclear,
        message=why,
    )


def _choose(skill: Skill, action: str, policy: Policy) -> tuple[str, str]:
    if action != ACTION:
        return DIRECT, f"{action} goes straight to the trainer: only {ACTION} can become a search"
    if not policy.is_on:
        return DIRECT, f"one plain training; {policy.describe()}"
    gate = check_gates(skill)
    if not gate.is_enabled:
        return DIRECT, f"one plain training: AutoML is not enabled for {skill.title}"
    if gate.problem:
        why = f"AutoML is enabled but not runnable: {gate.problem}; one plain training instead"
        return DIRECT, why
    return AUTOML, f"a search over hyperparameters; {policy.describe()}"


def demand_runnable(skill: Skill, action: str = ACTION) -> None:
    """Refuse a skill that cannot be searched; no search space is made up in its place.

    Where there is no template, the defaults of the schema are the spec.

    Raises:
        NotRunnableError: naming the missing or broken file.
        AutoMLError: when the skill does not enable AutoML.
    """
    gate = check_gates(skill, action, needs_template=False)
    if not gate.is_enabled:
        raise AutoMLError(f"{skill.path}: {gate.problem}, so it is trained without a search")
    if gate.problem:
        raise NotRunnableError(f"AutoML is enabled but not runnable: {gate.problem}")


def demand_action(skill: Skill, action: str) -> None:
    """Refuse an action that a skill does not have.

    Raises:
        UnknownActionError: naming the actions that there are.
    """
    known = skill.actions
    if action not in known:
        raise UnknownActionError(
            f"{action}: no such action in {skill.path}; it has {', '.join(known) or 'none'}"
            f"{nearest(action, known)}"
        )
