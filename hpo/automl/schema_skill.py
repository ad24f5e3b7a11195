"""Writes a skill folder from a bare schema, so that any network can be searched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.automl.arguments import check_path
from hpo.automl.errors import AutoMLError
from hpo.automl.workspace import AUTOML_DIR
from hpo.core.yaml_io import to_yaml
from hpo.run.run_dir import write_atomically


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
    """
    place = folder / AUTOML_DIR / "skills" / (network or "network")
    info = {
        "name": network,
        "network_arch": network,
        "automl_enabled": True,
        "actions": {action: {"command": ""}},
    }
    text = json.dumps(_read(schema), indent=1) + "\n"
    for file, content in (
        (place / "references" / "skill_info.yaml", to_yaml(info)),
        (place / "schemas" / f"{action}.schema.json", text),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    return place


def _read(schema: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if isinstance(schema, Mapping):
        return dict(schema)
    check_path(schema, "search_schema")
    try:
        data = json.loads(Path(schema).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AutoMLError(f"search_schema: {schema}: cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise AutoMLError(f"search_schema: must be a JSON object, got {type(data).__name__}")
    return data
