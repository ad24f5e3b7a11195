import itertools

import pytest

from trainer.data.demo_catalog import PRODUCTS_PER_BRAND, make_brand, make_products


def test_the_same_seed_gives_the_same_products():
    assert make_products(3, 2) == make_products(3, 2)
    assert make_products(3, 2) != make_products(4, 2)


@pytest.mark.parametrize("seed", range(20))
def test_no_two_brands_share_a_name(seed):
    names = [make_brand(seed, number).name for number in range(10)]
    assert len(set(names)) == 10


@pytest.mark.parametrize("seed", range(5))
def test_products_of_a_brand_differ_in_details_only(seed):
    products = make_products(seed, 1)
    assert len(products) == PRODUCTS_PER_BRAND
    assert len({product.brand for product in products}) == 1
    for one, other in itertools.combinations(products, 2):
        assert one.flavour != other.flavour
        assert one.icon != other.icon
        assert one.stripes != other.stripes
        assert one.seals != other.seals


def test_colour_tells_pairs_and_not_products():
    assert len({product.accent for product in make_products(1, 0)}) == 2
