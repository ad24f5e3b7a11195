import itertools

import numpy as np
import pytest

from trainer.data.demo_catalog import SHAPES, make_products
from trainer.data.demo_packs import draw_face


def pixels(product):
    return np.asarray(draw_face(product)).astype(int)


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_faces_have_the_proportions_of_their_shape(number):
    product = make_products(1, number)[0]
    face = draw_face(product)
    assert face.mode == "RGBA"
    assert face.width / face.height == pytest.approx(SHAPES[product.brand.shape], abs=0.01)
    opaque = np.asarray(face)[..., 3] > 0
    assert 0.75 < opaque.mean() <= 1.0


def test_products_of_a_brand_share_most_of_their_face():
    for one, other in itertools.combinations(map(pixels, make_products(1, 0)), 2):
        differs = (np.abs(one - other).max(axis=-1) > 8).mean()
        assert 0.02 < differs < 0.35


def test_brands_differ_more_than_their_products():
    # brands 0 and 6 have the same shape
    ours, other = pixels(make_products(1, 0)[0]), pixels(make_products(1, 6)[0])
    assert (np.abs(ours - other).max(axis=-1) > 8).mean() > 0.35
