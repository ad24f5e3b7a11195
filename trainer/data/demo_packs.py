"""Flat pictures of the packs in the demonstration's assortment, seen straight on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainer.data.demo_catalog import SHAPES
from trainer.data.demo_icons import ICONS, Color

if TYPE_CHECKING:
    from trainer.data.demo_catalog import Brand, Product

_FACE_HEIGHT = 240
_WHITE = (255, 255, 255)


def draw_face(product: Product) -> Image.Image:
    """The front of a pack, seen straight on; transparent outside its outline."""
    brand = product.brand
    height = _FACE_HEIGHT
    width = round(height * SHAPES[brand.shape])
    face = Image.new("RGB", (width, height), brand.paper)
    draw = ImageDraw.Draw(face)
    _draw_banner(draw, brand, width, height)
    _draw_stripes(draw, product, width, height)
    _draw_panel(draw, product, width, height)
    _draw_logo(draw, brand, width, height)
    _draw_badge(draw, product, width, height)
    _draw_seals(draw, product, width, height)
    _draw_print(draw, product, width, height)
    face.putalpha(_outline(brand.shape, width, height))
    return face


def _write(
    draw: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    text: str,
    size: float,
    fill: Color,
    fit: float,
) -> None:
    """Centred text, made smaller until it is no wider than `fit`."""
    font = ImageFont.load_default(size)
    wide = draw.textlength(text, font=font)
    if wide > fit:
        font = ImageFont.load_default(max(6.0, size * fit / wide))
    draw.text(centre, text, font=font, fill=fill, anchor="mm")


def _draw_banner(draw: ImageDraw.ImageDraw, brand: Brand, w: int, h: int) -> None:
    top, low = h * 0.40, h * 0.72
    if brand.banner == 0:
        draw.rectangle((0, 0, w, top), fill=brand.base)
        draw.pieslice((-w * 0.3, top - h * 0.12, w * 1.3, top + h * 0.12), 0, 180, fill=brand.base)
    elif brand.banner == 1:
        draw.polygon([(0, 0), (w, 0), (w, top * 0.8), (0, top * 1.2)], fill=brand.base)
    elif brand.banner == 2:
        draw.rectangle((0, 0, w, h), fill=brand.base)
        draw.ellipse((-w * 0.2, h * 0.34, w * 1.2, h * 1.1), fill=brand.paper)
    else:
        draw.rectangle((0, 0, w, top * 0.85), fill=brand.base)
        draw.rectangle((0, low * 1.15, w, h), fill=brand.base)


def _draw_stripes(draw: ImageDraw.ImageDraw, product: Product, w: int, h: int) -> None:
    thick = h * 0.035
    heights = ((0.37, 0.41), (0.37, 0.86), (0.82, 0.86), (0.41, 0.82))[product.stripes]
    for share in heights:
        draw.rectangle((0, h * share, w, h * share + thick), fill=product.accent)


def _draw_panel(draw: ImageDraw.ImageDraw, product: Product, w: int, h: int) -> None:
    """The picture of the food: a bowl whose content has the accent colour."""
    brand = product.brand
    x, y = w * 0.5, h * (brand.panel_at + 0.09)
    r = min(w, h) * 0.27
    if brand.is_panel_round:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_mix(brand.base, _WHITE, 0.65))
    else:
        draw.rounded_rectangle(
            (x - r, y - r * 0.9, x + r, y + r * 0.9),
            r * 0.2,
            fill=_mix(brand.base, _WHITE, 0.65),
        )
    draw.chord(
        (x - r * 0.7, y - r * 0.8, x + r * 0.7, y + r * 0.6),
        0,
        180,
        fill=_mix(brand.base, (30, 30, 30), 0.5),
    )
    draw.ellipse(
        (x - r * 0.7, y - r * 0.25, x + r * 0.7, y + r * 0.05),
        fill=_mix(product.accent, _WHITE, 0.25),
    )


def _draw_logo(draw: ImageDraw.ImageDraw, brand: Brand, w: int, h: int) -> None:
    x, y = w * 0.5, h * brand.logo_at
    ink = _WHITE
    draw.rounded_rectangle(
        (w * 0.1, y - h * 0.075, w * 0.9, y + h * 0.075),
        h * 0.05,
        fill=_mix(brand.base, (20, 20, 40), 0.55),
    )
    _write(draw, (x, y), brand.name, h * 0.11, ink, w * 0.74)


def _draw_badge(draw: ImageDraw.ImageDraw, product: Product, w: int, h: int) -> None:
    """Flavour badge: the icon on a disc of the accent colour, and the flavour's name."""
    r = min(w, h) * 0.185
    x = w * (0.26 if product.is_badge_left else 0.74)
    y = h * 0.50
    draw.ellipse((x - r, y - r, x + r, y + r), fill=product.accent, outline=_WHITE, width=2)
    ICONS[product.icon](draw, x, y, r * 0.62, _WHITE)
    label = (w * (0.70 if product.is_badge_left else 0.30), h * 0.50)
    ink = _mix(product.accent, (0, 0, 0), 0.45)
    half = w * 0.25
    paper = (label[0] - half, label[1] - h * 0.04, label[0] + half, label[1] + h * 0.045)
    draw.rounded_rectangle(paper, h * 0.02, fill=_mix(product.brand.paper, _WHITE, 0.5))
    _write(draw, label, product.flavour, h * 0.07, ink, w * 0.46)


