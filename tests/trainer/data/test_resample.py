import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from trainer.data.resample import apply_separable, blur_matrices, blur_spread, crop_matrices

CROPS = [(0, 0, 80, 100, 0), (3, 7, 40, 50, 1), (10, 20, 64, 80, 0), (20, 30, 20, 25, 1)]


@pytest.mark.parametrize(("height", "width"), [(64, 48), (32, 120)])
def test_crop_resize_and_flip_equal_torchvision(height, width):
    images = torch.rand(len(CROPS), 3, 80, 100, generator=torch.Generator().manual_seed(0))
    top, left, tall, wide, flip = torch.tensor(CROPS, dtype=torch.float32).T
    rows = crop_matrices(top, tall, 80, height)
    columns = crop_matrices(left, wide, 100, width, flip)
    out = apply_separable(images, rows, columns)
    for i, (y, x, h, w, mirrored) in enumerate(CROPS):
        expected = tv.resized_crop(images[i], y, x, h, w, [height, width], antialias=True)
        expected = expected.flip(-1) if mirrored else expected
        torch.testing.assert_close(out[i], expected, atol=2e-5, rtol=0)


def test_crop_of_everything_at_the_same_size_changes_nothing():
    matrix = crop_matrices(torch.zeros(1), torch.full((1,), 9.0), 9, 9)
    torch.testing.assert_close(matrix[0], torch.eye(9))


def test_rows_sum_to_one_at_fractional_edges():
    rows = crop_matrices(torch.tensor([0.3, 7.7]), torch.tensor([5.1, 1.2]), 9, 6)
    torch.testing.assert_close(rows.sum(2), torch.ones(2, 6))
    assert (rows >= 0).all()


def test_blur_equals_torchvision():
    images = torch.rand(4, 1, 40, 33, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.3, 0.7, 1.5, 4.0])
    device = torch.device("cpu")
    rows = blur_matrices(sigma, blur_spread(15, 40, device))
    columns = blur_matrices(sigma, blur_spread(7, 33, device))
    out = apply_separable(images, rows, columns)
    for i in range(4):
        expected = tv.gaussian_blur(images[i], [7, 15], [float(sigma[i])] * 2)
        torch.testing.assert_close(out[i], expected, atol=1e-5, rtol=0)


def test_blur_with_the_widest_legal_kernel_mirrors_once():
    spread = blur_spread(9, 5, torch.device("cpu")).view(9, 5, 5)
    # tap -4 at pixel 0 is mirrored to pixel 4, tap +4 at pixel 4 to pixel 0
    assert spread[0, 0].tolist() == [0, 0, 0, 0, 1]
    assert spread[8, 4].tolist() == [1, 0, 0, 0, 0]
