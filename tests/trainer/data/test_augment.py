import dataclasses

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from trainer.config.root import Spec
from trainer.data.augment import BatchAugment, keep_mask, rotate
from trainer.data.resample import pixel_centres

CPU = torch.device("cpu")


def make_spec(*, height=40, width=24, channels=3, blur=True, color=True, **dataset):
    spec = Spec()
    section = spec.dataset
    section = dataclasses.replace(
        section,
        gaussian_blur=dataclasses.replace(section.gaussian_blur, enabled=blur, kernel=(5, 5)),
        color_augmentation=dataclasses.replace(section.color_augmentation, enabled=color),
        **dataset,
    )
    model = dataclasses.replace(
        spec.model, input_height=height, input_width=width, input_channels=channels
    )
    return dataclasses.replace(spec, dataset=section, model=model)


def pictures(num=6, height=48, width=32, channels=3):
    generator = torch.Generator().manual_seed(3)
    shape = (num, height, width, channels)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def undo_normalisation(batch):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    return batch * 0.226 + mean


@pytest.mark.parametrize("channels", [1, 3])
def test_result_has_the_asked_shape_type_and_layout(channels):
    out = BatchAugment(make_spec(channels=channels), 1)(pictures(channels=channels))
    assert out.shape == (6, channels, 40, 24)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(out).all()


def test_same_seed_gives_the_same_pictures_and_the_next_batch_differs():
    images = pictures()
    first, second = BatchAugment(make_spec(), 5), BatchAugment(make_spec(), 5)
    batch = first(images)
    torch.testing.assert_close(second(images), batch, atol=0, rtol=0)
    assert not torch.equal(first(images), batch)


def test_pictures_are_augmented_each_in_its_own_way():
    same = pictures(1).expand(16, -1, -1, -1)
    out = BatchAugment(make_spec(), 1)(same).flatten(1)
    assert len(torch.unique(out, dim=0)) == 16


@pytest.mark.parametrize("sizes", [None, torch.tensor([[37, 91]]).expand(40, 2)])
def test_both_ways_to_resample_give_the_same_pictures(sizes, monkeypatch):
    """One by one and all at once: apart by the rounding to bytes, 0.5 / 255 and its spread."""
    images = pictures(40, 80, 48)
    spec = make_spec(color=False, re_prob=0.0)
    one_by_one = BatchAugment(spec, 9)(images, sizes)
    monkeypatch.setattr(BatchAugment, "_resample_each", BatchAugment._resample_at_once)
    at_once = BatchAugment(spec, 9)(images, sizes)
    assert (one_by_one - at_once).abs().max() * 0.226 * 255 < 1.01
    assert not torch.equal(one_by_one, at_once)


def test_block_size_does_not_matter(monkeypatch):
    images = pictures(20)
    whole = BatchAugment(make_spec(), 9)(images)
    monkeypatch.setattr("trainer.data.augment._BLOCK_FLOATS", 1)
    torch.testing.assert_close(BatchAugment(make_spec(), 9)(images), whole, atol=1e-5, rtol=0)


def test_without_any_change_a_flat_picture_is_only_normalised():
    spec = make_spec(blur=False, color=False, prob=0.0, re_prob=0.0)
    flat = torch.full((3, 48, 32, 3), 51, dtype=torch.uint8)
    expected = ((0.2 - torch.tensor([0.485, 0.456, 0.406])) / 0.226).view(1, 3, 1, 1)
    out = BatchAugment(spec, 1)(flat)
    torch.testing.assert_close(out, expected.expand_as(out), atol=1e-5, rtol=0)


def test_moments_equal_those_of_the_torchvision_pipeline():
    """Mean and spread over many draws of one picture, per pixel region and colour."""
    num = 400
    image = tv.resize(pictures(1, 9, 7).permute(0, 3, 1, 2), [96, 64])[0]
    spec = make_spec()
    out = BatchAugment(spec, 4)(image.permute(1, 2, 0).expand(num, -1, -1, -1))
    torch.manual_seed(0)
    slow = transforms.Compose(
        [
            transforms.RandomResizedCrop((40, 24), antialias=True),
            transforms.RandomHorizontalFlip(0.5),
            transforms.GaussianBlur(5, (0.3, 0.7)),
            transforms.ColorJitter(0.5, 0.3, 0.1, 0.1),
            transforms.Normalize([0.485, 0.456, 0.406], [0.226] * 3),
            transforms.RandomErasing(0.5),
        ]
    )
    theirs = torch.stack([slow(image.float() / 255) for _ in range(num)])
    regions = [torch.nn.functional.adaptive_avg_pool2d(b, (4, 2)) for b in (out, theirs)]
    error = (regions[0].var(0) / num + regions[1].var(0) / num).sqrt()
    assert ((regions[0].mean(0) - regions[1].mean(0)).abs() / error).max() < 5
    ratio = regions[0].std(0) / regions[1].std(0)
    assert ratio.min() > 0.85
    assert ratio.max() < 1.15


