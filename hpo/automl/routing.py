"""Decides between a search and one plain training, from the request. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.errors import AutoMLError, NotRunnableError, SkillFolderError
from hpo.core.errors import SpecError
from hpo.core.yaml_io import read_yaml
from hpo.study.skill import INFO_FILE, Skill, load_skill

AUTOML, DIRECT = "automl", "direct"
ACTION = "train"
"""The one action that can become a search."""

_NAME = r"(?:auto[\s-]?ml|hpo|hyper[\s-]?parameter (?:search|tuning|optimi[sz]ation))"
_RUN = r"(?:training|train)(?: run| job)?"
_ALONE = r"(?:plain|single|normal|regular|ordinary|simple|one-off)"
_THING = (
    r"(?:data|images?|pictures?|photos?|samples?|sets?|split|folder|time|loss|error|step|epoch)"
)
_OFF = (
    rf"(?:turn|switch)(?:ing)? (?:off (?:the )?{_NAME}|(?:the )?{_NAME} off)",
    rf"(?:disabl(?:e|ing)|skip(?:ping)?|bypass(?:ing)?) (?:the )?{_NAME}",
    rf"(?:no|without(?: any)?) {_NAME}",
    rf"{_NAME}\s*(?:is |=|:)?\s*(?:off|disabled)",
    rf"(?:do not|don'?t|never) (?:use|run|want|need|do) (?:any )?{_NAME}",
    rf"(?:{_ALONE} )+{_RUN}\b(?! {_THING})",
    r"train(?:ing)? (?:it )?(?:plainly|normally|just once|only once)",
)
_ON = (
    rf"(?:use|using|run|with|keep|want|enable|turn on|switch on) (?:the )?{_NAME}",
    rf"turn (?:the )?{_NAME} (?:back )?on",
)
_DENIALS = re.compile(
    r"(?:\bnot|n't|dont|\bnever|\bno|\bwithout|\binstead of|\brather than|\bavoid|\bnot just)"
    r"(?:\s+(?:to|a|an|the|any|just|do|run|be|please))*\s*$",
    re.IGNORECASE,
)
_TRUE, _FALSE = ("on", "true", "yes", "1"), ("off", "false", "no", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Whether this run may become a search, and who said so."""

    is_on: bool
    shown: str
    """`on`, `on (auto)` or `off`."""
    source: str
    """`value`, `phrase` or `default`."""
    phrase: str = ""
    """The words of the request that decided."""

    def describe(self) -> str:
        """One line for people."""
        reason = {
            "value": "automl_policy was given",
            "phrase": f"the request says {self.phrase!r}",
            "default": "the default",
        }[self.source]
        return f"AutoML policy {self.shown}: {reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether a skill folder can be searched; `problem` says what keeps it from it."""

    is_enabled: bool
    missing: Path | None = None
    problem: str = ""

    @property
    def is_open(self) -> bool:
        """Whether AutoML can run."""
        return self.is_enabled and not self.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The way of one request."""

    kind: str
    """`automl` or `direct`."""
    action: str
    policy: Policy
    message: str
    """One line: which way, and why."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for events."""
        return {
            "route": self.kind,
            "action": self.action,
            "automl_policy": self.policy.shown,
            "decided_by": self.policy.source,
            "phrase": self.policy.phrase,
            "message": self.message,
        }


def resolve_policy(value: Any = None, request: str = "") -> Policy:
    """Resolve the policy of one run: an explicit value beats the request's words beats the default.

    Args:
        value: `on`, `off`, `auto`, or the booleans that YAML makes of bare `on` and `off`.
        request: the user's words. The last phrase that decides wins; a negated one decides nothing.

    Raises:
        AutoMLError: for another value.
    """
    if value is not None and value != "":
        return _from_value(value)
    found = _deciding_phrase(request)
    if found is None:
        return Policy(is_on=True, shown="on (auto)", source="default")
    is_on, phrase = found
    return Policy(is_on=is_on, shown="on" if is_on else "off", source="phrase", phrase=phrase)


