"""What a served model sees of a picture, against Pillow and timm's evaluation transform."""

import numpy as np
import pytest
from PIL import Image

from hpo.tracking.served_model import RecognitionModel


def served(**facts):
    model = RecognitionModel()
    model._facts = {"input_height": 48, "input_width": 48, **facts}
    model._share = float(facts.get("crop_share", 0.0))
    return model


@pytest.fixture(params=[(341, 256), (61, 250), (700, 500)], ids=str)
def picture(request, tmp_path):
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    path = tmp_path / "a.jpg"
    rough.resize(request.param, Image.Resampling.BICUBIC).save(path, quality=92)
    return path


@pytest.mark.parametrize(("share", "interpolation"), [(0.875, "bicubic"), (0.95, "bilinear")])
def test_cut_pictures_equal_timms(picture, share, interpolation):
    import timm.data

    transform = timm.data.create_transform(
        input_size=(3, 48, 48), crop_pct=share, interpolation=interpolation, normalize=False
    )
    with Image.open(picture) as image:
        wanted = transform(image).numpy().transpose(1, 2, 0)
    pixels = served(crop_share=share, interpolation=interpolation)._pixels(picture)
    np.testing.assert_array_equal(pixels, wanted)


@pytest.mark.parametrize("facts", [{}, {"crop_share": 0.5, "interpolation": "lanczos"}])
def test_pixels_are_those_of_the_trainer(picture, facts):
    from trainer.data.decode import decode_image
    from trainer.data.framing import SQUASHED_FACTS, ImageSize, make_framing

    size = ImageSize(height=48, width=48)
    framing = make_framing(size, **{**SQUASHED_FACTS, **facts})
    wanted = decode_image(picture, size, framing).pixels
    np.testing.assert_array_equal(served(**facts)._pixels(picture), wanted)


def test_a_strip_of_one_pixel_takes_little_memory(tmp_path):
    Image.new("RGB", (50_000, 1), (9, 90, 200)).save(tmp_path / "strip.png")
    model = served(crop_share=0.01)  # 4,800 x 240 million pixels if it were resized whole
    assert model._pixels(tmp_path / "strip.png")[24, 24].tolist() == [9, 90, 200]