def test_crop_ratios_are_meant_in_the_pixels_of_the_file():
    """A wide file stored square: crops of it that look square are tall in stored pixels."""
    ramp = torch.arange(64).mul(4).clamp(max=255).to(torch.uint8)
    stored = ramp[None, None, :, None].expand(400, 64, 64, 3)
    spec = make_spec(height=32, width=32, blur=False, color=False, prob=0.0, re_prob=0.0)

    def mean_width(sizes):
        out = undo_normalisation(BatchAugment(spec, 2)(stored, sizes)) * 255 / 4
        return float((out[:, 0, 0, -1] - out[:, 0, 0, 0]).mean())

    square = mean_width(torch.tensor([[64, 64]]).expand(400, 2))
    wide = mean_width(torch.tensor([[64, 256]]).expand(400, 2))
    # of a file 4 times as wide as high, a crop holds at most a third of the width
    assert wide < 64 / 3 < square


def test_crops_to_the_very_edge_end_there_though_a_ratio_rounds_up():
    augment = BatchAugment(make_spec(height=28, width=28, color=False), 0)
    files = torch.full((64, 2), 105)  # 56 / 105 x 105 is above 56 in float32
    for _ in range(20):
        out = augment(pictures(64, height=56, width=56), files)
        assert torch.isfinite(out).all()


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 135.0, 180.0])
def test_rotation_equals_torchvision(degrees):
    images = torch.rand(1, 3, 40, 24, generator=torch.Generator().manual_seed(1))
    expected = tv.rotate(images[0], degrees, InterpolationMode.BILINEAR)
    torch.testing.assert_close(
        rotate(images, torch.tensor([degrees]))[0], expected, atol=5e-5, rtol=0
    )


def test_random_rotation_leaves_black_corners():
    white = torch.full((64, 40, 40, 3), 255, dtype=torch.uint8)
    spec = make_spec(width=40, color=False, re_prob=0.0, random_rotation=True)
    corners = undo_normalisation(BatchAugment(spec, 1)(white))[:, :, 0, 0].mean(1)
    assert (corners < 0.5).float().mean() > 0.5


def test_mask_is_zero_inside_the_box_alone():
    boxes = torch.tensor([[1.0, 2, 0, 3], [0, 0, 0, 0]]).T
    mask = keep_mask(boxes, pixel_centres(4, CPU), pixel_centres(5, CPU))
    assert mask.shape == (2, 1, 4, 5)
    assert mask[0, 0].tolist() == [[1] * 5, [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1] * 5]
    assert mask[1].min() == 1


def test_erased_pixels_are_the_mean():
    white = torch.full((50, 40, 40, 3), 255, dtype=torch.uint8)
    out = BatchAugment(make_spec(width=40, blur=False, color=False, re_prob=1.0), 1)(white)
    share = (out == 0).all(1).float().mean((1, 2))
    assert share.min() > 0.01
    assert share.max() < 0.36


@pytest.mark.gpu
def test_gpu_gives_the_same_pictures_without_waiting_for_it():
    images = pictures(32).cuda()
    augment = BatchAugment(make_spec(), 5, "cuda")
    augment(images)
    augment.generator.manual_seed(5)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = augment(images)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = BatchAugment(make_spec(), 5)(images.cpu())
    torch.testing.assert_close(out.cpu(), expected, atol=1e-3, rtol=0)


def test_nothing_is_read_back_from_the_device():
    # On the device `meta` tensors have no values: an operation that reads one, and would wait for a
    # GPU, fails. Draws are made on the CPU, as they are beside a GPU.
    spec = make_spec(random_rotation=True, re_prob=0.5)
    out = BatchAugment(spec, 1, "meta")(pictures())
    assert out.shape == (6, 3, 40, 24)
    assert out.device.type == "meta"
