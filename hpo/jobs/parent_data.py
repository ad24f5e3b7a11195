"""What a job inherits from its parents: model sections and data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.core.spec_dicts import flatten, nest
from hpo.jobs.data_sources import UNSET_MARKS, is_wanted, root_for
from hpo.jobs.pages import load_pages
from hpo.jobs.parents import Parent
from hpo.study.skill import Skill

_OWN_SECTIONS = ("results_dir", "wandb", "encryption_key", "model_name")
"""Sections that say how one job is run and kept, not what the model is."""
_OWN_KEYS = ("results_dir", "num_gpus", "gpu_ids", "num_nodes")
"""The same within a section."""


def carried_sections(
    page: Skill, action: str, known: Mapping[str, Any], parent: Parent | None
) -> dict[str, Any]:
    """What the parent's model was built from: the sections that belong to no single action.

    A job of the parent's own action does the same again, and takes over that action's section too,
    but for files that the parent had found: a training from a training has its recipe, to which
    the other sections belong.
    """
    if parent is None:
        return {}
    pages = load_pages(page.path)
    sections = set(known) - set(_OWN_SECTIONS)
    sections -= {name for other in pages for name in other.actions}
    sections |= {action} & {parent.action}
    found_anew = {*page.data_entries(action), *(n for p in pages for n in p.file_inputs())}
    flat = {
        name: value
        for name, value in flatten(parent.spec).items()
        if name.partition(".")[0] in sections
        and name.rpartition(".")[2] not in _OWN_KEYS
        and name not in found_anew
        and not (name.startswith(f"{action}.") and str(value).startswith("/"))
        and is_known(name, known)
    }
    return nest(flat)


def inherited_data(
    page: Skill,
    action: str,
    flat: Mapping[str, Any],
    roots: Mapping[str, str],
    line: list[Parent],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Sources of ancestors for data keys that neither an override nor a root gives."""
    kept: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for key, entry in page.data_entries(action).items():
        is_needed = is_wanted(key, page, action, flat) and not page.is_optional_input(action, key)
        has_root = root_for(action, str(entry.get("source", "")), roots) is not None
        if key in flat or has_root or not is_needed:
            continue
        for parent in line:
            value, what = _of_ancestor(parent, page, action, key, entry)
            if value:
                kept[key], notes[key] = value, what
                break
    return kept, notes


def _of_ancestor(
    parent: Parent, page: Skill, action: str, key: str, entry: Mapping[str, Any]
) -> tuple[Any, str]:
    """The held-out split of a search, the same key, or a key with the same place in the table."""
    if action in ("evaluate", "inference") and parent.held_out.get(key):
        return parent.held_out[key], f"held-out data of {parent.name}"
    flat = flatten(parent.spec)
    if flat.get(key) and flat[key] not in UNSET_MARKS:
        return flat[key], f"as in {parent.name}"
    table = page.data_entries(parent.action) or _table_beside(page, parent.action)
    for other, place in table.items():
        if place.get("path") == entry.get("path") and flat.get(other):
            return flat[other], f"{other} of {parent.name}"
    return None, ""


def _table_beside(page: Skill, action: str) -> dict[str, dict[str, Any]]:
    tables = (other.data_entries(action) for other in load_pages(page.path))
    return next((table for table in tables if table), {})


def is_known(key: str, known: Mapping[str, Any]) -> bool:
    """Whether the key stands in the tree, or below a section that is left open."""
    value: Any = known
    for part in key.split("."):
        if not isinstance(value, Mapping) or (value is not known and not value):
            return isinstance(value, Mapping)
        if part not in value:
            return False
        value = value[part]
    return True
