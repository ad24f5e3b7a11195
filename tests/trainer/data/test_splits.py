import dataclasses

import numpy as np
import pytest
from PIL import Image

from trainer.data.framing import input_size
from trainer.data.splits import load_splits, scan_splits, split_uris, stored_size
from trainer.errors import DataError, SpecError


def test_training_images_are_stored_larger_and_the_others_exactly(make_folder, make_spec):
    folders = [make_folder(name, {"a": 2, "b": 2}) for name in ("train", "reference", "query")]
    splits = load_splits(make_spec(*folders))
    assert splits["train"].images.shape == (4, 32, 64, 3)
    assert splits["reference"].images.shape == (4, 16, 32, 3)
    assert splits["query"].images.shape == (4, 16, 32, 3)


def test_height_and_width_are_not_swapped(make_spec):
    spec = make_spec()
    model = dataclasses.replace(spec.model, input_height=224, input_width=160)
    spec = dataclasses.replace(spec, model=model)
    assert (input_size(spec).height, input_size(spec).width) == (224, 160)
    stored = stored_size(spec, "train", 1000)
    assert (stored.height, stored.width) == (448, 320)


def test_cut_pictures_are_stored_with_their_margin_in_every_split(make_folder, make_spec):
    folders = [make_folder(name, {"a": 2, "b": 2}) for name in ("train", "reference", "query")]
    splits = load_splits(make_spec(*folders, crop_share=0.8))  # of 16 x 32
    assert {split.images.shape for split in splits.values()} == {(4, 20, 40, 3)}


@pytest.mark.parametrize(
    ("num_images", "expected"), [(1000, 448), (13_000, 448), (20_000, 336), (90_000, 256)]
)
def test_large_sets_are_stored_smaller(make_spec, num_images, expected):
    spec = make_spec()
    model = dataclasses.replace(spec.model, input_height=224, input_width=224)
    stored = stored_size(dataclasses.replace(spec, model=model), "train", num_images)
    assert (stored.height, stored.width) == (expected, expected)


def test_queries_are_labelled_in_the_reference_index(make_folder, make_spec):
    reference = make_folder("reference", {"a": 1, "b": 1, "c": 1})
    query = make_folder("query", {"a": 1, "c": 2})
    splits = load_splits(make_spec("", reference, query), need_train=False)
    assert splits["query"].labels.tolist() == [0, 2, 2]
    assert splits["query"].class_names == ("a", "b", "c")
    assert [p.name for p in splits["query"].paths] == ["0.png", "0.png", "1.png"]


def test_unmatched_queries_are_dropped_with_their_images(make_folder, make_spec):
    reference = make_folder("reference", {"b": 1})
    query = make_folder("query", {"a": 2, "b": 2})
    spec = make_spec("", reference, query, ignore_unmatched=True)
    split = load_splits(spec, need_train=False)["query"]
    expected = Image.open(query / "b" / "1.png").resize((32, 16), Image.Resampling.BILINEAR)
    assert [p.parent.name for p in split.paths] == ["b", "b"]
    np.testing.assert_array_equal(split.images[1], np.asarray(expected))


def test_without_the_cache_nothing_is_written(make_folder, make_spec, cache_dir):
    root = make_folder("train", {"a": 2})
    kept = load_splits(make_spec(root))["train"].images
    written = {p.name for p in cache_dir.rglob("images.npy")}
    loose = load_splits(make_spec(root, cache=False))["train"].images
    np.testing.assert_array_equal(kept, loose)
    assert {p.name for p in cache_dir.rglob("images.npy")} == written


def test_class_map_changes_reported_names_only(make_folder, make_spec, tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("a: Zebra\nb: Ant\n")
    root = make_folder("train", {"a": 1, "b": 1})
    split = load_splits(make_spec(root, class_map=str(path)))["train"]
    assert split.class_names == ("Zebra", "Ant")
    assert split.labels.tolist() == [0, 1]


def test_missing_sources_name_their_key(make_spec, make_folder):
    with pytest.raises(SpecError, match=r"dataset\.train_dataset: a folder or archive"):
        split_uris(make_spec())
    with pytest.raises(SpecError, match=r"dataset\.val_dataset.reference: must be given along"):
        split_uris(make_spec(query="/somewhere"), need_train=False)
    with pytest.raises(DataError, match=r"dataset\.val_dataset.query: .*no such folder"):
        scan_splits(make_spec("", make_folder("r", {"a": 1}), "/nowhere"), need_train=False)


def test_queries_without_a_class_in_the_reference_name_the_key(make_folder, make_spec):
    spec = make_spec("", make_folder("r", {"a": 1}), make_folder("q", {"b": 1}))
    with pytest.raises(DataError, match=r"dataset\.val_dataset.query: .*no class in common"):
        load_splits(spec, need_train=False)


def test_queries_that_are_left_out_need_no_name_in_the_class_map(make_folder, make_spec, tmp_path):
    (tmp_path / "map.yaml").write_text("a: Zebra\nb: Ant\n")
    folders = make_folder("r", {"a": 1, "b": 1}), make_folder("q", {"b": 2, "z": 3})
    spec = make_spec("", *folders, class_map=str(tmp_path / "map.yaml"), ignore_unmatched=True)
    query = load_splits(spec, need_train=False)["query"]
    assert (query.class_names, query.labels.tolist()) == (("Zebra", "Ant"), [1, 1])
