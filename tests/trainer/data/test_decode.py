import io

import numpy as np
import pytest
from PIL import Image

from trainer.data.decode import ImageSize, decode_image
from trainer.errors import ImageError, SpecError

RGB = ImageSize(height=4, width=6)
GREY = ImageSize(height=4, width=6, channels=1)


def saved(tmp_path, image, name="a.png", **how):
    path = tmp_path / name
    image.save(path, **how)
    return path


def flat(mode, color):
    return Image.new(mode, (6, 4), color)


def test_image_of_the_wanted_size_keeps_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    decoded = decode_image(saved(tmp_path, Image.fromarray(pixels)), RGB)
    np.testing.assert_array_equal(decoded.pixels, pixels)
    assert (decoded.original_height, decoded.original_width) == (4, 6)


def test_height_and_width_are_not_swapped(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (50, 30)))
    decoded = decode_image(path, ImageSize(height=224, width=160))
    assert decoded.pixels.shape == (224, 160, 3)
    assert (decoded.original_height, decoded.original_width) == (30, 50)


def test_resizing_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    decoded = decode_image(saved(tmp_path, Image.fromarray(stripes)), ImageSize(height=8, width=8))
    assert np.abs(decoded.pixels.astype(int) - 100).max() <= 6


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (flat("L", 70), (70, 70, 70)),
        (flat("1", 1), (255, 255, 255)),
        (flat("LA", (10, 0)), (255, 255, 255)),
        (flat("RGBA", (200, 0, 0, 0)), (255, 255, 255)),
        (flat("RGBA", (200, 0, 0, 255)), (200, 0, 0)),
        (flat("RGBA", (0, 0, 0, 128)), (127, 127, 127)),
        (flat("RGB", (0, 102, 0)).convert("P"), (0, 102, 0)),
        (Image.fromarray(np.full((4, 6), 32896, dtype=np.uint16)), (128, 128, 128)),
        (Image.fromarray(np.full((4, 6), 200, dtype=np.int32)), (200, 200, 200)),
    ],
)
def test_modes_become_three_eight_bit_colours(tmp_path, image, expected):
    decoded = decode_image(saved(tmp_path, image, "a.tif" if image.mode == "I" else "a.png"), RGB)
    np.testing.assert_allclose(decoded.pixels[0, 0].astype(int), expected, atol=2)


def test_float_greys_are_shares_of_white(tmp_path):
    image = Image.fromarray(np.full((4, 6), 0.5, dtype=np.float32))
    assert abs(int(decode_image(saved(tmp_path, image, "a.tif"), GREY).pixels[0, 0, 0]) - 128) <= 1


def test_cmyk_jpeg_is_read(tmp_path):
    path = saved(tmp_path, flat("CMYK", (0, 255, 255, 0)), "a.jpg", quality=95)
    red, green, blue = decode_image(path, RGB).pixels[2, 3].astype(int)
    assert red > 200
    assert green < 60
    assert blue < 60


def test_transparent_palette_is_laid_on_white(tmp_path):
    image = flat("P", 0)
    image.putpalette([10, 20, 30] + [0] * 765)
    assert decode_image(saved(tmp_path, image, transparency=0), RGB).pixels.min() == 255


def test_one_channel_is_grey(tmp_path):
    decoded = decode_image(saved(tmp_path, flat("RGB", (255, 0, 0))), GREY)
    assert decoded.pixels.shape == (4, 6, 1)
    assert decoded.pixels[0, 0, 0] == 76  # ITU-R 601: 0.299 of red


def test_rotation_tag_is_applied(tmp_path):
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[:2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: top of the picture is at the left
    path = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    decoded = decode_image(path, ImageSize(height=6, width=4))
    assert (decoded.original_height, decoded.original_width) == (6, 4)
    np.testing.assert_array_equal(decoded.pixels[:, :, 0], [[0, 0, 255, 255]] * 6)


def test_large_jpeg_decoded_at_reduced_scale_looks_the_same(tmp_path):
    x = np.linspace(0, 255, 1600)
    pixels = np.stack([np.tile(x, (1200, 1)), np.tile(x[:1200, None], (1, 1600))] * 2, -1)[..., :3]
    image = Image.fromarray(pixels.astype(np.uint8))
    decoded = decode_image(saved(tmp_path, image, "a.jpg", quality=95), RGB)
    slow = np.asarray(image.resize((6, 4), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decoded.pixels - slow).max() <= 3
    assert (decoded.original_height, decoded.original_width) == (1200, 1600)


def test_first_frame_of_an_animation_is_taken(tmp_path):
    path = tmp_path / "a.gif"
    flat("RGB", (255, 0, 0)).save(path, save_all=True, append_images=[flat("RGB", (0, 0, 255))])
    assert decode_image(path, RGB).pixels[0, 0].tolist() == [255, 0, 0]


def truncated_jpeg():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()[:900]


@pytest.mark.parametrize("content", [b"", b"not an image", truncated_jpeg()])
def test_broken_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        decode_image(path, RGB)
    assert str(caught.value).startswith(f"{path}: not a readable picture (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"height": 0}, {"width": -1}, {"channels": 2}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(SpecError, match=r"model\.input_height, input_width >= 1"):
        ImageSize(**({"height": 4, "width": 6} | wrong))
