import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainer.data.demo_icons import ICONS


def drawn(icon, radius=10.0):
    image = Image.new("L", (48, 48))
    icon(ImageDraw.Draw(image), 24, 24, radius, 255)
    return np.asarray(image) > 0


@pytest.mark.parametrize("icon", ICONS)
def test_icons_stay_near_their_place_and_are_visible(icon):
    shape = drawn(icon)
    assert 40 < shape.sum() < 500
    assert not shape[:11].any()
    assert not shape[:, :11].any()
    assert not shape[37:].any()
    assert not shape[:, 37:].any()


def test_no_two_icons_look_alike():
    for one, other in itertools.combinations(map(drawn, ICONS), 2):
        assert (one != other).sum() > 0.15 * max(one.sum(), other.sum())
