"""Small pictures and specs for tests that really train: seconds on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 32
TRUNK = "timm/test_resnet"


def make_folders(root: Path, *, classes: int = 4, images: int = 8, seed: int = 0) -> Path:
    """Write <root>/<class>/<n>.png: a class is a direction and width of stripes, a picture has its
    own colour, shift and noise.
    """
    rng = np.random.default_rng(seed)
    looks = np.random.default_rng(77)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    for c in range(classes):
        angle, pitch = np.pi * c / classes + looks.uniform(0, 0.2), looks.uniform(4, 8)
        wave = np.cos(angle) * rows + np.sin(angle) * columns
        folder = root / f"class_{c:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(images):
            colour = rng.uniform(70, 185, 3)
            stripes = 50 * np.sin((wave + rng.uniform(0, pitch)) * 2 * np.pi / pitch)
            pixels = colour + stripes[:, :, None] + rng.normal(0, 25, (SIDE, SIDE, 3))
            array = np.clip(pixels, 0, 255).astype(np.uint8)
            Image.fromarray(array).save(folder / f"{i:02d}.png")
    return root


def make_splits(root: Path, *, classes: int = 4, images: int = 8) -> dict[str, str]:
    """Write train, reference and query folders and return their paths."""
    make_folders(root / "train", classes=classes, images=images, seed=1)
    make_folders(root / "reference", classes=classes, images=2, seed=2)
    make_folders(root / "query", classes=classes, images=3, seed=3)
    return {name: str(root / name) for name in ("train", "reference", "query")}


def train_spec(splits: dict[str, str], results_dir: Path, **changes: Any) -> dict[str, Any]:
    """A train spec over these folders; changes are dotted keys with `__` for the dot."""
    spec: dict[str, Any] = {
        "results_dir": str(results_dir),
        "dataset.train_dataset": splits["train"],
        "dataset.val_dataset.reference": splits["reference"],
        "dataset.val_dataset.query": splits["query"],
        "dataset.cache": False,
        "dataset.gaussian_blur.kernel": [3, 3],
        "dataset.color_augmentation.enabled": False,
        "dataset.re_prob": 0.0,
        "model.backbone": TRUNK,
        "model.input_width": SIDE,
        "model.input_height": SIDE,
        "model.feat_dim": 16,
        "train.num_epochs": 2,
        "train.batch_size": 16,
    }
    return spec | {key.replace("__", "."): value for key, value in changes.items()}
