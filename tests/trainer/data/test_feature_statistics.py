"""Statistics of cached features, against numbers by hand."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from trainer.data.feature_statistics import _variance, feature_statistics

FACTS = {
    "format": 1, "trunk": "timm/x", "weights": "w", "size": {"height": 8, "width": 8, "channels": 3},
    "preprocessing": {"crop_share": 0.9}, "precision": "fp32", "views": 1, "augmentation": None,
    "is_mirrored": False, "num_images": 2, "num_features": 2,
}  # fmt: skip


def place(cache, name):
    """Where a set lies: its key has 32 hexadecimal digits, each the letter of its name here."""
    return cache / "features" / (32 * name)


def keep(cache, name, rows, **changes):
    folder = place(cache, name)
    folder.mkdir(parents=True)
    np.save(folder / "features.npy", np.array([rows], dtype=np.float32))
    (folder / "meta.json").write_text(json.dumps(FACTS | {"source": "/p/train"} | changes))


def test_mean_and_variance_of_pictures_as_they_are(tmp_path):
    keep(tmp_path, "a", [[1.0, 0.0], [3.0, 8.0]])
    keep(tmp_path, "b", [[9.0, 9.0], [9.0, 9.0]], augmentation={"re_prob": 0.5})
    keep(tmp_path, "c", [[9.0, 9.0], [9.0, 9.0]], is_mirrored=True)
    keep(tmp_path, "d", [[9.0, 9.0], [9.0, 9.0]], source="/p/train2")
    found = feature_statistics("/p/train", tmp_path)
    assert list(found.values()) == [{"mean": [2.0, 4.0], "variance": [1.0, 16.0]}]
    assert feature_statistics("/p/query", tmp_path) == {}


@pytest.mark.parametrize("changes", [{"weights": "other"}, {"preprocessing": {"crop_share": 1.0}}])
def test_what_other_weights_or_preprocessing_made_has_another_name(tmp_path, changes):
    keep(tmp_path, "a", [[1.0, 0.0], [3.0, 8.0]])
    keep(tmp_path, "b", [[1.0, 0.0], [3.0, 8.0]], source="/q", **changes)
    assert not feature_statistics("/p/train", tmp_path).keys() & feature_statistics("/q", tmp_path)


def test_of_sets_that_were_made_alike_the_one_used_last_counts(tmp_path):
    for name, value, used in (("a", 1.0, 300), ("b", 5.0, 500), ("c", 9.0, 100)):
        keep(tmp_path, name, [[value], [value + 2]])
        os.utime(place(tmp_path, name) / "meta.json", (used, used))
    assert [row["mean"] for row in feature_statistics("/p/train", tmp_path).values()] == [[6.0]]


def test_sets_of_a_list_are_known_by_its_pictures(tmp_path, make_folder):
    root = make_folder("photos", {"a": 3, "b": 2})
    rows = [
        f"photos/{label}/{i}.png,{label}" for label, n in (("a", 3), ("b", 1)) for i in range(n)
    ]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    cache = tmp_path / "cache"
    keep(cache, "a", [[1.0]] * 5, source=str(root), num_images=5)  # of the folder
    keep(cache, "b", [[1.0], [1.0], [1.0], [5.0]], source=str(root), num_images=4)
    found = feature_statistics(str(tmp_path / "list.csv"), cache)
    assert [row["mean"] for row in found.values()] == [[2.0]]
    assert feature_statistics(str(tmp_path / "gone.csv"), cache) == {}


def test_a_set_that_is_being_removed_tells_nothing(tmp_path):
    keep(tmp_path, "a", [[1.0, 0.0], [3.0, 8.0]])
    (place(tmp_path, "a") / "features.npy").unlink()
    assert feature_statistics("/p/train", tmp_path) == {}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("rows", [1, 2, 9, 10, 11, 40])
def test_the_variance_is_that_of_numpy_to_the_last_bit(monkeypatch, rows, dtype):
    monkeypatch.setattr("trainer.data.feature_statistics._BLOCK_BYTES", 10 * 8 * 33)
    features = (np.random.default_rng(rows).normal(size=(rows, 33)) + 7).astype(dtype)
    mean = features.mean(axis=0, dtype=np.float64)
    assert np.array_equal(_variance(features, mean), features.var(axis=0, dtype=np.float64))


def test_many_features_take_little_memory(tmp_path):
    folder = place(tmp_path, "a")
    keep(tmp_path, "a", [[1.0, 0.0]])
    features = np.random.default_rng(0).normal(size=(40_000, 256)).astype(np.float32)
    np.save(folder / "features.npy", features[None])
    tracemalloc.start()
    (found,) = feature_statistics("/p/train", tmp_path).values()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    exact = features.astype(np.float64)
    assert found["mean"] == pytest.approx(exact.mean(axis=0).tolist())
    assert found["variance"] == pytest.approx(exact.var(axis=0).tolist())
    assert peak < 30e6 < exact.nbytes
