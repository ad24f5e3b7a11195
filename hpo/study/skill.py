"""Reads a network's skill folder: metadata, schemas, spec templates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.core.errors import RunError, SpecError
from hpo.core.text import quoted
from hpo.core.yaml_io import as_written, parse_texts, parse_yaml, read_text

INFO_FILE = Path("references") / "skill_info.yaml"
NAMES = ("network_arch", "name", "aliases", "model_aliases", "data_format", "container_image")
"""Keys of a metadata file that hold names."""
SECTIONS = ("actions", "spec_params")
"""Of a metadata file; each holds one mapping an action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """One skill folder."""

    path: Path
    info: dict[str, Any]

    @property
    def network_arch(self) -> str:
        """The network's name, by which a trainer is registered."""
        return str(self.info.get("network_arch", ""))

    def schema_file(self, action: str = "train") -> Path:
        """The schema of an action."""
        return self.path / "schemas" / f"{action}.schema.json"

    def template_file(self, action: str = "train") -> Path:
        """The spec template of an action."""
        return self.path / "references" / f"spec_template_{action}.yaml"

    def fields(self, action: str, function: str) -> list[str]:
        """Spec fields of an action that an inference function fills, e.g. `parent_model`."""
        params = (self.info.get("spec_params") or {}).get(action) or {}
        return [name for name, what in params.items() if what == function]

    def fill(self, action: str, function: str, value: object) -> dict[str, str]:
        """Spec fields by dotted name, filled with a value.

        Raises:
            RunError: when the skill names no such field.
        """
        names = self.fields(action, function)
        if not names:
            raise RunError(f"{self.path}: skill_info.yaml names no {function} field for {action}")
        return {name: str(value) for name in names}


def load_skill(path: Path) -> Skill:
    """Read a skill folder's metadata.

    Raises:
        SpecError: when `references/skill_info.yaml` is missing or is not a mapping.
    """
    file = path / INFO_FILE
    if not path.is_dir():
        what = "is no folder" if path.exists() else "no such folder"
        raise SpecError(f"{path}: {what}; a skill folder holds {INFO_FILE}")
    if not file.is_file():
        raise SpecError(f"{file}: no such file; is {path} a skill folder?")
    return Skill(path=path, info=read_info(file))


def read_info(file: Path) -> dict[str, Any]:
    """Read a metadata file whose sections are mappings.

    Raises:
        SpecError: when it is missing or is not of that form.
    """
    text = read_text(file)
    info = parse_yaml(text, str(file))
    if not isinstance(info, dict):
        raise SpecError(f"{file}: must be a mapping of keys, got {quoted(info)}")
    for name in SECTIONS:
        entries = info.get(name) or {}
        if not isinstance(entries, dict):
            raise SpecError(f"{file}: {name}: must be a mapping of keys, got {quoted(entries)}")
        wrong = next((n for n, e in entries.items() if not isinstance(e, dict | None)), None)
        if wrong is not None:
            got = quoted(entries[wrong])
            raise SpecError(f"{file}: {name}.{wrong}: must be a mapping of keys, got {got}")
    texts = parse_texts(text, str(file))
    return info | {name: as_written(info[name], texts.get(name)) for name in NAMES if name in info}
