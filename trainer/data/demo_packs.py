"""Flat pictures of invented product packs.

A brand decides shape, colours, logo and where things are. Its products differ in details: the
flavour badge (icon and side), two thin stripes, the row of seals and the print. Two and two share
the accent colour, so that colour alone tells a pair, not a product.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PRODUCTS_PER_BRAND = 4

_FACE_HEIGHT = 240
_SHAPES = {"carton": 0.62, "bag": 0.74, "bottle": 0.46, "can": 0.60, "tub": 1.15, "box": 0.84}
"""Width over height of each kind of pack."""
_SYLLABLES = (
    "ba",
    "co",
    "del",
    "fri",
    "gan",
    "lo",
    "mi",
    "nor",
    "pa",
    "ri",
    "sol",
    "ta",
    "vel",
    "zu",
    "ka",
    "en",
)
_FLAVOURS = (
    "apple",
    "cherry",
    "lemon",
    "mint",
    "oat",
    "cocoa",
    "honey",
    "ginger",
    "plum",
    "salt",
    "chili",
    "vanilla",
)
_CLAIMS = (
    "bio",
    "0% fat",
    "new",
    "family",
    "light",
    "fresh",
    "extra",
    "classic",
    "free",
    "whole",
    "gold",
    "daily",
)

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """What the packs of a brand have in common."""

    name: str
    shape: str
    base: Color
    paper: Color
    accents: tuple[Color, Color]
    banner: int
    logo_at: float
    """Height of the logo's centre, as a share of the pack's."""
    panel_at: float
    is_panel_round: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One class: a brand's pack with its own details."""

    brand: Brand
    flavour: str
    claim: str
    accent: Color
    icon: int
    is_badge_left: bool
    stripes: int
    """Which of the four stripe patterns."""
    seals: int
    """Which of the rows of seals."""
    weight: str
    print_seed: int


def make_brand(seed: int, number: int) -> Brand:
    """The brand of this number under this seed."""
    rng = np.random.default_rng([seed, number])
    hue = (number * 0.381966 + rng.uniform(-0.03, 0.03)) % 1.0
    accent_hue = (hue + rng.uniform(0.35, 0.65)) % 1.0
    syllables = [
        _SYLLABLES[i] for i in rng.choice(len(_SYLLABLES), rng.integers(2, 4), replace=False)
    ]
    return Brand(
        name="".join(syllables).upper(),
        shape=list(_SHAPES)[number % len(_SHAPES)],
        base=_color(hue, rng.uniform(0.45, 0.85), rng.uniform(0.45, 0.85)),
        paper=_color(hue + 0.08, rng.uniform(0.03, 0.16), rng.uniform(0.90, 0.99)),
        accents=(_color(accent_hue, 0.75, 0.75), _color(accent_hue + 0.16, 0.75, 0.70)),
        banner=int(rng.integers(4)),
        logo_at=float(rng.uniform(0.17, 0.25)),
        panel_at=float(rng.uniform(0.50, 0.58)),
        is_panel_round=bool(rng.integers(2)),
    )


def make_products(seed: int, number: int) -> list[Product]:
    """The products of one brand."""
    brand = make_brand(seed, number)
    rng = np.random.default_rng([seed, number, 1])
    icons = rng.choice(len(_ICONS), PRODUCTS_PER_BRAND, replace=False)
    flavours = rng.choice(len(_FLAVOURS), PRODUCTS_PER_BRAND, replace=False)
    claims = rng.choice(len(_CLAIMS), PRODUCTS_PER_BRAND, replace=False)
    stripes, seals = rng.permutation(4), rng.permutation(4)
    return [
        Product(
            brand=brand,
            flavour=_FLAVOURS[flavours[i]],
            claim=_CLAIMS[claims[i]],
            accent=brand.accents[i // 2],
            icon=int(icons[i]),
            is_badge_left=bool(i % 2),
            stripes=int(stripes[i]),
            seals=int(seals[i]),
            weight=f"{rng.integers(1, 10) * 50} g",
            print_seed=int(rng.integers(1 << 30)),
        )
        for i in range(PRODUCTS_PER_BRAND)
    ]


def draw_face(product: Product) -> Image.Image:
    """The front of a pack, seen straight on; transparent outside its outline."""
    brand = product.brand
    height = _FACE_HEIGHT
    width = round(height * _SHAPES[brand.shape])
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


def _color(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


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
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_mix(brand.base, (255, 255, 255), 0.65))
    else:
        draw.rounded_rectangle(
            (x - r, y - r * 0.9, x + r, y + r * 0.9),
            r * 0.2,
            fill=_mix(brand.base, (255, 255, 255), 0.65),
        )
    draw.chord(
        (x - r * 0.7, y - r * 0.8, x + r * 0.7, y + r * 0.6),
        0,
        180,
        fill=_mix(brand.base, (30, 30, 30), 0.5),
    )
    draw.ellipse(
        (x - r * 0.7, y - r * 0.25, x + r * 0.7, y + r * 0.05),
        fill=_mix(product.accent, (255, 255, 255), 0.25),
    )


def _draw_logo(draw: ImageDraw.ImageDraw, brand: Brand, w: int, h: int) -> None:
    x, y = w * 0.5, h * brand.logo_at
    ink = (255, 255, 255)
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
    draw.ellipse(
        (x - r, y - r, x + r, y + r), fill=product.accent, outline=(255, 255, 255), width=2
    )
    _ICONS[product.icon](draw, x, y, r * 0.62, (255, 255, 255))
    label = w * (0.64 if product.is_badge_left else 0.36)
    _write(
        draw,
        (label, h * 0.475),
        product.flavour,
        h * 0.07,
        _mix(product.accent, (0, 0, 0), 0.45),
        w * 0.5,
    )


def _draw_seals(draw: ImageDraw.ImageDraw, product: Product, w: int, h: int) -> None:
    """A row of small marks at the foot: how many, and of which kind."""
    count, is_square = ((3, False), (2, True), (1, False), (3, True))[product.seals]
    size, y = h * 0.035, h * 0.925
    for i in range(count):
        x = w * (0.20 + 0.17 * i)
        ink = _mix(product.accent, (0, 0, 0), 0.3)
        shape = draw.rectangle if is_square else draw.ellipse
        shape((x - size, y - size, x + size, y + size), fill=ink, outline=(255, 255, 255))
    _write(draw, (w * 0.80, y), product.weight, h * 0.055, (40, 40, 40), w * 0.3)


def _draw_print(draw: ImageDraw.ImageDraw, product: Product, w: int, h: int) -> None:
    """The claim, and lines of small print."""
    _write(
        draw,
        (w * 0.5, h * 0.335),
        product.claim,
        h * 0.06,
        (250, 250, 250) if product.brand.banner != 3 else (60, 60, 60),
        w * 0.5,
    )
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
        draw.rounded_rectangle((0, h * 0.12, w - 1, h - 1), w * 0.16, fill=255)
        draw.rectangle((w * 0.28, 0, w * 0.72, h * 0.2), fill=255)
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


_ICONS = (_star, _drop, _berries, _leaf, _ring, _cross, _moon, _grain)
