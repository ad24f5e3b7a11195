"""Checks how pictures are split: whether they can be, and that no group is torn apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.groups import find_leaks, leak_text
from trainer.data.notes import counted
from trainer.data.split import divide, find_groups
from trainer.doctor.findings import Finding, finding
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder


def group_findings(
    folders: Mapping[str, ImageFolder], by: str, progress: Progress | None = None
) -> list[Finding]:
    """Look for groups in two splits.

    Args:
        folders: the splits.
        by: as of `trainer.data.groups.group_pictures`; one that fits nothing is an error as well.
        progress: called with (what, done, total).
    """
    try:
        leaks = find_leaks(folders, by, progress)
    except TrainerError as error:
        return [finding("group_by", "error", str(error))]
    if not leaks["groups"]:
        text = f"no group (by {by}) of queries is in another split"
        return [finding("groups", "info", text)]
    return [finding("group_across_splits", "error", leak_text(leaks, by), leaks["paths"])]


def split_findings(
    folder: ImageFolder, by: str, progress: Progress | None, *, class_disjoint: bool, seed: int
) -> list[Finding]:
    """Try to split one folder as a search would, and say what its groups are where `by` names some.

    Args:
        folder: all pictures.
        by: as of `group_findings`.
        progress: as of `group_findings`.
        class_disjoint: as of `trainer.data.split.split_folder`.
        seed: as of `trainer.data.split.split_folder`.
    """
    found: list[Finding] = []
    try:
        group_N = find_groups(folder, by, progress)
        found += [_described(group_N, by)] if by and group_N is not None else []
        divide(folder, group_N, seed=seed, class_disjoint=class_disjoint)
    except TrainerError as error:
        found.append(finding("split", "error", str(error), [folder.source or folder.root]))
    return found


def _described(group_N: NDArray[np.int64], by: str) -> Finding:
    sizes = np.unique(group_N, return_counts=True)[1]
    several = sizes[sizes > 1]
    text = f"{counted(len(several), 'group')} (by {by}) of two pictures or more"
    if len(several):
        text += f", {several.sum()} pictures in all, {several.max()} in the largest"
    return finding("groups", "info", text)
