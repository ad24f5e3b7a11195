"""Thumbnails of odd files: small, silent, or none."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from hpo.core.thumbnails import thumbnail
from tests.trainer.deep_files import png, tiff, with_broken_exif


def shown(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    found = thumbnail(tmp_path / "a.png")
    if found is None:
        return None
    data = base64.b64decode(found.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)


@pytest.mark.parametrize("write", [png, tiff])
def test_deep_greys_are_shown_by_their_own_extremes(tmp_path, write):
    half = np.zeros((40, 40, 1), dtype=np.uint16)
    half[:, 20:] = 900
    grey = shown(write(half), tmp_path)
    assert grey[:, :16].max() < 30
    assert grey[:, 24:].min() > 220


def test_damaged_metadata_make_no_sound(tmp_path, capfd, recwarn):
    assert shown(with_broken_exif(Image.new("RGB", (60, 40))), tmp_path).shape == (60, 40)
    assert capfd.readouterr() == ("", "")
    assert [str(w.message) for w in recwarn] == []


def test_what_cannot_be_read_has_none(tmp_path, monkeypatch):
    assert shown(b"no picture", tmp_path) is None
    Image.new("RGB", (9, 9)).save(other := io.BytesIO(), "PCX")
    assert shown(other.getvalue(), tmp_path) is None  # one of the decoders that are given nothing
    monkeypatch.setattr("hpo.core.thumbnails.MOST_PIXELS", 400)
    assert shown(png(np.zeros((30, 30, 1), dtype=np.uint8)), tmp_path) is None


def test_more_pixels_than_pillow_warns_of_are_read_and_its_bound_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (tmp_path / "a.png").write_bytes(png(np.zeros((30, 30, 1), dtype=np.uint8)))
    assert thumbnail(tmp_path / "a.png") is not None
    assert Image.MAX_IMAGE_PIXELS == 100


def test_thumbnails_keep_their_proportions(tmp_path):
    Image.new("RGB", (400, 200), "red").save(tmp_path / "wide.png")
    data = thumbnail(tmp_path / "wide.png").removeprefix("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (112, 56)
    assert thumbnail(tmp_path / "missing.png") is None


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_shown_on_white_as_the_network_sees_it(tmp_path, mode):
    """The colour below what cannot be seen is anything: black here."""
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (20, 0, 40, 40))
    picture.convert(mode).save(file := io.BytesIO(), "PNG")
    grey = shown(file.getvalue(), tmp_path)
    assert grey[:, :16].min() > 245
    assert grey[:, 24:].max() < 10
