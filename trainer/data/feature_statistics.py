"""Mean and variance of cached features of a source's pictures, to see how alike two sources are.

Nothing is computed that is not in the cache already, and torch is not imported.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.cached_sets import META, list_caches

if TYPE_CHECKING:
    from pathlib import Path

_SAME = ("format", "trunk", "weights", "size", "preprocessing")
"""What two sets must have in common for their features to be compared."""


def feature_statistics(
    address: str, cache_dir: Path | None = None
) -> dict[str, dict[str, list[float]]]:
    """Describe features of a source's pictures as they are, by what they were made with.

    Args:
        address: a folder, an archive or a list of pictures, as in `dataset`.
        cache_dir: defaults to the user's cache folder.

    Returns:
        `mean` and `variance` (a number a feature) by the trunk, weights and preprocessing that made
        them; empty where nothing is in the cache.
    """
    found = {}
    for entry in list_caches(cache_dir):
        places = (entry.source, entry.images_of)
        if entry.kind != "features" or not any(_is_below(place, address) for place in places):
            continue
        try:
            facts = json.loads((entry.path / META).read_text(encoding="utf-8"))
            if facts["augmentation"] is not None or facts["is_mirrored"]:
                continue
            features_NF = np.load(entry.path / "features.npy", mmap_mode="r")[0]
        except (OSError, ValueError, KeyError):  # removed meanwhile, or of another version
            continue
        key = json.dumps({name: facts.get(name) for name in _SAME}, sort_keys=True)
        found[key] = {
            "mean": features_NF.mean(axis=0, dtype=np.float64).tolist(),
            "variance": features_NF.var(axis=0, dtype=np.float64).tolist(),
        }
    return found


def _is_below(place: str, address: str) -> bool:
    """Whether pictures of a place are those of an address, or a member of that archive."""
    return place == address or place.startswith(f"{address.rstrip('/')}/")
