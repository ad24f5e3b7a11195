"""The assortment of the demonstration: brands, and the products of each.

A brand decides shape, colours, logo and where things are. Its products differ in details: the
flavour badge (icon and side), two thin stripes, the row of seals and the print. Two and two share
the accent colour, so that colour alone tells a pair, not a product.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from trainer.data.demo_icons import ICONS, Color

PRODUCTS_PER_BRAND = 4

SHAPES = {"carton": 0.62, "bag": 0.74, "bottle": 0.46, "can": 0.60, "tub": 1.15, "box": 0.84}
"""Width over height of each kind of pack."""

_SYLLABLES = "ba co del fri gan lo mi nor pa ri sol ta vel zu ka en"
_FLAVOURS = "apple cherry lemon mint oat cocoa honey ginger plum salt chili vanilla"
_CLAIMS = "bio 0%-fat new family light fresh extra classic free whole gold daily"
_GOLDEN_SHARE = 0.381966
"""Steps of this size around the colour circle keep neighbouring brands far apart."""


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
    """The brand of this number under this seed; no two numbers share a name."""
    rng = np.random.default_rng([seed, number])
    hue = (number * _GOLDEN_SHARE + rng.uniform(-0.03, 0.03)) % 1.0
    accent_hue = (hue + rng.uniform(0.35, 0.65)) % 1.0
    return Brand(
        name=_brand_name(seed, number, has_third=bool(rng.integers(2))),
        shape=list(SHAPES)[number % len(SHAPES)],
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
    icons = rng.choice(len(ICONS), PRODUCTS_PER_BRAND, replace=False)
    flavours = rng.permutation(_FLAVOURS.split())
    claims = rng.permutation(_CLAIMS.split())
    stripes, seals = rng.permutation(4), rng.permutation(4)
    return [
        Product(
            brand=brand,
            flavour=str(flavours[i]),
            claim=str(claims[i]),
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


def _brand_name(seed: int, number: int, *, has_third: bool) -> str:
    """Two or three syllables; the first two are this brand's alone."""
    syllables = _SYLLABLES.split()
    order = np.random.default_rng([seed, len(syllables)]).permutation(len(syllables) ** 2)
    pairs = [divmod(int(code), len(syllables)) for code in order]
    first, second = [pair for pair in pairs if pair[0] != pair[1]][number]
    third = syllables[(first + second) % len(syllables)] if has_third else ""
    return f"{syllables[first]}{syllables[second]}{third}".upper()


def _color(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
