"""Mean and variance of cached features of a source's pictures, to see how alike two sources are.

Nothing is computed that is not in the cache already, and torch is not imported.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.cached_sets import META, CacheEntry, list_caches
from trainer.data.lists import is_list
from trainer.data.sources import open_source
from trainer.data.staging import address_of
from trainer.errors import DataError
from trainer.proposals import blocks

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.data.folder import ImageFolder

_SAME = ("format", "trunk", "weights", "size", "preprocessing")
"""What two sets must have in common for their features to be compared."""
_BLOCK_BYTES = 4 << 20


def feature_statistics(
    address: str, cache_dir: Path | None = None
) -> dict[str, dict[str, list[float]]]:
    """Describe features of a source's pictures as they are, by what they were made with.

    Of several sets that were made alike the one that was used last counts: others may be of
    pictures that have changed since.

    Args:
        address: a folder, an archive or a list of pictures, as in `dataset`.
        cache_dir: defaults to the user's cache folder.

    Returns:
        `mean` and `variance` (a number a feature) by the trunk, weights and preprocessing that made
        them; empty where nothing is in the cache, or the list cannot be read.
    """
    found: dict[str, dict[str, list[float]]] = {}
    try:
        listed = open_source(address) if is_list(address) else None
    except DataError:
        return found
    for entry in list_caches(cache_dir):
        if entry.kind != "features" or not _is_of(entry, address, listed):
            continue
        try:
            facts = json.loads((entry.path / META).read_text(encoding="utf-8"))
            key = json.dumps({name: facts.get(name) for name in _SAME}, sort_keys=True)
            if facts["augmentation"] is not None or facts["is_mirrored"] or key in found:
                continue
            features_NF = np.load(entry.path / "features.npy", mmap_mode="r")[0]
        except (OSError, ValueError, KeyError):  # removed meanwhile, or of another version
            continue
        mean_F = features_NF.mean(axis=0, dtype=np.float64)
        variance_F = _variance(features_NF, mean_F)
        found[key] = {"mean": mean_F.tolist(), "variance": variance_F.tolist()}
    return found


def _variance(features_NF: NDArray[Any], mean_F: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what `var` does, without its copy of all features in float64.

    Squares are added row by row, as numpy adds them along the first axis: the sum is the same.
    """
    sum_F = np.zeros_like(mean_F)
    for rows in blocks(len(features_NF), 8 * features_NF.shape[1], _BLOCK_BYTES):
        squares_BF = np.square(features_NF[rows] - mean_F)
        squares_BF[0] += sum_F
        sum_F = squares_BF.sum(axis=0)
    return sum_F / len(features_NF)


def _is_of(entry: CacheEntry, address: str, listed: ImageFolder | None) -> bool:
    """Whether a set is of an address's pictures, of some below it, or of a member of that archive.

    That of a list is known by the folder of its pictures and by how many they are.
    """
    if listed is not None:
        return (entry.source, entry.num_images) == (str(listed.root), len(listed.paths))
    places, address = (entry.source, entry.images_of), address_of(address)
    return any(place == address or place.startswith(f"{address.rstrip('/')}/") for place in places)
