import numpy as np
import pytest
import torch

from trainer.data.image_bank import ImageBank

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)
INDICES = np.array([6, 0, 0, 3])


def test_batches_are_copies_of_the_asked_images():
    IMAGES.flags.writeable = False
    batch = ImageBank(IMAGES, torch.device("cpu")).take(INDICES)
    np.testing.assert_array_equal(batch.numpy(), IMAGES[INDICES])
    batch.zero_()
    assert IMAGES.max() > 0


def test_resident_images_are_gathered_on_the_device(monkeypatch):
    monkeypatch.setattr("trainer.data.image_bank._UPLOAD_BYTES", 130)  # two images at a time
    bank = ImageBank(IMAGES, torch.device("cpu"), resident=True)
    assert bank.is_resident
    np.testing.assert_array_equal(bank.take(INDICES).numpy(), IMAGES[INDICES])


@pytest.mark.gpu
@pytest.mark.parametrize("resident", [True, False])
def test_gpu_batches_hold_the_same_pixels(resident):
    bank = ImageBank(IMAGES, torch.device("cuda"), resident=resident)
    np.testing.assert_array_equal(bank.take(INDICES).cpu().numpy(), IMAGES[INDICES])
