import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from trainer.data.color import jitter_colors, luma, make_color_draws, shift_hue, sort_orders

CHANGES = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)


def slow_jitter(image, factors, order):
    for change in order:
        image = CHANGES[change](image, factors[change])
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_every_order_equals_torchvision(channels):
    generator = torch.Generator().manual_seed(0)
    orders = torch.tensor(list(itertools.permutations(range(4))))
    num = len(orders)
    images = torch.rand(num, channels, 9, 7, generator=generator)
    factors = torch.empty(3, num).uniform_(0.3, 1.7, generator=generator)
    hue = torch.empty(num).uniform_(-0.5, 0.5, generator=generator)
    orders, places = sort_orders(orders)
    draws = make_color_draws(factors, hue, orders, channels)
    out = jitter_colors(images.flatten(2).clone(), draws, luma(channels))
    assert sorted(places.tolist()) == list(range(num))
    for place in range(num):
        values = [*factors[:, place].tolist(), float(hue[place])]
        expected = slow_jitter(images[place], values, orders[place].tolist())
        torch.testing.assert_close(out[place].view(channels, 9, 7), expected, atol=2e-5, rtol=0)


def test_without_hue_the_others_still_apply():
    images = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    orders = torch.tensor([[3, 0, 1, 2], [2, 1, 0, 3]])
    factors = torch.tensor([[0.5, 1.5], [1.2, 0.8], [0.9, 1.1]])
    orders, _ = sort_orders(orders)
    draws = make_color_draws(factors, None, orders)
    out = jitter_colors(images.flatten(2).clone(), draws, luma(3))
    for i in range(2):
        order = [change for change in orders[i].tolist() if change != 3]
        expected = slow_jitter(images[i], factors[:, i].tolist(), order)
        torch.testing.assert_close(out[i].view(3, 5, 5), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.0, 0.33, 0.5])
def test_hue_of_greys_primaries_and_ties_equals_torchvision(turn):
    colors = torch.tensor(list(itertools.product([0.0, 0.25, 1.0], repeat=3)))
    out = shift_hue(colors.T[None], torch.tensor([turn]))
    expected = tv.adjust_hue(colors.T[:, None, :], turn)[:, 0]
    torch.testing.assert_close(out[0], expected, atol=1e-5, rtol=0)
