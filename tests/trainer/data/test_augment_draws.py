import pytest
import torch
from torchvision import transforms as tv

from trainer.data import augment_draws as draw

NUM = 20_000


def generator():
    return torch.Generator().manual_seed(0)


def assert_same_distribution(ours, theirs):
    """Two-sample Kolmogorov-Smirnov test; 2.2 is passed by chance once in 8000 times."""
    values = torch.cat([ours, theirs]).unique()
    shares = [
        torch.searchsorted(sample.sort().values, values, right=True) / len(sample)
        for sample in (ours, theirs)
    ]
    distance = (shares[0] - shares[1]).abs().max()
    assert distance < 2.2 * (1 / len(ours) + 1 / len(theirs)) ** 0.5


@pytest.mark.parametrize(
    ("height", "width", "area"),
    [
        (96, 96, (0.08, 1.0)), (60, 200, (0.08, 1.0)), (300, 40, (0.08, 1.0)),
        (96, 96, (0.4, 0.9)), (60, 200, (0.3, 0.35)), (96, 96, (1.0, 1.0)),
    ],
)  # fmt: skip
def test_crop_boxes_are_distributed_as_torchvision_draws_them(height, width, area):
    torch.manual_seed(1)
    image = torch.empty(3, height, width)
    theirs = torch.tensor(
        [
            tv.RandomResizedCrop.get_params(image, list(area), [3 / 4, 4 / 3])
            for _ in range(NUM // 4)
        ],
        dtype=torch.float32,
    )
    top, tall, left, wide = draw.draw_crop_boxes(
        torch.tensor([[height, width]]).expand(NUM, 2), area, generator()
    )
    assert (top >= 0).all()
    assert (top + tall <= height).all()
    assert (left >= 0).all()
    assert (left + wide <= width).all()
    for column, ours in enumerate([top, left, tall, wide]):
        assert_same_distribution(ours, theirs[:, column])


def test_impossible_ratio_falls_back_to_the_largest_centred_box():
    top, tall, left, wide = draw.draw_crop_boxes(
        torch.tensor([[10, 1000]]), (0.08, 1.0), generator()
    )
    # width / height = 100 > 4/3: the full height, and 4/3 of it in width
    assert (tall.item(), wide.item()) == (10.0, 13.0)
    assert (top.item(), left.item()) == (0.0, 493.0)


def test_erase_boxes_are_distributed_as_torchvision_draws_them():
    torch.manual_seed(2)
    image = torch.zeros(3, 64, 48)
    theirs = torch.tensor(
        [
            tv.RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4]
            for _ in range(NUM // 4)
        ],
        dtype=torch.float32,
    )
    top, tall, left, wide = draw.draw_erase_boxes(NUM, 64, 48, 1.0, generator())
    for column, ours in enumerate([top, left, tall, wide]):
        assert_same_distribution(ours, theirs[:, column])


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_erasing_happens_with_the_given_probability(probability):
    _, tall, _, wide = draw.draw_erase_boxes(NUM, 32, 32, probability, generator())
    assert abs(((tall * wide) > 0).float().mean() - probability) < 0.015


def test_factors_reach_from_zero_where_the_spread_exceeds_one():
    factors = draw.draw_factors(NUM, 1.5, generator())
    assert 0 <= factors.min() < 0.01
    assert 2.49 < factors.max() <= 2.5


def test_all_orders_are_equally_likely():
    orders = draw.draw_orders(24_000, 4, generator())
    codes = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert (counts - 1000).abs().max() < 160  # five standard deviations
