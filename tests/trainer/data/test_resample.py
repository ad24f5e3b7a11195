import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from trainer.data.resample import (
    AxisBlur,
    apply_bands,
    apply_separable,
    crop_each,
    crop_matrices,
    pixel_centres,
)


def pixels(num):
    return pixel_centres(num, torch.device("cpu"))


CROPS = [(0, 0, 80, 100, 0), (3, 7, 40, 50, 1), (10, 20, 64, 80, 0), (20, 30, 20, 25, 1)]


@pytest.mark.parametrize(("height", "width"), [(64, 48), (32, 120)])
def test_crop_resize_and_flip_equal_torchvision(height, width):
    images = torch.rand(len(CROPS), 3, 80, 100, generator=torch.Generator().manual_seed(0))
    top, left, tall, wide, flip = torch.tensor(CROPS, dtype=torch.float32).T
    rows = crop_matrices(top, tall, pixels(80), pixels(height))
    columns = crop_matrices(left, wide, pixels(100), pixels(width), flip)
    out = apply_separable(images, rows, columns)
    for i, (y, x, h, w, mirrored) in enumerate(CROPS):
        expected = tv.resized_crop(images[i], y, x, h, w, [height, width], antialias=True)
        expected = expected.flip(-1) if mirrored else expected
        torch.testing.assert_close(out[i], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(64, 48), (32, 120)])
def test_crops_one_by_one_equal_those_of_pillow(height, width):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(CROPS), 80, 100, 3), generator=generator, dtype=torch.uint8)
    boxes, flips = [(y, h, x, w) for y, x, h, w, _ in CROPS], [bool(crop[4]) for crop in CROPS]
    out = crop_each(images, boxes, flips, (height, width))
    for i, (y, x, h, w, mirrored) in enumerate(CROPS):
        file = Image.fromarray(images[i].numpy()).crop((x, y, x + w, y + h))
        expected = np.asarray(file.resize((width, height), Image.Resampling.BILINEAR)).astype(int)
        expected = expected[:, ::-1] if mirrored else expected
        assert abs(out[i].permute(1, 2, 0).numpy() - expected).max() <= 1


def test_crop_of_everything_at_the_same_size_changes_nothing():
    matrix = crop_matrices(torch.zeros(1), torch.full((1,), 9.0), pixels(9), pixels(9))
    torch.testing.assert_close(matrix[0], torch.eye(9))


def test_rows_sum_to_one_at_fractional_edges():
    rows = crop_matrices(torch.tensor([0.3, 7.7]), torch.tensor([5.1, 1.2]), pixels(9), pixels(6))
    torch.testing.assert_close(rows.sum(2), torch.ones(2, 6))
    assert (rows >= 0).all()


def test_blur_equals_torchvision():
    images = torch.rand(4, 1, 40, 33, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.3, 0.7, 1.5, 4.0])
    rows, columns = AxisBlur(15, 40).matrices(sigma), AxisBlur(7, 33).matrices(sigma)
    out = apply_separable(images, rows, columns)
    for i in range(4):
        expected = tv.gaussian_blur(images[i], [7, 15], [float(sigma[i])] * 2)
        torch.testing.assert_close(out[i], expected, atol=1e-5, rtol=0)


def test_blur_with_the_widest_legal_kernel_mirrors_once():
    flat = AxisBlur(9, 5).matrices(torch.tensor([1e4]))[0]
    # all nine taps weigh alike; at pixel 0 the other four are met twice, once mirrored
    torch.testing.assert_close(flat[0], torch.tensor([1.0, 2, 2, 2, 2]) / 9)
    torch.testing.assert_close(flat[4], torch.tensor([2.0, 2, 2, 2, 1]) / 9)


@pytest.mark.parametrize(("height", "width", "taps"), [(40, 70, (15, 21)), (7, 33, (13, 3))])
def test_bands_equal_the_whole_product(height, width, taps):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 2, height, width, generator=generator)
    sigma = torch.tensor([0.1, 1.0, 6.0])
    down, across = AxisBlur(taps[0], height), AxisBlur(taps[1], width)
    rows, columns = down.matrices(sigma), across.matrices(sigma)
    banded = apply_bands(images, rows, columns, (down.reach, across.reach))
    expected = torch.einsum("nab,ncbd,ned->ncae", rows, images, columns)
    torch.testing.assert_close(banded, expected, rtol=0, atol=1e-6)
