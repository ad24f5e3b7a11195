"""Lists the skills below a folder: which can be searched, and what blocks the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.errors import SkillFolderError
from hpo.automl.routing import check_gates
from hpo.core.errors import SpecError
from hpo.core.text import nearest
from hpo.study.skill import INFO_FILE, Skill, load_skill


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One skill of a bank."""

    folder: Path
    skill: Skill | None
    problem: str
    """What keeps it from being searched; empty for one that can be."""
    is_enabled: bool = True

    @property
    def network(self) -> str:
        """The network's name; empty where the metadata cannot be read."""
        return self.skill.network_arch if self.skill else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that it may be called: folder, network, name and aliases."""
        return self.skill.names if self.skill else (self.folder.name,)

    @property
    def status(self) -> str:
        """`runnable`, `blocked`, or `off` where the network does not enable AutoML."""
        if not self.is_enabled:
            return "off"
        return "blocked" if self.problem else "runnable"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "skill": self.folder.name,
            "network_arch": self.network,
            "status": self.status,
            "problem": self.problem,
            "skill_dir": str(self.folder),
            "names": list(self.names),
        }


def list_bank(bank: Path) -> list[Entry]:
    """Every skill folder below a bank that describes a network, by name.

    Raises:
        SkillFolderError: when there is none.
    """
    entries = [_entry(folder) for folder in _folders(bank)]
    if not entries:
        raise SkillFolderError(f"{bank}: holds no skill folder (none with {INFO_FILE})")
    return sorted(entries, key=lambda entry: entry.folder.name)


def find_in_bank(bank: Path, name: str) -> Path:
    """Find a skill folder by its folder, network or alias.

    Raises:
        SkillFolderError: when nothing or more than one fits.
    """
    entries = list_bank(bank)
    wanted = _plain(name)
    hits = [entry for entry in entries if wanted in map(_plain, entry.names)]
    if len(hits) == 1:
        return hits[0].folder
    if hits:
        folders = ", ".join(entry.folder.name for entry in hits)
        raise SkillFolderError(f"{name}: stands for several skills: {folders}; name the folder")
    known = [other for entry in entries for other in entry.names]
    raise SkillFolderError(f"{name}: no such skill in {bank}{nearest(name, known)}")


def _entry(folder: Path) -> Entry:
    try:
        skill = load_skill(folder)
    except SpecError as error:
        return Entry(folder=folder, skill=None, problem=str(error))
    gate = check_gates(skill)
    return Entry(folder=folder, skill=skill, problem=gate.problem, is_enabled=gate.is_enabled)


def _folders(bank: Path) -> Iterator[Path]:
    """Skill folders at any depth, none of them inside another."""
    for file in sorted(bank.expanduser().resolve().rglob(str(INFO_FILE))):
        folder = file.parent.parent
        if not any(part.startswith(".") for part in folder.relative_to(bank.resolve()).parts):
            yield folder


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
