"""The embedded data set: snapshots of invented product packs, drawn on demand."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.cores import usable_cores
from trainer.data.demo_catalog import PRODUCTS_PER_BRAND, Product, make_products
from trainer.data.demo_packs import draw_face
from trainer.data.demo_views import take_view
from trainer.data.location import make_once
from trainer.data.origin import DEMO

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
"""Raised whenever the same seed would give other pictures."""

_NUM_KNOWN_BRANDS = 7
_NUM_UNKNOWN_BRANDS = 3
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    name: str
    is_known: bool
    views: int
    """Per class."""


_PARTS = (
    _Part(name="train", is_known=True, views=30),
    _Part(name="reference", is_known=True, views=4),
    _Part(name="query", is_known=True, views=12),
    _Part(name="test_reference", is_known=False, views=4),
    _Part(name="test_query", is_known=False, views=16),
)


def make_demo_data(folder: Path, seed: int) -> dict[str, str]:
    """Draw the data set, or find it drawn.

    28 products of 7 brands are trained on and looked up (`train`, `reference`, `query`); 12
    products of 3 other brands are for the test of unknown classes. Brands are told apart at a
    glance, the four products of a brand by details.

    Args:
        folder: where it goes, about 7 MB; several processes may ask for the same one.
        seed: other seeds give other brands, products and pictures.

    Returns:
        Paths of `train`, `reference`, `query`, `test_reference` and `test_query`.
    """
    target = folder / f"packs-{VERSION}-{seed}"
    make_once(target, DEMO, lambda draft: _draw_all(draft, seed))
    return {part.name: str((target / part.name).absolute()) for part in _PARTS}


def _draw_all(draft: Path, seed: int) -> None:
    brands = [
        make_products(seed, brand) for brand in range(_NUM_KNOWN_BRANDS + _NUM_UNKNOWN_BRANDS)
    ]
    products = [product for brand in brands for product in brand]
    num_known = _NUM_KNOWN_BRANDS * PRODUCTS_PER_BRAND
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(
            pool.map(
                lambda i: _draw_class(draft, products[i], i, seed, i < num_known),
                range(len(products)),
            )
        )
    (draft / DEMO).write_text(
        json.dumps({"seed": seed, "version": VERSION, "classes": len(products)})
    )


def _draw_class(draft: Path, product: Product, number: int, seed: int, is_known: bool) -> None:
    face = draw_face(product)
    for place, part in enumerate(_PARTS):
        if part.is_known != is_known:
            continue
        folder = draft / part.name / f"{product.brand.name.lower()}-{product.flavour}"
        folder.mkdir(parents=True)
        for view in range(part.views):
            rng = np.random.default_rng([seed, number, place, view])
            take_view(face, rng).save(folder / f"{view:03d}.jpg", quality=_JPEG_QUALITY)
