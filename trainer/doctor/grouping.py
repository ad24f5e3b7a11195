"""Checks groups of pictures (bursts, objects, videos): none may be in two splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.groups import find_leaks, group_pictures, leak_text
from trainer.data.notes import counted
from trainer.doctor.findings import Finding, finding
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder


def group_findings(
    folders: Mapping[str, ImageFolder], by: str, progress: Progress | None = None
) -> list[Finding]:
    """Look for groups in two splits; of one folder that is to be split say what its groups are.

    Args:
        folders: the splits, or `images` alone.
        by: as of `trainer.data.groups.group_pictures`; one that fits nothing is an error as well.
        progress: called with (what, done, total).
    """
    try:
        if set(folders) == {"images"}:
            return [_described(folders["images"], by, progress)]
        leaks = find_leaks(folders, by, progress)
    except TrainerError as error:
        return [finding("group_by", "error", str(error))]
    if not leaks["groups"]:
        text = f"no group (by {by}) of queries is in another split"
        return [finding("groups", "info", text)]
    return [finding("group_across_splits", "error", leak_text(leaks, by), leaks["paths"])]


def _described(folder: ImageFolder, by: str, progress: Progress | None) -> Finding:
    sizes = np.unique(group_pictures([folder], by, progress), return_counts=True)[1]
    several = sizes[sizes > 1]
    text = f"{counted(len(several), 'group')} (by {by}) of two pictures or more"
    if len(several):
        text += f", {several.sum()} pictures in all, {several.max()} in the largest"
    return finding("groups", "info", text)
