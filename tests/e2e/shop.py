"""Small pictures of known and unknown classes, laid out as the skill's table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

LAYOUT = {
    "known_classes": {"train": 12, "reference": 4, "val": 6},
    "unknown_classes": {"reference": 4, "test": 6},
}
"""Pictures of each class in each split."""
SIZE = 48
SMALL = {
    "model.backbone": "timm/test_resnet", "input_height": 32, "input_width": 32, "feat_dim": 32,
    "train.batch_size": 16, "dataset.workers": 0,
}  # fmt: skip
"""A recogniser that one core trains in seconds."""


def small_flags(**more):
    """`--set` words of the small recogniser."""
    return [w for key, value in (SMALL | more).items() for w in ("--set", f"{key}={value}")]


def make_shop(folder, classes=4):
    """Make `folder/data` with so many classes of each kind; returns it.

    A class is a grid of colours; its pictures are shifted, dimmed and noisy.
    """
    for kind, (known, splits) in enumerate(LAYOUT.items()):
        for number in range(classes):
            look = np.random.default_rng([kind, number]).integers(40, 255, (4, 4, 3))
            for place, (split, count) in enumerate(splits.items()):
                target = folder / "data" / known / split / f"{known[:2]}{number}"
                target.mkdir(parents=True)
                for index in range(count):
                    seed = np.random.default_rng([kind, number, place, index])
                    picture(look, seed).save(target / f"{index}.png")
    return Path(folder) / "data"


def picture(look, seed):
    """One picture of a class."""
    pixels = np.kron(look, np.ones((SIZE // 4, SIZE // 4, 1)))
    pixels = np.roll(pixels, seed.integers(-6, 7, 2), (0, 1)) * seed.uniform(0.7, 1.0)
    pixels += seed.normal(0.0, 12.0, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
