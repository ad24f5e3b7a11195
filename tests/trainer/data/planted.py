"""Photographs of invented objects, each taken several times in a burst."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def plant_bursts(
    root: Path, *, classes: int, objects: int, shots: int, seed: int, side: int = 64
) -> dict[str, list[Path]]:
    """Draw `<root>/c<i>/<name>.jpg`; return the pictures of each burst.

    The shots of a burst are turned by up to 3 degrees, framed up to 10 % closer, differ by up to
    15 % in light, have noise of their own and are compressed at 70 to 92. Names tell nothing.
    """
    rng = np.random.default_rng(seed)
    bursts: dict[str, list[Path]] = {}
    names = rng.permutation(classes * objects * shots)
    for i in range(classes * objects):
        label = f"c{i % classes}"
        scene = _scene(rng, 2 * side)
        for shot in range(shots):
            path = root / label / f"{names[i * shots + shot]:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            _taken(scene, rng, side).save(path, quality=int(rng.integers(70, 93)))
            bursts.setdefault(f"{label}-{i}", []).append(path)
    return bursts


def _scene(rng: np.random.Generator, side: int) -> Image.Image:
    coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    fine = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    layers = [
        Image.fromarray(a).resize((side, side), Image.Resampling.BICUBIC) for a in (coarse, fine)
    ]
    return Image.blend(*layers, alpha=0.35)


def _taken(scene: Image.Image, rng: np.random.Generator, side: int) -> Image.Image:
    turned = scene.rotate(rng.uniform(-3, 3), resample=Image.Resampling.BICUBIC)
    kept = scene.width * rng.uniform(0.82, 0.92)
    left, top = (scene.width * rng.uniform(0.04, 0.96 - kept / scene.width) for _ in range(2))
    small = turned.resize((side, side), box=(left, top, left + kept, top + kept))
    pixels = np.asarray(small, dtype=np.float32) * rng.uniform(0.85, 1.15)
    pixels += rng.normal(0, 4, pixels.shape).astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
