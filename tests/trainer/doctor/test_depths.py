"""What the doctor says of pictures of more than 8 bits a channel."""

import numpy as np
import pytest
from PIL import Image

from tests.trainer.deep_files import png, tiff
from tests.trainer.doctor.drawing import SPLITS, sources
from trainer.doctor.diagnosis import diagnose

KINDS = {"value_range", "mixed_depth", "nearly_empty_range", "beyond_range", "not_finite"}


def deepen(path, scale, *, write=png, dtype=np.uint16):
    """Store a picture again as grey of more bits, each value `scale` times what it was."""
    image = Image.open(path)
    image = image if image.mode == "I;16" else image.convert("L")
    grey = np.asarray(image).astype(np.float64)
    path.unlink()
    made = path.with_suffix(".png" if write is png else ".tif")
    made.write_bytes(write((grey * scale).astype(dtype)[..., None]))
    return made


@pytest.fixture
def deep(pictures):
    """All pictures in 16 bits with values up to 4080."""
    for path in sorted(pictures.rglob("*.jpg")):
        deepen(path, 16)
    return pictures


def found(root):
    return {f["kind"]: f for f in diagnose(sources(root))["findings"] if f["kind"] in KINDS}


def test_pictures_of_8_bits_have_nothing_of_it(clean):
    assert found(clean) == {}


def test_the_range_is_told_and_a_narrow_one_is_a_warning(deep):
    told = found(deep)
    assert set(told) == {"value_range"}
    assert told["value_range"]["severity"] == "warning"
    assert told["value_range"]["count"] == 5 * sum(SPLITS.values())
    for words in (
        "70 pictures",
        "0 is read as black and 4095 as white",
        "65535",
        "dataset.value_range",
    ):
        assert words in told["value_range"]["message"]


def test_a_full_range_is_told_and_no_warning(pictures):
    for path in sorted(pictures.rglob("*.jpg")):
        deepen(path, 257)
    told = found(pictures)
    assert set(told) == {"value_range"}
    assert told["value_range"]["severity"] == "info"
    assert "65535 as white" in told["value_range"]["message"]


def test_nearly_empty_ranges_among_others_are_named(deep):
    path = deepen(deep / "train" / "almond" / "train_2.png", 1 / 16)  # 0 to 255 among 0 to 4095
    told = found(deep)
    assert told["nearly_empty_range"]["severity"] == "warning"
    assert told["nearly_empty_range"]["paths"] == [str(path)]
    assert "others reach 4095" in told["nearly_empty_range"]["message"]


def test_pictures_beyond_the_range_of_the_training_pictures_are_named(deep):
    path = deepen(deep / "query" / "almond" / "query_1.png", 16)  # 0 to 65280
    told = found(deep)
    assert told["beyond_range"]["paths"] == [str(path)]
    assert "beyond 4095" in told["beyond_range"]["message"]


def test_deep_pictures_among_others_are_named(pictures):
    path = deepen(pictures / "reference" / "barley" / "reference_0.jpg", 257)
    told = found(pictures)
    assert told["mixed_depth"]["severity"] == "warning"
    assert told["mixed_depth"]["paths"] == [str(path)]
    assert (
        "1 picture of more than 8 bits a channel and 69 of 8 bits" in told["mixed_depth"]["message"]
    )


def test_samples_that_are_not_finite_are_named(pictures):
    for path in sorted(pictures.rglob("*.jpg")):
        made = deepen(path, 1 / 255, write=tiff, dtype=np.float32)
        if path.stem == "query_1" and path.parent.name == "dates":
            values = np.asarray(Image.open(made)).copy()
            values[3, 3] = np.inf
            made.write_bytes(tiff(values[..., None]))
            spoilt = made
    told = found(pictures)
    assert told["not_finite"]["severity"] == "warning"
    assert told["not_finite"]["paths"] == [str(spoilt)]
    assert "0 is read as black and 1 as white" in told["value_range"]["message"]
    assert told["value_range"]["severity"] == "info"


def test_a_deep_picture_is_blank_by_its_own_levels_alone(deep):
    path = deep / "train" / "almond" / "train_0.png"
    path.write_bytes(png(np.full((40, 40, 1), 1000, dtype=np.uint16)))
    blank = [f for f in diagnose(sources(deep))["findings"] if f["kind"] == "blank"]
    assert [f["paths"] for f in blank] == [[str(path)]]
