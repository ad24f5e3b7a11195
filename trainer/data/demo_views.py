"""Snapshots of a pack as a phone in a shop gives them: pose, light, blur, things around it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VIEW_SIZE = 96
_OVERSAMPLE = 2
_BLOBS = 7


def take_view(face: Image.Image, rng: np.random.Generator, size: int = _VIEW_SIZE) -> Image.Image:
    """One photograph of a pack.

    Args:
        face: the pack's front with its outline as alpha.
        rng: decides everything about the picture.
        size: side of the square picture in pixels.
    """
    canvas = size * _OVERSAMPLE
    scene = _background(rng, canvas)
    corners = _pose(rng, face.width / face.height, canvas)
    pack = _warp(_shade(face, rng), corners, canvas)
    scene = _drop_shadow(scene, pack, rng)
    scene.paste(pack, (0, 0), pack)
    _occlude(scene, corners, rng)
    return _camera(scene.reduce(_OVERSAMPLE), rng)


def _background(rng: np.random.Generator, canvas: int) -> Image.Image:
    """A shelf out of focus: a slanted gradient and blots in colours of other packs."""
    small = 24
    top, low = _dull(rng), _dull(rng)
    ramp = np.linspace(0.0, 1.0, small)[:, None, None]
    pixels = np.broadcast_to(top + (low - top) * ramp, (small, small, 3)).astype(np.uint8)
    scene = Image.fromarray(np.ascontiguousarray(pixels))
    draw = ImageDraw.Draw(scene)
    for _ in range(_BLOBS):
        x, y = rng.uniform(-4, small, 2)
        w, h = rng.uniform(3, 11, 2)
        draw.rectangle((x, y, x + w, y + h), fill=tuple(int(c) for c in _dull(rng)))
    blurred = scene.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.6))))
    return blurred.resize((canvas, canvas), Image.Resampling.BICUBIC)


def _dull(rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour of shelves, walls and things out of focus: little saturated."""
    return (rng.uniform(50, 225) + rng.normal(0.0, 22.0, 3)).clip(0, 255)


def _pose(rng: np.random.Generator, aspect: float, canvas: int) -> NDArray[np.float64]:
    """Where the four corners of the pack are (from top left, clockwise), shape (4, 2)."""
    height = canvas * rng.uniform(0.82, 1.08) / max(1.0, aspect * 1.05)
    half = np.array([aspect * height, height]) / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    tilt = rng.normal(0.0, 0.12, 2).clip(-0.3, 0.3)
    depth = 1.0 + corners @ (tilt / height)
    corners = corners * np.cos(2.2 * tilt) / depth[:, None]
    angle = rng.normal(0.0, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    placed: NDArray[np.float64] = corners @ turn.T + canvas / 2
    return placed + rng.normal(0.0, 0.03 * canvas, 2)


def _shade(face: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light from one side, and often a reflection across the pack."""
    width, height = face.size
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    light = 1.0 + rng.normal(0.0, 0.16) * x + rng.normal(0.0, 0.16) * y
    gloss = np.zeros_like(light)
    if rng.random() < 0.45:
        along = x * math.cos(slant := rng.uniform(-0.6, 0.6)) + y * math.sin(slant)
        gloss = rng.uniform(40, 130) * np.exp(
            -(((along - rng.uniform(-0.8, 0.8)) / rng.uniform(0.08, 0.3)) ** 2)
        )
    rgba = np.asarray(face).astype(np.float32)
    rgba[..., :3] = rgba[..., :3] * light[..., None] + gloss[..., None]
    return Image.fromarray(rgba.clip(0, 255).astype(np.uint8))


def _warp(face: Image.Image, corners: NDArray[np.float64], canvas: int) -> Image.Image:
    """The face seen in perspective, on a transparent canvas."""
    width, height = face.size
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    coefficients = np.linalg.solve(np.array(rows), np.array(values))
    return face.transform(
        (canvas, canvas),
        Image.Transform.PERSPECTIVE,
        tuple(float(c) for c in coefficients),
        Image.Resampling.BILINEAR,
    )


def _drop_shadow(scene: Image.Image, pack: Image.Image, rng: np.random.Generator) -> Image.Image:
    small = pack.getchannel("A").reduce(4).filter(ImageFilter.GaussianBlur(2.0))
    strength = float(rng.uniform(0.2, 0.6))
    mask = small.point(lambda a: int(a * strength)).resize(scene.size)
    shifted = Image.new("L", scene.size)
    right, down = rng.integers(-8, 9, 2)
    shifted.paste(mask, (int(right), int(down)))
    return Image.composite(Image.new("RGB", scene.size, (15, 15, 20)), scene, shifted)


def _occlude(scene: Image.Image, corners: NDArray[np.float64], rng: np.random.Generator) -> None:
    """A price tag, a finger or a neighbour's edge over part of the pack, in some pictures."""
    if rng.random() > 0.3:
        return
    low, high = corners.min(axis=0), corners.max(axis=0)
    extent = high - low
    draw = ImageDraw.Draw(scene)
    kind = rng.integers(3)
    if kind == 0:
        w, h = extent * rng.uniform([0.25, 0.1], [0.5, 0.2])
        x, y = low + extent * rng.uniform([0.0, 0.6], [0.6, 0.95])
        draw.rectangle((x, y, x + w, y + h), fill=(250, 246, 225), outline=(90, 90, 90))
        draw.line((x + w * 0.15, y + h * 0.5, x + w * 0.8, y + h * 0.5), fill=(40, 40, 40), width=3)
    elif kind == 1:
        r = extent.min() * rng.uniform(0.08, 0.16)
        x, y = low + extent * rng.uniform(0.05, 0.95, 2)
        x = low[0] if x < low.mean() else x
        skin = tuple(int(c) for c in np.array([224, 172, 140]) * rng.uniform(0.5, 1.05))
        draw.rounded_rectangle((x - 3 * r, y - r, x + r, y + r), r, fill=skin)
    else:
        share = rng.uniform(0.05, 0.2)
        edge = (
            (low[0], low[0] + extent[0] * share)
            if rng.random() < 0.5
            else (high[0] - extent[0] * share, high[0])
        )
        draw.rectangle((edge[0], 0, edge[1], scene.height), fill=tuple(int(c) for c in _dull(rng)))


def _camera(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Focus, exposure, white balance, contrast and sensor noise."""
    if rng.random() < 0.6:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 1.1))))
    pixels = np.asarray(picture).astype(np.float32)
    gain = rng.uniform(0.7, 1.2) * rng.normal(1.0, 0.03, 3)
    mean = pixels.mean()
    pixels = (mean + (pixels - mean) * rng.uniform(0.75, 1.15)) * gain
    pixels += rng.normal(0.0, rng.uniform(1.0, 6.0), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
