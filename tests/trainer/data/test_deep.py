"""Pictures of more than 8 bits a channel, written byte by byte, against arithmetic by hand."""

import numpy as np
import pytest

from tests.trainer.deep_files import png, png_chunk, ramp, tiff
from trainer.data.decode import decode_image
from trainer.data.decoder import opened
from trainer.data.deep import range_of
from trainer.data.framing import Framing, ImageSize

SIZE = ImageSize(height=5, width=7)
GREY = ImageSize(height=5, width=7, channels=1)


def samples_of(content):
    with opened(content, mode="RGB", longest_px=99) as picture:
        return picture.samples


def pixels_of(tmp_path, content, value_range=None, size=SIZE):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    return decode_image(path, size, Framing(value_range=value_range)).pixels


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_sample_of_a_deep_png_is_read(channels):
    values = ramp(5, 7, channels, 65535, np.uint16)
    np.testing.assert_array_equal(samples_of(png(values)).values, values)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("channels", "facts"),
    [(1, {}), (3, {}), (4, {"extra_sample": 2}), (4, {"photometric": 5})],
    ids=["grey", "colour", "transparent", "CMYK"],
)
def test_every_sample_of_a_deep_tiff_is_read(order, packed, channels, facts):
    values = ramp(5, 7, channels, 65535, np.uint16)
    found = samples_of(tiff(values, order=order, packed=packed, **facts))
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_and_float_greys_are_read(dtype, order):
    values = ramp(5, 7, 1, 3000, dtype) - np.array(1000, dtype)
    np.testing.assert_array_equal(samples_of(tiff(values, order=order)).values, values)


def test_files_of_8_bits_have_no_samples():
    assert samples_of(png(ramp(5, 7, 3, 255, np.uint8))) is None
    assert samples_of(tiff(ramp(5, 7, 1, 255, np.uint8))) is None


@pytest.mark.parametrize("write", [png, tiff])
@pytest.mark.parametrize("channels", [1, 3])
def test_8_bits_stored_in_16_give_the_pixels_of_8(tmp_path, write, channels):
    eight = ramp(5, 7, channels, 255, np.uint8)
    wanted = pixels_of(tmp_path, png(eight))
    assert wanted.max() == 255
    np.testing.assert_array_equal(
        pixels_of(tmp_path, write(eight.astype(np.uint16)), (0.0, 255.0)), wanted
    )


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (0, 65535), (0, 255), (100, 900)])
def test_samples_become_bytes_by_the_range(tmp_path, low, high):
    values = ramp(5, 7, 1, 5000, np.uint16)
    found = pixels_of(tmp_path, png(values), (float(low), float(high)), GREY)[..., 0]
    for row, column in np.ndindex(5, 7):
        share = (int(values[row, column, 0]) - low) / (high - low)
        assert abs(found[row, column] - 255 * min(max(share, 0), 1)) <= 0.5


def test_a_dark_picture_stays_dark_beside_others(tmp_path):
    dark = np.full((5, 7, 1), 410, dtype=np.uint16)
    assert set(pixels_of(tmp_path, png(dark), (0.0, 4095.0)).flat) == {26}  # 255 * 410 / 4095


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_not_finite_leaves_the_others_alone(tmp_path, bad):
    values = ramp(5, 7, 1, 1.0, np.float32)
    plain = pixels_of(tmp_path, tiff(values), (0.0, 1.0))
    values[2, 3] = bad
    spoilt = pixels_of(tmp_path, tiff(values), (0.0, 1.0)).copy()
    assert set(spoilt[2, 3]) == {255 if bad == np.inf else 0}
    spoilt[2, 3] = plain[2, 3]
    np.testing.assert_array_equal(spoilt, plain)
    assert samples_of(tiff(values)).num_not_finite() == 1
    low, high = samples_of(tiff(values)).levels()
    assert 0 <= low < high <= 1


def test_a_picture_of_nothing_but_nan_is_black(tmp_path):
    values = np.full((5, 7, 1), np.nan, dtype=np.float32)
    assert samples_of(tiff(values)).levels() is None
    assert not pixels_of(tmp_path, tiff(values)).any()


def test_transparency_of_deep_pictures_is_laid_on_white(tmp_path):
    values = ramp(5, 7, 4, 255, np.uint16)
    values[..., 3] = 255
    values[1, 2, 3] = 0
    found = pixels_of(tmp_path, png(values), (0.0, 255.0))
    assert found[1, 2].tolist() == [255, 255, 255]
    assert found[3, 3].tolist() == values[3, 3, :3].tolist()
    key = png_chunk(b"tRNS", b"\0\x07")
    grey = np.full((5, 7, 1), 1000, dtype=np.uint16)
    grey[0, 0] = 7
    found = pixels_of(tmp_path, png(grey, extra=key), (0.0, 4095.0))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 1].tolist() == [62, 62, 62]


def test_without_a_range_a_picture_is_read_by_its_own_levels(tmp_path):
    eight = ramp(5, 7, 1, 255, np.uint8)
    wanted = pixels_of(tmp_path, png(eight))
    for scale in (1, 257):
        found = pixels_of(tmp_path, png(eight.astype(np.uint16) * np.uint16(scale)))
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([(0, 255)], (0, 255)),
        ([(3, 201)], (0, 255)),
        ([(0, 90), (12, 256)], (0, 1023)),
        ([(0, 3987), (5, 300)], (0, 4095)),
        ([(0, 16383)], (0, 16383)),
        ([(0, 65535)], (0, 65535)),
        ([(0, 1)], (0, 1)),
        ([(0.01, 0.97)], (0, 1)),
        ([(0, 7.5)], (0, 7.5)),
        ([(0, 5e6)], (0, 5e6)),
        ([(20_000, 31_000)], (20_000, 31_000)),
        ([(-1000, 3000)], (-1000, 3000)),
        ([(-1.0, 1.0)], (-1, 1)),
        ([(0, 0)], (0, 1)),
        ([(500, 500)], (0, 1023)),
        ([(-5, -5)], (-5, -4)),
        ([None, (0, 200)], (0, 255)),
        ([None], (0, 1)),
        ([], (0, 1)),
    ],
)
def test_the_range_of_a_data_set(levels, expected):
    assert range_of(levels) == expected


def test_a_hot_pixel_does_not_set_the_range():
    values = ramp(40, 50, 1, 3000, np.uint16)
    values[7, 7] = 65535
    assert range_of([samples_of(png(values)).levels()]) == (0, 4095)
