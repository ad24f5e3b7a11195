import numpy as np
import pytest
import torch

from trainer.data.image_bank import ImageBank, _fits, held_bytes

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


GIB = 2**30


@pytest.mark.parametrize(
    ("size", "held", "free", "share", "fits"),
    [
        (12, 0, 80, 1.0, True),
        (12, 0, 80, 0.125, False),  # one of eight on the card
        (1, 0, 80, 0.125, True),
        (12, 0, 50, 1.0, False),  # of somebody else's
        (9, 5, 75, 1.0, True),  # beside another split
        (9, 9, 71, 1.0, False),
    ],
)
def test_images_stay_on_the_card_within_the_share_of_a_trial(
    monkeypatch, size, held, free, share, fits
):
    told = {"mem_get_info": (free * GIB, 80 * GIB), "get_per_process_memory_fraction": share,
            "memory_allocated": held * GIB}  # fmt: skip
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda _device, value=value: value)
    assert _fits(size * GIB, held * GIB, torch.device("cuda", 0)) is fits


def test_images_that_find_no_room_are_taken_from_the_file(monkeypatch):
    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError

    there = ImageBank(IMAGES, torch.device("cpu"), resident=True)
    monkeypatch.setattr(torch, "empty", full)
    bank = ImageBank(IMAGES, torch.device("cpu"), resident=True)
    assert not bank.is_resident
    assert held_bytes([bank, there]) == IMAGES.nbytes
    np.testing.assert_array_equal(bank.take(INDICES).numpy(), IMAGES[INDICES])


@pytest.mark.gpu
@pytest.mark.parametrize("resident", [True, False])
def test_gpu_batches_hold_the_same_pixels(resident):
    bank = ImageBank(IMAGES, torch.device("cuda"), resident=resident)
    np.testing.assert_array_equal(bank.take(INDICES).cpu().numpy(), IMAGES[INDICES])
