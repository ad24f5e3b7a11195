"""Reads the pages of a skill folder: the training page and the deployment pages beside it.

Each page is a `Skill` with its own metadata. Several pages may know the same action: `evaluate` of
a checkpoint stands on the training page, `evaluate` of an engine on a deployment page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.text import nearest, quoted
from hpo.core.yaml_io import read_yaml
from hpo.study.skill import Skill, load_skill, read_info

CORE_PARAMS: Mapping[str, Mapping[str, str]] = {
    "gen_trt_engine": {
        "gen_trt_engine.tensorrt.calibration.cal_cache_file": "create_cal_cache",
    },
}
"""Inferred fields that the published mapping has and the published metadata file leaves out."""


def load_pages(skill_dir: Path) -> list[Skill]:
    """Read all pages of a skill folder, the training page first.

    Raises:
        SpecError: when a metadata file is missing or is no mapping.
    """
    pages = [load_skill(skill_dir)]
    for file in sorted((skill_dir / "references").glob("*.skill_info.yaml")):
        pages.append(Skill(path=skill_dir, info=read_info(file)))
    return pages


def pages_with(pages: list[Skill], action: str) -> list[Skill]:
    """The pages that know an action.

    Raises:
        SpecError: when there is none, listing the actions that there are.
    """
    found = [page for page in pages if action in (page.info.get("actions") or {})]
    if not found:
        known = sorted({name for page in pages for name in page.info.get("actions") or {}})
        raise SpecError(
            f"{action}: no such action in {pages[0].path}; it has {', '.join(known) or 'none'}"
            f"{nearest(action, known)}"
        )
    return found


def action_info(page: Skill, action: str) -> dict[str, Any]:
    """What the metadata says of an action: `command`, `inputs`, `outputs`."""
    return dict((page.info.get("actions") or {}).get(action) or {})


def file_outputs(page: Skill, action: str) -> list[str]:
    """Spec fields that name a file which the action writes, e.g. `export.onnx_file`."""
    outputs = action_info(page, action).get("outputs") or {}
    return [field for field, kind in outputs.items() if (kind or {}).get("type") == "file"]


def file_inputs(page: Skill) -> set[str]:
    """Spec fields that name weights or models which some action of the page reads."""
    return {
        field
        for name in page.info.get("actions") or {}
        for field, kind in (action_info(page, name).get("inputs") or {}).items()
        if (kind or {}).get("type") == "file"
    }


def is_optional_input(page: Skill, action: str, field: str) -> bool:
    """Whether the action also runs without this input."""
    inputs = action_info(page, action).get("inputs") or {}
    return field not in inputs or bool((inputs[field] or {}).get("optional"))


def spec_params(page: Skill, action: str) -> dict[str, str]:
    """Field -> inference function, as the page and the published mapping have them."""
    own = (page.info.get("spec_params") or {}).get(action) or {}
    outputs = file_outputs(page, action)
    core = CORE_PARAMS.get(action, {}) if outputs else {}
    return {**core, **own}


def read_template(page: Skill, action: str) -> dict[str, Any]:
    """The starter spec of an action on this page; empty where the page has none.

    Raises:
        SpecError: when the file is named and missing, or is no mapping.
    """
    name = (page.info.get("spec_templates") or {}).get(action)
    file = page.path / "references" / str(name) if name else page.template_file(action)
    if not name and not file.is_file():
        return {}
    data = read_yaml(file)
    if not isinstance(data, dict):
        raise SpecError(f"{file}: must be a mapping of keys, got {quoted(data)}")
    return data


def known_spec(page: Skill, action: str) -> dict[str, Any]:
    """Every key that the action's schema knows with its default; empty without a schema.

    Raises:
        SpecError: when the schema cannot be read.
    """
    file = page.schema_file(action)
    if not file.is_file():
        return {}
    try:
        schema = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{file}: cannot be read: {error}") from error
    return dict(schema.get("default") or {})


def expand_shorthands(page: Skill, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Replace shorthand keys (`num_epochs`) by the dotted ones that they stand for."""
    short = page.info.get("spec_shorthand_keys") or {}
    return {str(short.get(key, key)): value for key, value in overrides.items()}
