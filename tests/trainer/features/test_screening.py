from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.features.test_source import one_by_one
from tests.trainer.tiny import make_splits
from trainer.data.folder import scan_folder
from trainer.errors import SpecError
from trainer.features.screening import _intervals
from trainer.models.recognizer import build_recognizer
from trainer.session import TRAINER
from trainer.spec import parse_spec
from trainer.training import fit


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_screening_matches_like_a_loop_over_the_files(frozen, splits):
    spec = frozen(train__seed=4, dataset__pixel_mean=[0.5], dataset__pixel_std=[0.25])
    found = TRAINER.screen({k: v for k, v in spec.items() if k != "dataset.train_dataset"})
    torch.manual_seed(4)
    model = build_recognizer(parse_spec(spec, "train"))
    mean, std = np.float32(0.5), np.float32(0.25)
    folders = [scan_folder(splits[name]) for name in ("reference", "query")]
    gallery, queries = (unit(one_by_one(model.trunk, f, mean, std)) for f in folders)
    means = np.stack([gallery[2 * c : 2 * c + 2].mean(axis=0) for c in range(4)])
    labels = np.arange(12) // 3
    by_picture = (queries @ gallery.T).argmax(axis=1) // 2 == labels
    by_mean = (queries @ unit(means).T).argmax(axis=1) == labels
    for name, hits in (("nearest", by_picture), ("prototypes", by_mean)):
        assert found[name]["query_mean"] == pytest.approx(hits.mean())
        assert found[name]["class_mean"] == pytest.approx(hits.reshape(4, 3).mean())
        low, high = found[name]["query_mean_interval"]
        assert 0 <= low <= hits.mean() <= high <= 1
    assert (found["num_queries"], found["num_reference"]) == (12, 8)
    assert found["num_features"] == gallery.shape[1]
    assert found["params"] == sum(p.numel() for p in model.parameters())
    assert found["latency_ms"] > 0
    assert found["random_weights"]


@pytest.mark.parametrize(("per_class", "mean"), [(True, "class_mean"), (False, "query_mean")])
def test_the_value_is_the_mean_that_training_goes_by(frozen, tmp_path, per_class, mean):
    splits = make_splits(tmp_path / "pictures", classes=3, images=2)
    for number in (0, 1):
        (Path(splits["query"]) / "class_01" / f"{number:02d}.png").unlink()
    places = {f"dataset.val_dataset.{name}": splits[name] for name in ("reference", "query")}
    given = {"train.report_accuracy_per_class": per_class, "train.seed": 1}
    found = TRAINER.screen(frozen() | places | given, with_cost=False)
    own = found["nearest"]
    assert own["class_mean"] != own["query_mean"]
    assert (found["value"], found["interval"]) == (own[mean], own[f"{mean}_interval"])


def test_the_size_is_that_of_the_exported_file(frozen, tmp_path):
    spec = frozen(train__num_epochs=1)
    fit(spec, lambda _: True)
    file = tmp_path / "model.onnx"
    TRAINER.export(
        spec
        | {"export.checkpoint": str(tmp_path / "run" / "ckpt" / "best.ckpt")}
        | {"export.onnx_file": str(file)}
    )
    # The exported file also has metadata: classes and what it was trained with.
    assert file.stat().st_size - TRAINER.screen(spec)["export_bytes"] in range(20_000)


def test_intervals_are_those_of_drawing_queries_anew():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [40, 10, 150])
    hits = rng.random(200) < np.array([0.9, 0.2, 0.6])[labels]
    found = _intervals(hits, labels)
    drawn = []
    for _ in range(2000):
        parts = [rng.choice(hits[labels == c], (labels == c).sum()) for c in range(3)]
        drawn.append((np.concatenate(parts).mean(), np.mean([part.mean() for part in parts])))
    expected = np.quantile(drawn, [0.025, 0.975], axis=0).T
    np.testing.assert_allclose(found["query_mean_interval"], expected[0], atol=0.015)
    np.testing.assert_allclose(found["class_mean_interval"], expected[1], atol=0.015)


def test_missing_queries_are_asked_for(frozen):
    spec = {k: v for k, v in frozen().items() if not k.startswith("dataset.val_dataset.q")}
    with pytest.raises(SpecError, match=r"dataset\.val_dataset\.query: must be given"):
        TRAINER.screen(spec)
