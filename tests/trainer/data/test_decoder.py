"""Odd and damaged files: read or refused in our words, without a sound, within a bound of memory."""

import io
import logging
import random
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.trainer.deep_files import (
    fax_with_bad_codes,
    png,
    png_chunk,
    ramp,
    tiff,
    with_broken_exif,
)
from trainer.data import decoder
from trainer.data.decode import decode_image
from trainer.data.decoder import UnreadableError, opened
from trainer.data.framing import ImageSize, make_framing
from trainer.errors import ImageError

SMALL = ImageSize(height=8, width=8)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


def content(form, image=PICTURE, **how):
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


def exif_with_directory_of_nonsense():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text of some length"
    whole = bytearray(content("JPEG", exif=exif))
    start = whole.index(b"Exif\0\0") + 6
    struct.pack_into("<I" if whole[start : start + 2] == b"II" else ">I", whole, start + 4, 5000)
    return bytes(whole)


def packed_tiff_with_bad_sum():
    data = bytearray(tiff(ramp(40, 40, 3, 255, np.uint8), packed=True))
    data[-2] ^= 0x55
    return bytes(data)


def malformed_mpo():
    return content("MPO", save_all=True, append_images=[PICTURE]).replace(b"MPF\0II", b"MPF\0XX", 1)


def huge_header():
    """A PNG that claims 70,000 x 70,000 pixels."""
    data = bytearray(png(np.zeros((1, 1, 1), dtype=np.uint8)))
    head = struct.pack(">IIBBBBB", 70_000, 70_000, 8, 0, 0, 0, 0)
    data[16:29] = head
    data[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return bytes(data)


def text_bomb():
    data = b"Comment\0\0" + zlib.compress(bytes(3_000_000))
    return png(ramp(8, 8, 3, 255, np.uint8), extra=png_chunk(b"zTXt", data))


def bad_profile():
    return png(ramp(8, 8, 3, 255, np.uint8), extra=png_chunk(b"iCCP", b"x\0\0not compressed"))


ODD = {
    "broken EXIF": lambda: with_broken_exif(PICTURE),
    "EXIF nonsense": exif_with_directory_of_nonsense,
    "fax with bad codes": lambda: fax_with_bad_codes(PICTURE),
    "TIFF with a bad sum": packed_tiff_with_bad_sum,
    "malformed MPO": malformed_mpo,
    "claims 4.9 gigapixels": huge_header,
    "text bomb": text_bomb,
    "bad colour profile": bad_profile,
    "MPO": lambda: content("MPO", save_all=True, append_images=[PICTURE]),
    "empty": lambda: b"",
    "text": lambda: b"<html>not found</html>",
    "PostScript": lambda: content("EPS"),
    "cut JPEG": lambda: content("JPEG")[:700],
    "float64 TIFF": lambda: tiff(ramp(8, 8, 1, 1.0, np.float64)),
    "odd TIFF": lambda: tiff(ramp(8, 8, 2, 255, np.uint16)),
}


def outcome(path):
    try:
        return decode_image(path, SMALL)
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("action", ["default", "error"])
def test_odd_files_make_no_sound(tmp_path, capfd, caplog, name, action):
    path = tmp_path / "a.png"
    path.write_bytes(ODD[name]())
    with warnings.catch_warnings(record=True) as shown, caplog.at_level(logging.DEBUG):
        warnings.simplefilter(action)
        found = outcome(path)
    assert capfd.readouterr() == ("", "")
    assert shown == []
    assert [r for r in caplog.records if r.levelno >= logging.INFO] == []
    if isinstance(found, str):
        assert found.startswith(f"{path}: not a readable picture (")
        assert "\n" not in found
        assert len(found) < 300
        assert "object at 0x" not in found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "claims 4.9 gigapixels",
            "70000 x 70000 pixels take 4.9 GB once decoded, more than 1.1 GB",
        ),
        ("text bomb", "texts or colour profile unpack to more than a megabyte"),
        ("empty", "(it is empty)"),
        ("text", "(unknown format)"),
        ("PostScript", "(unknown format)"),
        ("cut JPEG", "(it is cut off)"),
        ("float64 TIFF", "a sort of TIFF that Pillow does not read"),
        ("odd TIFF", "a sort of TIFF that Pillow does not read"),
    ],
)
def test_what_cannot_be_read_is_refused_in_our_words(tmp_path, name, words):
    path = tmp_path / "a.png"
    path.write_bytes(ODD[name]())
    assert words in outcome(path)