def _draw_seals(draw: ImageDraw.ImageDraw, product: Product, w: int, h: int) -> None:
    """A row of small marks at the foot: how many, and of which kind."""
    count, is_square = ((3, False), (2, True), (1, False), (3, True))[product.seals]
    size, y = h * 0.035, h * 0.925
    for i in range(count):
        x = w * (0.20 + 0.17 * i)
        ink = _mix(product.accent, (0, 0, 0), 0.3)
        shape = draw.rectangle if is_square else draw.ellipse
        shape((x - size, y - size, x + size, y + size), fill=ink, outline=_WHITE)
    _write(draw, (w * 0.80, y), product.weight, h * 0.055, (40, 40, 40), w * 0.3)


def _draw_print(draw: ImageDraw.ImageDraw, product: Product, w: int, h: int) -> None:
    """The claim on its ribbon, and lines of small print."""
    ribbon = _mix(product.brand.base, (20, 20, 30), 0.35)
    half = w * (0.13 + 0.022 * len(product.claim))
    corners = (w * 0.5 - half, h * 0.297, w * 0.5 + half, h * 0.362)
    draw.rounded_rectangle(corners, h * 0.02, fill=ribbon)
    _write(draw, (w * 0.5, h * 0.33), product.claim, h * 0.055, _WHITE, w * 0.5)
    rng = np.random.default_rng(product.print_seed)
    for line in range(2):
        y, x = h * (0.775 + 0.022 * line), w * 0.15
        while x < w * 0.82:
            length = w * rng.uniform(0.03, 0.12)
            draw.line((x, y, min(x + length, w * 0.85), y), fill=(90, 90, 90), width=2)
            x += length + w * 0.03


def _mix(color: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


def _outline(shape: str, w: int, h: int) -> Image.Image:
    mask = Image.new("L", (w, h), 0)
    draw = ImageDraw.Draw(mask)
    if shape == "bottle":
        draw.rounded_rectangle((0, h * 0.07, w - 1, h - 1), w * 0.16, fill=255)
        draw.rectangle((w * 0.25, 0, w * 0.75, h * 0.1), fill=255)
    elif shape == "bag":
        teeth = 14
        for i in range(teeth):
            left, right = w * i / teeth, w * (i + 1) / teeth
            draw.polygon([(left, h * 0.04), ((left + right) / 2, 0), (right, h * 0.04)], fill=255)
            draw.polygon(
                [(left, h * 0.96), ((left + right) / 2, h - 1), (right, h * 0.96)], fill=255
            )
        draw.rectangle((0, h * 0.04, w, h * 0.96), fill=255)
    elif shape == "tub":
        draw.polygon([(0, 0), (w, 0), (w * 0.9, h), (w * 0.1, h)], fill=255)
    elif shape == "can":
        draw.rounded_rectangle((0, 0, w - 1, h - 1), w * 0.12, fill=255)
    else:
        draw.rounded_rectangle((0, 0, w - 1, h - 1), 5, fill=255)
    return mask
