import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from trainer.data.decode import decode_image
from trainer.data.folder import scan_folder
from trainer.data.formats import ending, image_extensions, is_heif, register_heif
from trainer.data.framing import ImageSize
from trainer.doctor.fingerprint import take_fingerprint

pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")

SIZE = ImageSize(height=12, width=16)


def halves(size=(64, 48)):
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, (220, 30, 30))
    picture.paste((30, 30, 220), (size[0] // 2, 0, size[0], size[1]))
    return picture


@pytest.fixture(autouse=True)
def reader():
    assert register_heif()


def test_a_pillow_that_has_never_heard_of_avif_is_asked_nothing_of_it(monkeypatch):
    """It warns of a name that it does not know, which ends our own commands' tests."""
    others = {name: value for name, value in features.modules.items() if name != "avif"}
    monkeypatch.setattr(features, "modules", others)
    image_extensions.cache_clear()
    with warnings.catch_warnings(action="error"):
        assert ".avif" not in image_extensions()
    image_extensions.cache_clear()


@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "a.hif", "a.jpg", "a.avif"])
def test_pictures_of_telephones_are_decoded_whatever_their_ending(tmp_path, name):
    path = tmp_path / name
    halves().save(path, format="AVIF" if name == "a.avif" else "HEIF", quality=95)
    pixels = decode_image(path, SIZE).pixels.astype(int)
    assert pixels.shape == (12, 16, 3)
    np.testing.assert_allclose(pixels[:, :7].mean((0, 1)), (220, 30, 30), atol=12)
    np.testing.assert_allclose(pixels[:, 9:].mean((0, 1)), (30, 30, 220), atol=12)


def test_a_turned_picture_is_turned_once(tmp_path):
    path = tmp_path / "a.heic"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture = halves()
    picture.info["exif"] = exif.tobytes()
    picture.save(path, format="HEIF", quality=95)
    assert b"irot" in path.read_bytes()  # the file turns itself, as those of telephones do
    decoded = decode_image(path, ImageSize(height=16, width=12))
    assert (decoded.original_height, decoded.original_width) == (64, 48)
    pixels = decoded.pixels.astype(int)
    np.testing.assert_allclose(pixels[:7].mean((0, 1)), (220, 30, 30), atol=12)
    np.testing.assert_allclose(pixels[9:].mean((0, 1)), (30, 30, 220), atol=12)


def test_grey_transparent_and_deep_ones_are_decoded(tmp_path):
    transparent = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    transparent.save(tmp_path / "clear.heic", format="HEIF", quality=95)
    assert decode_image(tmp_path / "clear.heic", SIZE).pixels.mean() > 245
    Image.new("L", (32, 32), 100).save(tmp_path / "grey.heic", format="HEIF", quality=95)
    assert abs(decode_image(tmp_path / "grey.heic", SIZE).pixels.mean() - 100) < 4
    deep = np.full((32, 32, 3), 30_000, dtype=np.uint16)
    pillow_heif.encode("RGB;16", (32, 32), deep.tobytes(), tmp_path / "deep.heic", quality=95)
    assert abs(decode_image(tmp_path / "deep.heic", SIZE).pixels.mean() - 30_000 / 257) < 4


def test_they_are_pictures_of_their_class_and_known_to_the_doctor(tmp_path):
    for name in ("a/1.HEIC", "a/2.heif", "b/3.avif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        halves().save(tmp_path / name, format="AVIF" if name == "b/3.avif" else "HEIF")
    folder = scan_folder(tmp_path)
    assert folder.counts().tolist() == [2, 1]
    assert folder.notes == ()
    look = take_fingerprint(tmp_path / "a/1.HEIC")
    assert (look.error, look.format, look.width, look.height) == ("", "HEIF", 64, 48)


def test_a_damaged_one_is_a_picture_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.heic"
    halves().save(path, format="HEIF")
    path.write_bytes(path.read_bytes()[:300])
    look = take_fingerprint(path)
    assert look.error == "its data are damaged"


WITHOUT = """
import sys
sys.modules["pillow_heif"] = None
from pathlib import Path
from trainer.data.folder import scan_folder
from trainer.doctor.fingerprint import take_fingerprint
folder = scan_folder(sys.argv[1])
print(len(folder.paths), *(note.severity + " " + note.text for note in folder.notes), sep="\\n")
print(take_fingerprint(Path(sys.argv[1]) / "b" / "as.jpg").error)
"""


def test_without_the_reader_they_are_counted_and_the_extra_is_named(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        halves().save(tmp_path / label / "0.png")
        for i in range(10):
            halves().save(tmp_path / label / f"{i}.heic", format="HEIF")
    halves().save(tmp_path / "b" / "as.jpg", format="HEIF")
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines() == [
        "3",
        "warning 20 .heic files were skipped; to read .heic, install hpo-recognition[heic]",
        "a HEIC picture; to read it, install hpo-recognition[heic]",
    ]


def test_endings():
    assert {".jpg", ".jfif", ".heic", ".avif"} <= image_extensions()
    assert ending("x/1.JPG ") == ".jpg"
    assert ending("noend") == ""
    assert not is_heif(b"\0\0\0\x18ftypavif")