def _from_value(value: Any) -> Policy:
    word = str(value).strip().lower()
    if word == "auto":
        return Policy(is_on=True, shown="on (auto)", source="value")
    if word in _TRUE or word in _FALSE:
        is_on = word in _TRUE
        return Policy(is_on=is_on, shown="on" if is_on else "off", source="value")
    raise AutoMLError(f"automl_policy: must be on, off or auto, got {value!r}")


def _deciding_phrase(request: str) -> tuple[bool, str] | None:
    """The last phrase that turns AutoML on or off, and is not itself denied."""
    text = request.replace("\u2019", "'")
    found: list[tuple[int, int, bool, str]] = []
    for is_on, patterns in ((False, _OFF), (True, _ON)):
        for pattern in patterns:
            for match in re.finditer(rf"\b{pattern}", text, re.IGNORECASE):
                words = match[0].strip()
                if _DENIALS.search(text[: match.start()]):
                    continue
                found.append((match.end(), len(words), is_on, words))
    if not found:
        return None
    _, _, is_on, words = max(found)
    return is_on, words


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


def check_gates(skill: Skill, action: str = ACTION) -> Gate:
    """Look at the three gates in order: enabled, a schema that parses, a template that parses."""
    if not is_enabled(skill.info):
        return Gate(is_enabled=False, problem="automl_enabled is not true in its skill_info.yaml")
    for file, look in (
        (skill.schema_file(action), _look_at_schema),
        (skill.template_file(action), _look_at_template),
    ):
        if not file.is_file():
            return Gate(is_enabled=True, missing=file, problem=f"{file} is missing")
        problem = look(file)
        if problem:
            return Gate(is_enabled=True, missing=file, problem=problem)
    return Gate(is_enabled=True)


def is_enabled(info: Mapping[str, Any]) -> bool:
    """Whether a skill's metadata enable AutoML."""
    return info.get("automl_enabled") is True


def decide_route(skill: Skill, action: str, policy: Policy) -> Route:
    """Choose between a search and the plain action, and say why."""
    if action != ACTION:
        why = f"{action} goes straight to the trainer: only {ACTION} can become a search"
        return Route(kind=DIRECT, action=action, policy=policy, message=why)
    if not policy.is_on:
        why = f"one plain training; {policy.describe()}"
        return Route(kind=DIRECT, action=action, policy=policy, message=why)
    gate = check_gates(skill)
    if not gate.is_enabled:
        why = f"one plain training: AutoML is not enabled for {name_of(skill)}"
        return Route(kind=DIRECT, action=action, policy=policy, message=why)
    if not gate.is_open:
        why = f"AutoML is enabled but not runnable: {gate.problem}; one plain training instead"
        return Route(kind=DIRECT, action=action, policy=policy, message=why)
    why = f"a search over hyperparameters; {policy.describe()}"
    return Route(kind=AUTOML, action=action, policy=policy, message=why)


def demand_runnable(skill: Skill, action: str = ACTION) -> None:
    """Refuse a skill that cannot be searched; no search space is made up in its place.

    Raises:
        NotRunnableError: naming the missing or broken file.
        AutoMLError: when the skill does not enable AutoML.
    """
    gate = check_gates(skill, action)
    if not gate.is_enabled:
        raise AutoMLError(f"{skill.path}: {gate.problem}, so it is trained without a search")
    if not gate.is_open:
        raise NotRunnableError(f"AutoML is enabled but not runnable: {gate.problem}")


def name_of(skill: Skill) -> str:
    """How a skill is called in messages."""
    return skill.network_arch or str(skill.info.get("name") or skill.path.name)


def _look_at_schema(file: Path) -> str:
    from search_spaces import SchemaError, load_schema

    try:
        load_schema(file)
    except SchemaError as error:
        return str(error)
    return ""


def _look_at_template(file: Path) -> str:
    try:
        data = read_yaml(file)
    except SpecError as error:
        return str(error)
    if not isinstance(data, dict):
        return f"{file} must be a mapping of keys, got {type(data).__name__}"
    return ""
