"""Reads the pages of a skill folder: the training page and the deployment pages beside it.

Each page is a `Skill` with its own metadata. Several pages may know the same action: `evaluate` of
a checkpoint stands on the training page, `evaluate` of an engine on a deployment page.
"""

from __future__ import annotations

from pathlib import Path

from hpo.core.errors import SpecError
from hpo.core.text import nearest
from hpo.study.skill import Skill, load_skill, read_info


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
    found = [page for page in pages if action in page.actions]
    if not found:
        known = sorted({name for page in pages for name in page.actions})
        raise SpecError(
            f"{action}: no such action in {pages[0].path}; it has {', '.join(known) or 'none'}"
            f"{nearest(action, known)}"
        )
    return found
