"""The icons on the badges of the demonstration packs: plain shapes, told apart at twelve pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageDraw

Color = tuple[int, int, int]


def _polygon(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    radii: list[float],
    ink: Color,
    turn: float = -0.5,
) -> None:
    """A closed shape through points at these radii, evenly around the centre."""
    angles = [math.pi * (turn + 2 * i / len(radii)) for i in range(len(radii))]
    draw.polygon(
        [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)],
        fill=ink,
    )


def _star(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, ink: Color) -> None:
    _polygon(draw, x, y, [r, r * 0.4] * 5, ink)


def _drop(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, ink: Color) -> None:
    draw.polygon([(x, y - r), (x + r * 0.6, y + r * 0.2), (x - r * 0.6, y + r * 0.2)], fill=ink)
    draw.ellipse((x - r * 0.65, y - r * 0.3, x + r * 0.65, y + r), fill=ink)


def _berries(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, ink: Color) -> None:
    for dx, dy in ((-0.5, 0.35), (0.5, 0.35), (0.0, -0.5)):
        draw.ellipse(
            (x + (dx - 0.42) * r, y + (dy - 0.42) * r, x + (dx + 0.42) * r, y + (dy + 0.42) * r),
            fill=ink,
        )


def _leaf(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, ink: Color) -> None:
    draw.pieslice((x - r, y - r * 1.6, x + r, y + r * 0.6), 20, 160, fill=ink)
    draw.pieslice((x - r, y - r * 0.6, x + r, y + r * 1.6), 200, 340, fill=ink)


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, ink: Color) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=max(2, round(r * 0.38)))


def _cross(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, ink: Color) -> None:
    draw.rectangle((x - r, y - r * 0.3, x + r, y + r * 0.3), fill=ink)
    draw.rectangle((x - r * 0.3, y - r, x + r * 0.3, y + r), fill=ink)


def _moon(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, ink: Color) -> None:
    draw.pieslice((x - r, y - r, x + r, y + r), 60, 300, fill=ink)


def _grain(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, ink: Color) -> None:
    for i in range(3):
        offset = (i - 1) * r * 0.62
        draw.polygon(
            [
                (x - r, y + offset - r * 0.25),
                (x, y + offset + r * 0.2),
                (x + r, y + offset - r * 0.25),
                (x, y + offset + r * 0.5),
            ],
            fill=ink,
        )


ICONS = (_star, _drop, _berries, _leaf, _ring, _cross, _moon, _grain)
"""Each draws itself around a centre, within a radius, in an ink."""
