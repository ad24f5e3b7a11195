"""Cut pictures against timm's evaluation transform; squashed ones against Pillow's resize."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import timm.data
from PIL import Image

from trainer.data.decode import decode_image
from trainer.data.framing import SQUASHED, ImageSize, framing_of, make_framing
from trainer.data.normalize import normalize_batch

SIZES = [(341, 256), (256, 343), (300, 180), (61, 47), (256, 256), (40, 901)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Photographs where they are at hand, else drawn ones, in several sizes and ratios."""
    folder, photos = tmp_path_factory.mktemp("photos"), []
    shared = os.environ.get("HPO_SHARED_DIR", "")
    archive = Path(shared, "data", "grocery256", "known_classes", "reference.tar.gz")
    if archive.is_file():
        with tarfile.open(archive) as tar:
            files = [m for m in tar if m.name.endswith(".jpg")][: len(SIZES)]
            photos = [Image.open(io.BytesIO(tar.extractfile(m).read())) for m in files]
    rng = np.random.default_rng(0)
    while len(photos) < len(SIZES):
        rough = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        photos.append(rough.resize((400, 300), Image.Resampling.BICUBIC))
    paths = []
    for photo, size in zip(photos, SIZES, strict=True):
        paths.append(folder / f"{size[0]}x{size[1]}.png")
        photo.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(paths[-1])
    return paths


def timms(path, height, width, share, interpolation, **how):
    transform = timm.data.create_transform(
        input_size=(3, height, width), crop_pct=share, interpolation=interpolation, **how
    )
    with Image.open(path) as image:
        return transform(image.convert("RGB")).numpy()


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize(
    ("height", "width", "share"),
    [(224, 224, 0.875), (224, 224, 0.95), (224, 224, 1.0), (160, 160, 0.875), (96, 144, 0.9)],
)
def test_cut_pictures_equal_timms(pictures, height, width, share, interpolation):
    size = ImageSize(height=height, width=width)
    framing = make_framing(size, interpolation=interpolation, crop_share=share)
    for path in pictures:
        pixels = decode_image(path, size, framing).pixels
        wanted = timms(path, height, width, share, interpolation, normalize=False)
        np.testing.assert_array_equal(pixels, wanted.transpose(1, 2, 0), err_msg=path.name)


@pytest.mark.parametrize(("side", "share"), [(224, 0.95), (160, 0.875), (224, 1.0)])
def test_stored_pictures_hold_the_same_pixels_in_their_middle(pictures, side, share):
    """The margin is odd for .95 (235 pixels) and .875 of 160 (182 - 160 = 22 is even)."""
    size = ImageSize(height=side, width=side)
    framing = make_framing(size, interpolation="bicubic", crop_share=share)
    stored = ImageSize(height=framing.cut.resized[0], width=framing.cut.resized[1])
    for path in pictures:
        whole = decode_image(path, stored, framing).pixels
        seen = framing.input_of(whole[None])[0]
        np.testing.assert_array_equal(seen, decode_image(path, size, framing).pixels)


def test_normalised_input_equals_timms(pictures):
    import torch

    size = ImageSize(height=224, width=224)
    framing = make_framing(size, interpolation="bicubic", crop_share=0.875)
    pixels = decode_image(pictures[0], size, framing).pixels
    half = torch.full((3, 1, 1), 0.5)
    ours = normalize_batch(torch.from_numpy(pixels[None].copy()), half, half)[0]
    wanted = timms(
        pictures[0], 224, 224, 0.875, "bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    np.testing.assert_allclose(ours.numpy(), wanted, atol=1e-6)


def test_a_large_photograph_has_timms_pixels_too(tmp_path):
    """Its JPEG could be decoded at half its size, which gives other pixels."""
    rng = np.random.default_rng(1)
    rough = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    path = tmp_path / "a.jpg"
    rough.resize((1600, 1200), Image.Resampling.BICUBIC).save(path, quality=90)
    size = ImageSize(height=64, width=64)
    framing = make_framing(size, interpolation="bilinear", crop_share=0.875)
    wanted = timms(path, 64, 64, 0.875, "bilinear", normalize=False).transpose(1, 2, 0)
    np.testing.assert_array_equal(decode_image(path, size, framing).pixels, wanted)


def test_a_strip_of_one_pixel_takes_little_memory(tmp_path):
    """Resized whole it would have 224 x 11 million pixels."""
    path = tmp_path / "strip.png"
    row = np.repeat(np.arange(50_000, dtype=np.int64)[None] * 255 // 49_999, 3, axis=0).T
    Image.fromarray(row.astype(np.uint8)[None]).save(path)
    size = ImageSize(height=224, width=224)
    framing = make_framing(size, interpolation="bicubic", crop_share=1.0)
    pixels = decode_image(path, size, framing).pixels
    assert pixels.shape == (224, 224, 3)
    assert np.abs(pixels.astype(int) - 127).max() <= 1  # the middle of a slow ramp


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "box"])
def test_squashed_pictures_equal_pillows(pictures, interpolation):
    size = ImageSize(height=32, width=48)
    framing = make_framing(size, interpolation=interpolation, crop_share=0.0)
    assert (framing == SQUASHED) is (interpolation == "bilinear")
    with Image.open(pictures[2]) as image:
        wanted = image.resize((48, 32), Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(decode_image(pictures[2], size, framing).pixels, wanted)


def test_framing_is_that_of_the_spec(make_spec):
    spec = make_spec(crop_share=0.5, interpolation="lanczos")  # 16 x 32 pixels high and wide
    framing = framing_of(spec)
    assert framing.interpolation == "lanczos"
    assert framing.cut.resized == (32, 64)
    assert framing.cut.margin == (8, 16)
    assert framing_of(make_spec()) == SQUASHED
