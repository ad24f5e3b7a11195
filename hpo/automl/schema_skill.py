"""Writes a skill folder from a bare schema, so that any network can be searched.

It lies beside the workspaces and is named by what is in it: those of one schema share a folder, and
no other schema changes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.automl.arguments import check_path
from hpo.automl.script_schema import read_schema
from hpo.automl.workspace import AUTOML_DIR
from hpo.core.durable_files import write_atomically
from hpo.core.yaml_io import to_yaml
from hpo.run.plain_files import write_json
from hpo.study.checks import check_name

FOLDER = "skills"
_LETTERS = 12
"""Of a digest that stand in the name of a folder."""


def write_skill(
    folder: Path, network: str, action: str, schema: Mapping[str, Any] | str | Path
) -> Path:
    """Write metadata and schema of a network that has no skill folder.

    Args:
        folder: below which the skill folder is made, beside the workspace.
        network: its name.
        action: what is searched.
        schema: a dict, or the path of a JSON file.

    Returns:
        The skill folder.

    Raises:
        AutoMLError: when the schema cannot be read.
        SpecError: for a network or an action that cannot be part of a file's name.
    """
    data = _read(schema)
    check_name(network, "network")
    check_name(action, "action")
    info = {
        "name": network,
        "network_arch": network,
        "automl_enabled": True,
        "actions": {action: {"command": ""}},
    }
    text = json.dumps([info, data], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    place = folder / AUTOML_DIR / FOLDER / f"{network}-{digest[:_LETTERS]}"
    write_atomically(place / "references" / "skill_info.yaml", to_yaml(info))
    write_json(place / "schemas" / f"{action}.schema.json", data)
    return place


def _read(schema: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if isinstance(schema, Mapping):
        return dict(schema)
    check_path(schema, "search_schema")
    return read_schema(Path(schema), "search_schema: ")


def is_written(skill_dir: str | Path) -> bool:
    """Whether a skill folder is one of those that `write_skill` makes."""
    return Path(skill_dir).parent.parts[-2:] == (AUTOML_DIR, FOLDER)
