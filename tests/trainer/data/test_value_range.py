"""One range from black to white for every split of a run, kept with the model."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from tests.trainer.deep_files import deepen, grey, png, tiff
from tests.trainer.tiny import make_splits, train_spec
from trainer.data import value_range
from trainer.data.folder import scan_folder
from trainer.data.splits import load_splits
from trainer.data.value_range import resolved


@pytest.fixture
def splits(make_folder):
    return [
        make_folder(name, {"a": count, "b": count})
        for name, count in (("train", 3), ("reference", 2), ("query", 2))
    ]


def images_of(spec):
    return {name: split.images.copy() for name, split in load_splits(spec).items()}


@pytest.mark.parametrize(("scale", "white"), [(1, 255), (4, 1023), (16, 4095), (257, 65535)])
@pytest.mark.parametrize("cache", [True, False])
def test_deep_copies_of_8_bit_pictures_are_read_like_them(
    splits, make_spec, monkeypatch, tmp_path, scale, white, cache
):
    for folder in splits:
        grey(folder)
    plain = images_of(make_spec(*splits, cache=cache))
    for folder in splits:
        deepen(folder, scale)
    spec = make_spec(*splits, cache=cache)
    deep = images_of(spec)
    assert {split.value_range for split in load_splits(spec).values()} == {(0.0, float(white))}
    for name, images in deep.items():
        assert np.abs(images.astype(int) - plain[name]).max() <= (0 if scale in (1, 257) else 1)


def test_the_look_before_a_search_names_the_range(splits, make_spec):
    from trainer.data.inspect import inspect_data

    def told(**changes):
        findings = inspect_data(make_spec(*splits, **changes))["findings"]
        return [f["message"] for f in findings if f["kind"] == "value_range"]

    assert told() == []
    deepen(splits[0], 16)
    assert len(told()) == 1
    assert "0 is read as black and 4095 as white" in told()[0]
    assert told(value_range=(0.0, 4000.0)) == []


def test_pictures_of_8_bits_have_no_range(splits, make_spec):
    assert {split.value_range for split in load_splits(make_spec(*splits)).values()} == {None}


def test_the_training_pictures_decide_for_all_splits(splits, make_spec):
    train, reference, query = splits
    deepen(train, 16)
    deepen(reference, 257)
    deepen(query, 1)
    found = load_splits(make_spec(*splits))
    assert {split.value_range for split in found.values()} == {(0.0, 4095.0)}
    assert found["query"].images.max() <= 16  # 255 of 4095
    assert found["reference"].images.max() == 255
    held_out = load_splits(make_spec(train, query, query))
    assert held_out["query"].value_range == (0.0, 4095.0)


def test_without_deep_training_pictures_the_reference_decides(splits, make_spec):
    _, reference, query = splits
    deepen(reference, 16)
    deepen(query, 257)
    assert load_splits(make_spec(*splits))["query"].value_range == (0.0, 4095.0)
    found = load_splits(make_spec("", reference, query), need_train=False)
    assert found["query"].value_range == (0.0, 4095.0)


def test_a_range_in_the_spec_is_used(splits, make_spec):
    for folder in splits:
        deepen(folder, 1)
    found = load_splits(make_spec(*splits, value_range=(0.0, 510.0)))
    assert {split.value_range for split in found.values()} == {(0.0, 510.0)}
    assert 110 < found["train"].images.max() <= 128


def test_levels_are_looked_for_once(splits, make_spec, cache_dir, monkeypatch):
    spec, looked = make_spec(*splits), []
    folders = {"train": scan_folder(deepen(splits[0], 16))}
    plain = value_range._levels
    monkeypatch.setattr(value_range, "_levels", lambda path: looked.append(path) or plain(path))
    assert resolved(spec, folders).dataset.value_range == (0.0, 4095.0)
    assert len(looked) == 6
    assert resolved(spec, folders).dataset.value_range == (0.0, 4095.0)
    assert len(looked) == 6
    next((cache_dir / "levels").glob("*.json")).write_text("[0.0,")  # by a full disk
    assert resolved(spec, folders).dataset.value_range == (0.0, 4095.0)
    assert len(looked) == 12
    deepen(splits[0], 2, only=lambda path: path.name == "0.png")  # a picture changes
    assert resolved(spec, {"train": scan_folder(splits[0])}).dataset.value_range is not None
    assert len(looked) == 18


def test_without_a_cache_nothing_is_kept(splits, make_spec, cache_dir):
    folders = {"train": scan_folder(deepen(splits[0], 16))}
    assert resolved(make_spec(*splits, cache=False), folders).dataset.value_range == (0.0, 4095.0)
    assert not cache_dir.exists()


def test_files_that_cannot_be_read_are_left_to_the_decoder(splits, make_spec):
    folder = deepen(splits[0], 16)
    (folder / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "a" / "empty.tif").write_bytes(b"")
    folders = {"train": scan_folder(folder)}
    assert resolved(make_spec(*splits), folders).dataset.value_range == (0.0, 4095.0)


def test_float_pictures_set_a_range_of_their_own(splits, make_spec):
    rng = np.random.default_rng(0)
    for path in splits[0].rglob("*.png"):
        path.with_suffix(".tif").write_bytes(tiff(rng.uniform(-2, 6, (9, 9, 1)).astype("f4")))
        path.unlink()
    found = resolved(make_spec(*splits), {"train": scan_folder(splits[0])}).dataset.value_range
    assert -2 <= found[0] < -1.5
    assert 5.5 < found[1] <= 6


def test_the_range_travels_from_training_to_the_exported_model_and_its_predictions(tmp_path):
    from trainer.actions.evaluate import evaluate
    from trainer.actions.export import export
    from trainer.actions.predict import embed_readable
    from trainer.checkpoints import load
    from trainer.onnx_model import OnnxModel
    from trainer.spec import parse_spec
    from trainer.training import fit

    folders = make_splits(tmp_path, classes=2, images=4)
    for name in folders:
        deepen(tmp_path / name, 16)
    spec = train_spec(folders, tmp_path / "out", train__num_epochs=1, train__batch_size=8)
    receipt = fit(spec, lambda _: True)
    checkpoint = tmp_path / "out" / "ckpt" / "best.ckpt"
    assert receipt["applied"]["dataset.value_range"] == [0.0, 4095.0]
    assert load(checkpoint)["spec"]["dataset"]["value_range"] == [0.0, 4095.0]

    # Pictures that would set another range by themselves are read by that of the model.
    files = sorted((tmp_path / "query").rglob("*.png"))
    for path in files:
        array = np.asarray(Image.open(path)).astype(np.uint16)
        path.write_bytes(png((array // 16)[..., None]))
    actions = {
        "evaluate.checkpoint": str(checkpoint),
        "export.checkpoint": str(checkpoint),
        "export.on_cpu": True,
    }
    scored = evaluate(parse_spec(spec | actions, "evaluate"))
    assert scored["num_queries"] == len(files)
    exported = export(parse_spec(spec | actions, "export"))
    model = OnnxModel(tmp_path / "out" / "export" / "model.onnx")
    assert exported["onnx"] == str(model.path)
    assert model.facts["value_range"] == [0.0, 4095.0]
    ((_, dark, _),) = embed_readable(model, files, {})
    for path in files:
        array = np.asarray(Image.open(path)).astype(np.float64)
        eight = np.rint(array * 255 / 4095).astype(np.uint8)
        Image.fromarray(eight).save(path)
    ((_, bright, _),) = embed_readable(model, files, {})
    np.testing.assert_allclose(dark, bright, atol=1e-6)


def test_another_range_than_the_models_is_refused(tmp_path):
    from trainer.encoders import as_trained, check_facts
    from trainer.errors import SpecError
    from trainer.spec import parse_spec

    spec = parse_spec({"dataset.value_range": [0, 255]}, "export", is_complete=False)
    with pytest.raises(
        SpecError, match=r"dataset\.value_range must be \[0\.0, 4095\.0\], got \[0\.0, 255\.0\]"
    ):
        check_facts(
            tmp_path / "m.onnx", {"value_range": [0.0, 4095.0]}, spec, only=("value_range",)
        )
    assert as_trained(tmp_path / "missing.ckpt", spec) is spec


@pytest.mark.parametrize("wrong", [[5], [5, 5], [9, 1], ["a", "b"], 7, [0, float("inf")]])
def test_ranges_that_are_none_are_refused(wrong):
    from trainer.errors import SpecError
    from trainer.spec import parse_spec

    with pytest.raises(SpecError, match=r"dataset\.value_range: .*must be"):
        parse_spec({"dataset.value_range": wrong}, "train", is_complete=False)


def test_the_range_can_be_given_and_left_out():
    from trainer.spec import parse_spec, spec_to_dict

    given = parse_spec({"dataset.value_range": [0, 4095]}, "train", is_complete=False)
    assert given.dataset.value_range == (0.0, 4095.0)
    again = parse_spec(json.loads(json.dumps(spec_to_dict(given))), "train", is_complete=False)
    assert again.dataset == given.dataset
    plain = dataclasses.replace(given.dataset, value_range=None)
    assert parse_spec({"dataset.value_range": None}, "train", is_complete=False).dataset == plain
