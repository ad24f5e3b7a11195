"""Finds the range from black to white of a data set's deep pictures, one for all its splits.

The training pictures decide; where none of them has more than 8 bits a channel, those of the
reference do, then the queries. So the splits of a run, its held-out pictures and what is labelled
later are read alike: the range stands in the spec that a checkpoint keeps, and in the metadata of
an exported model.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from trainer.cores import usable_cores
from trainer.data.cache import files_digest
from trainer.data.decode import DECODER_VERSION
from trainer.data.decoder import Listening, UnreadableError, opened, opens_deep
from trainer.data.deep import ValueRange, range_of
from trainer.data.location import cache_settings, exclusive
from trainer.kept_json import kept_or_made

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.config.root import Spec
    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder

DECIDING = ("train", "images", "reference", "query")
"""Splits, the first of which that has deep pictures decides."""

_DEEP_ENDINGS = frozenset({".png", ".tif", ".tiff", ".pgm"})
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH_AT = 24


def resolved(
    spec: Spec, folders: Mapping[Any, ImageFolder], progress: Progress | None = None
) -> Spec:
    """Return a spec whose `dataset.value_range` is set where its folders hold deep pictures.

    A range that stands in the spec stays. What is found is kept in the cache folder, unless
    `dataset.cache` is false.
    """
    if spec.dataset.value_range is not None:
        return spec
    keep = spec.dataset.cache
    levels = (
        _folder_levels(folders[name], keep=keep, progress=progress)
        for name in DECIDING
        if name in folders
    )
    first = next((pair for pair in levels if pair is not None), None)
    return spec if first is None else with_value_range(spec, range_of([first]))


def with_value_range(spec: Spec, value_range: ValueRange | None) -> Spec:
    """Return a spec with this `dataset.value_range`."""
    return replace(spec, dataset=replace(spec.dataset, value_range=value_range))


def _folder_levels(
    folder: ImageFolder, *, keep: bool, progress: Progress | None
) -> ValueRange | None:
    """Return the extreme levels of a folder's deep pictures, None where it has none."""
    chosen = [path for path in folder.paths if os.path.splitext(path)[1].lower() in _DEEP_ENDINGS]  # noqa: PTH122 - hot loop
    if not chosen:
        return None
    paths = [folder.root / path for path in chosen]
    if not keep:
        return _extremes(paths, progress)
    file = cache_settings().folder / "levels" / f"{files_digest(folder, DECODER_VERSION)}.json"
    with exclusive(file.with_suffix(".lock")):
        made = partial(_extremes, paths, progress)
        found = kept_or_made(file, (list, tuple, NoneType), made)
    return None if found is None else (found[0], found[1])


def _extremes(paths: list[Path], progress: Progress | None) -> ValueRange | None:
    found: list[ValueRange] = []
    with Listening(), ThreadPoolExecutor(usable_cores()) as pool:
        for done, levels in enumerate(pool.map(_levels, paths), 1):
            if levels is not None:
                found.append(levels)
                if progress is not None:
                    progress("looking for the range of deep pictures", done, len(paths))
    if not found:
        return None
    return min(pair[0] for pair in found), max(pair[1] for pair in found)


def _levels(path: Path) -> ValueRange | None:
    """Return the levels of one file, None for 8 bits and for what cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_PNG_DEPTH_AT + 1)
            if data.startswith(_PNG_START) and data[-1] != 16:
                return None
            data += file.read()
        if not opens_deep(data):
            return None
        with opened(data, mode="L", longest_px=1) as picture:
            return picture.samples.levels() if picture.samples else None
    except (OSError, UnreadableError):
        return None