@pytest.mark.parametrize(
    ("name", "text", "is_of_pixels"),
    [
        ("broken EXIF", "Skipping tag 270", False),
        ("malformed MPO", "interpreted as a base JPEG file", False),
        ("fax with bad codes", "Fax4Decode: Bad code word", True),
    ],
)
def test_what_can_be_read_all_the_same_keeps_the_decoders_remark(name, text, is_of_pixels):
    with opened(ODD[name](), mode="RGB", longest_px=99) as picture:
        decoder.turned(picture.image, picture.image, picture.remarks)
    assert any(r.text.endswith(text) and r.is_of_pixels == is_of_pixels for r in picture.remarks)


def test_a_rotation_tag_beside_a_broken_one_is_applied(tmp_path):
    (tmp_path / "a.jpg").write_bytes(with_broken_exif(PICTURE))
    turned, plain = (
        decode_image(p, SMALL).pixels.astype(int) for p in (tmp_path / "a.jpg", saved(tmp_path))
    )
    assert np.abs(turned - np.rot90(plain, -1)).max() <= 12


def saved(folder):
    (folder / "plain.jpg").write_bytes(content("JPEG"))
    return folder / "plain.jpg"


def test_sound_files_have_no_remark():
    for form in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"):
        with opened(content(form), mode="RGB", longest_px=99) as picture:
            assert picture.remarks == []


def test_remarks_of_threads_do_not_mix():
    files = [
        with_broken_exif(PICTURE),
        content("PNG"),
        fax_with_bad_codes(PICTURE),
        content("JPEG"),
    ] * 25

    def remarks(data):
        with opened(data, mode="RGB", longest_px=99) as picture:
            decoder.turned(picture.image, picture.image, picture.remarks)
            return [r.is_of_pixels for r in picture.remarks]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(remarks, files))
    assert all(remark is False for own in found[::4] for remark in own)
    assert all(found[::4])
    assert found[1::4] == found[3::4] == [[]] * 25
    assert all(True in own for own in found[2::4])


def test_what_a_caller_set_is_back_afterwards():
    most, filters, shown = Image.MAX_IMAGE_PIXELS, list(warnings.filters), warnings.showwarning
    outcome_of = [opened(content("PNG"), mode="L", longest_px=9) for _ in range(2)]
    with outcome_of[0], outcome_of[1]:
        assert Image.MAX_IMAGE_PIXELS is None
    assert (Image.MAX_IMAGE_PIXELS, warnings.showwarning) == (most, shown)
    assert warnings.filters == filters


def test_warnings_of_others_pass_while_pictures_are_decoded():
    done = threading.Event()

    def decode():
        with opened(content("PNG"), mode="L", longest_px=9):
            inside.set()
            done.wait(5)

    inside = threading.Event()
    thread = threading.Thread(target=decode)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        thread.start()
        assert inside.wait(5)
        warnings.warn("of mine", stacklevel=1)
        done.set()
        thread.join()
    assert [str(w.message) for w in shown] == ["of mine"]


def two_hundred_megapixels():
    """A grey JPEG of 20,000 x 10,000 pixels: its blocks, six bits each, all say "no change"."""
    small = content("JPEG", Image.new("L", (8, 8), 128))
    head = bytearray(small[: small.index(b"\xff\xda") + 10])
    struct.pack_into(">HH", head, head.index(b"\xff\xc0") + 5, 10_000, 20_000)
    four_blocks = bytes([0b00101000, 0b10100010, 0b10001010])
    return bytes(head) + four_blocks * (2500 * 1250 // 4) + b"\xff\xd9"


def test_a_jpeg_of_200_megapixels_is_read_and_not_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "MOST_BYTES", 10_000_000)
    (tmp_path / "a.jpg").write_bytes(two_hundred_megapixels())
    decoded = decode_image(tmp_path / "a.jpg", ImageSize(height=224, width=224))
    assert (decoded.original_height, decoded.original_width) == (10_000, 20_000)
    assert set(decoded.pixels.flat) == {128}


