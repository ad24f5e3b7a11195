import numpy as np
import pytest
from PIL import Image

from trainer.data.demo_views import take_view

FACE = Image.new("RGBA", (120, 200), (255, 0, 255, 255))


def views(num=60):
    return [np.asarray(take_view(FACE, np.random.default_rng(i))).astype(int) for i in range(num)]


def magenta(view):
    """Where the pack is to be seen."""
    return (view[..., 0] - view[..., 1] > 40) & (view[..., 2] - view[..., 1] > 40)


@pytest.mark.parametrize("size", [48, 96])
def test_views_have_the_asked_size(size):
    assert take_view(FACE, np.random.default_rng(0), size).size == (size, size)


def test_the_same_generator_gives_the_same_view():
    one, other = (take_view(FACE, np.random.default_rng(1)) for _ in range(2))
    assert one.tobytes() == other.tobytes()


def test_the_pack_is_large_in_every_view():
    shares = [magenta(view).mean() for view in views()]
    assert min(shares) > 0.1
    assert 0.25 < np.median(shares) < 0.75


def test_place_light_and_turn_change_between_views():
    rows, columns, light = [], [], []
    for view in views():
        inside = magenta(view)
        row, column = np.nonzero(inside)
        rows.append(row.mean())
        columns.append(column.mean())
        light.append(view[inside].mean())
    assert np.std(rows) > 2
    assert np.std(columns) > 2
    assert np.std(light) > 10
