"""Runs all checks of folders, pictures and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.data.folder import ImageFolder
from trainer.data.sources import open_source
from trainer.data.split import find_given_splits
from trainer.doctor.depths import depth_findings
from trainer.doctor.findings import Finding, Item, finding
from trainer.doctor.fingerprint import take_fingerprints
from trainer.doctor.folders import folder_findings
from trainer.doctor.grouping import group_findings, split_findings
from trainer.doctor.pairs import pair_findings
from trainer.doctor.pictures import picture_findings
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from trainer.data.decoding import Progress


def diagnose(
    sources: Mapping[str, str],
    *,
    num_instance: int = 4,
    progress: Progress | None = None,
    group_by: str = "",
    class_disjoint: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Look at every picture of every source.

    Args:
        sources: split (train, reference, query, test_reference, test_query) -> folder or archive;
            `images` is one folder of classes, or of splits, which are then looked at as such.
        num_instance: pictures per class that a batch draws.
        progress: called with (what, done, total).
        group_by: what pictures have in common that are of one group, as of
            `trainer.data.groups.group_pictures`; groups in two splits are errors.
        class_disjoint: how `images` are to be split, as of `trainer.data.split.split_folder`; what
            that refuses is an error.
        seed: of that split.

    Returns:
        `{"splits": {name: {"images", "classes", "per_class_min", "per_class_max"}}, "findings":
        [{"kind", "severity", "message", "paths", "count"}]}`, with `"pairs"` for pictures that
        resemble one another; errors first, then warnings.
    """
    findings: list[Finding] = []
    if "images" in sources:
        sources, findings = _given_splits(sources, class_disjoint=class_disjoint)
    folders: dict[str, ImageFolder] = {}
    for name, uri in sources.items():
        try:
            folders[name] = open_source(uri, name)
        except TrainerError as error:
            findings.append(finding("source", "error", f"{name}: {error}", [uri]))
    findings += folder_findings(folders, num_instance)
    items = _look(folders, progress)
    findings += [*picture_findings(items), *depth_findings(items), *pair_findings(items)]
    if "images" in folders:
        findings += split_findings(
            folders["images"], group_by, progress, class_disjoint=class_disjoint, seed=seed
        )
    elif group_by and folders:
        findings += group_findings(folders, group_by, progress)
    order = ("error", "warning", "info")
    return {
        "splits": {name: folder.summary() for name, folder in folders.items()},
        "findings": sorted(findings, key=lambda f: order.index(f["severity"])),
    }


def _given_splits(
    sources: Mapping[str, str], *, class_disjoint: bool
) -> tuple[Mapping[str, str], list[Finding]]:
    """Put the splits that a single folder or list holds in its place."""
    uri = sources["images"]
    try:
        given = find_given_splits(uri, class_disjoint=class_disjoint)
    except TrainerError as error:
        return {}, [finding("splits", "error", str(error), [uri])]
    if given is None:
        return sources, []
    return given.sources, [finding("splits", "info", given.usage, [uri])] if given.usage else []


def _look(folders: Mapping[str, ImageFolder], progress: Progress | None) -> list[Item]:
    known = [
        (name, folder.classes[label], folder.root / path)
        for name, folder in folders.items()
        for path, label in zip(folder.paths, folder.labels, strict=True)
    ]
    looks = take_fingerprints([path for _, _, path in known], progress)
    return [Item(*item, look) for item, look in zip(known, looks, strict=True)]