def test_a_jpeg_of_200_megapixels_that_is_cut_is_read_too(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "MOST_BYTES", 10_000_000)
    (tmp_path / "a.jpg").write_bytes(two_hundred_megapixels())
    size = ImageSize(height=224, width=224)
    framing = make_framing(size, interpolation="bicubic", crop_share=0.875)
    decoded = decode_image(tmp_path / "a.jpg", size, framing)
    assert (decoded.original_height, decoded.original_width) == (10_000, 20_000)
    assert set(decoded.pixels.flat) == {128}


def test_a_progressive_jpeg_counts_with_its_coefficients(monkeypatch):
    data = content("JPEG", PICTURE.resize((400, 400)), progressive=True)
    plain = content("JPEG", PICTURE.resize((400, 400)))
    monkeypatch.setattr(decoder, "MOST_BYTES", 400_000)  # 2 x 1.5 x 160,000 with halved colours
    with opened(plain, mode="RGB", longest_px=16) as picture:
        assert picture.image.size == (50, 50)
    with pytest.raises(UnreadableError, match=r"400 x 400 pixels take \d+ kB"):
        opened(data, mode="RGB", longest_px=16).__enter__()


def test_threads_share_the_memory_and_wait_for_it(monkeypatch):
    data = content("PNG", PICTURE.resize((200, 200)))  # 120,000 bytes
    monkeypatch.setattr(decoder, "MOST_BYTES", 250_000)
    monkeypatch.setattr(decoder, "_ROOM", decoder._Room(250_000))
    lock, inside, most = threading.Lock(), [0], [0]

    def decode(_):
        with opened(data, mode="RGB", longest_px=9):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            threading.Event().wait(0.01)
            with lock:
                inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(16)))
    assert most[0] == 2


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP", "PPM"])
def test_random_damage_is_read_or_refused_and_never_anything_else(tmp_path, capfd, form):
    rng, sound = random.Random(form), content(form)
    path = tmp_path / "a.png"
    for _ in range(60):
        data = bytearray(sound)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.choice([1, 3, 9])):
            if data:
                data[rng.randrange(min(len(data), rng.choice([200, 9999])))] = rng.randrange(256)
        path.write_bytes(bytes(data))
        outcome(path)
    assert capfd.readouterr() == ("", "")


def test_a_large_picture_in_strips_equals_the_whole(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (90, 70, 4), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    whole = decode_image(path, SMALL).pixels
    monkeypatch.setattr("trainer.data.decode._STRIP_PX", 70 * 7)
    np.testing.assert_array_equal(decode_image(path, SMALL).pixels, whole)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG"])
def test_files_of_several_pictures_give_the_first_and_say_so(tmp_path, form):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    how = {"lossless": True} if form == "WEBP" else {}
    data = content(form, first, save_all=True, append_images=[second], **how)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert decode_image(path, SMALL).pixels[4, 4].tolist() == [255, 0, 0]
    with opened(data, mode="RGB", longest_px=99) as picture:
        assert picture.is_sequence
    with opened(content(form, first), mode="RGB", longest_px=99) as picture:
        assert not picture.is_sequence


def test_a_lab_picture_keeps_its_colours(tmp_path):
    values = np.zeros((8, 8, 3), dtype=np.uint8)
    values[...] = (136, 80, 67)  # red: L 53.3 of 100, a 80, b 67
    (tmp_path / "a.tif").write_bytes(tiff(values, photometric=8))
    red, green, blue = decode_image(tmp_path / "a.tif", SMALL).pixels[0, 0].astype(int)
    assert (red > 200, green < 60, blue < 60) == (True, True, True)
