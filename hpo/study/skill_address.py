"""Names the trainer of a skill folder: a mapping in study files, one text for everything else.

Workers and children find a trainer by one text, as a registered trainer has it. That of a skill
folder holds the folder and the facts that no file of it says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import relocated
from hpo.core.text import nearest, quoted

TRAIN = "train"
ELSEWHERE = (
    "the trials of this workspace are started by other calls; go on with "
    "AutoMLRunner(platform_sdk=...).run(workspace_path=..., resume=True) or AutoML(...)"
)
_MODULE = "hpo.automl.skill_trainer:SkillTrainer@"
_FOLDER = "skill"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerFacts:
    """What a study says of a skill's trainer beside its folder."""

    metric: str = ""
    """The primary metric; empty means what the registered trainer monitors."""
    direction: str = ""
    """`maximize` or `minimize`, of what trials are ranked by."""
    trainer: str = ""
    """A registered trainer to use in place of the network's."""
    samples: int | None = None
    """Training samples; no batch over all devices may be larger."""
    is_elsewhere: bool = False
    """Whether trials are jobs of a platform."""
    primary: str = ""
    """Direction of the primary metric, where trials are ranked by the score of several."""
    action: str = TRAIN
    """What is run in each trial."""
    execution: Mapping[str, Any] | None = None
    """A script in place of the action's own."""

    def given(self) -> dict[str, Any]:
        """Those that are set, by name."""
        return {
            item.name: value
            for item in fields(self)
            if (value := getattr(self, item.name)) != item.default
        }


def trainer_name(folder: Path | str, facts: TrainerFacts) -> str:
    """Name the trainer of a skill folder, so that workers and a resumed search find the same."""
    query = urlencode({name: json.dumps(value) for name, value in facts.given().items()})
    return f"{_MODULE}{quote(str(folder))}" + (f"?{query}" if query else "")


def read_address(address: str) -> tuple[Path, TrainerFacts]:
    """Read folder and facts of a name without what stands before its `@`."""
    place, _, query = address.partition("?")
    facts = TrainerFacts(**{name: json.loads(text) for name, text in parse_qsl(query)})
    return Path(unquote(place)), facts


def skill_of(name: str) -> tuple[Path, TrainerFacts] | None:
    """Folder and facts of a trainer's name; None for that of another trainer."""
    return read_address(name.removeprefix(_MODULE)) if name.startswith(_MODULE) else None


def moved_name(name: str, moved: Mapping[str, Any]) -> str:
    """The name of a trainer whose skill folder has moved: old place -> new one."""
    if (found := skill_of(name)) is None:
        return name
    place, facts = str(found[0]), found[1]
    for old, new in moved.items():
        place = relocated(place, old, new)
    return trainer_name(place, facts)


def to_file(name: str) -> str | dict[str, Any]:
    """Write a trainer's name for a study file; that of a skill folder as a mapping."""
    if (found := skill_of(name)) is None:
        return name
    folder, facts = found
    return {_FOLDER: str(folder), **facts.given()}


def from_file(given: Mapping[str, Any], where: str) -> str:
    """Read the mapping that names a skill's trainer in a study file.

    Raises:
        SpecError: with the path of the wrong key.
    """
    known = [_FOLDER, *(item.name for item in fields(TrainerFacts))]
    for key in given:
        if key not in known:
            hint = nearest(str(key), known) or f"; it may hold {', '.join(known)}"
            raise SpecError(f"{where}.{key}: unknown key{hint}")
    folder = given.get(_FOLDER)
    if not isinstance(folder, str) or not folder:
        raise SpecError(f"{where}.{_FOLDER}: must be a skill folder, got {quoted(folder)}")
    facts = {key: value for key, value in given.items() if key != _FOLDER}
    for name in ("metric", "direction", "trainer", "primary", "action"):
        if not isinstance(facts.get(name, ""), str):
            raise SpecError(f"{where}.{name}: must be text, got {quoted(facts[name])}")
    return trainer_name(folder, TrainerFacts(**facts))
