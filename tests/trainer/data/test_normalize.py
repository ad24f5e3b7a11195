import dataclasses

import numpy as np
import pytest
import torch

from trainer.config.dataset import DatasetConfig
from trainer.data.normalize import normalize_batch, pixel_statistics


def test_normalised_pixels_equal_the_formula():
    mean, std = pixel_statistics(DatasetConfig(), 3)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    out = normalize_batch(torch.from_numpy(pixels), mean, std)
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / 0.226
    assert out.shape == (2, 3, 5, 4)
    assert out.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(out.permute(0, 2, 3, 1).numpy(), expected, atol=2e-6)


def test_one_channel_takes_the_grey_of_three_values():
    mean, std = pixel_statistics(DatasetConfig(), 1)
    assert mean.item() == pytest.approx(0.299 * 0.485 + 0.587 * 0.456 + 0.114 * 0.406)
    assert std.item() == pytest.approx(0.226)


def test_one_value_serves_all_channels():
    dataset = dataclasses.replace(DatasetConfig(), pixel_mean=(0.5,), pixel_std=(0.25,))
    mean, std = pixel_statistics(dataset, 3)
    assert mean.flatten().tolist() == [0.5] * 3
    assert std.flatten().tolist() == [0.25] * 3
