import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.decoded import open_cache
from tests.trainer.tiny import make_folders
from trainer.data.augment import BatchAugment
from trainer.data.cached_sets import clear_caches, list_caches, parts_path
from trainer.data.folder import scan_folder
from trainer.data.framing import ImageSize
from trainer.errors import DivergedError
from trainer.features.source import FeatureSource
from trainer.models.recognizer import build_recognizer
from trainer.spec import parse_spec

BUILD = """
import sys, time
from pathlib import Path
import torch
from trainer.data.folder import scan_folder
from trainer.features.source import FeatureSource
from trainer.models.recognizer import build_recognizer
from trainer.spec import load_spec

spec = load_spec(Path(sys.argv[1]), [], "train")
torch.manual_seed(5)
trunk = build_recognizer(spec).trunk
def seen(module, given):
    with open(sys.argv[2], "a") as file:
        file.write("x" * len(given[0]) + "\\n")
    time.sleep(0.5)
trunk.register_forward_pre_hook(seen)
folder = scan_folder(spec.dataset.train_dataset)
print(float(FeatureSource(spec, trunk).clean(folder).features_VNF.sum()))
"""


@pytest.fixture
def train(splits):
    return scan_folder(splits["train"])


@pytest.fixture
def source(frozen):
    def make(seed=5, **changes):
        spec = parse_spec(frozen(**changes), "train")
        torch.manual_seed(seed)
        return FeatureSource(spec, build_recognizer(spec).trunk)

    return make


def one_by_one(trunk, folder, mean, std):
    """Features by the obvious loop: open, scale, normalise, run, one picture at a time."""
    trunk.eval()
    rows = []
    for path in folder.paths:
        pixels = np.asarray(Image.open(folder.root / path).convert("RGB"), dtype=np.float32)
        picture = torch.from_numpy((pixels / 255 - mean) / std).permute(2, 0, 1)[None]
        with torch.no_grad():
            rows.append(trunk(picture)[0].numpy())
    return np.stack(rows)


def test_features_are_those_of_a_loop_over_the_files(frozen, train):
    spec = parse_spec(frozen(dataset__pixel_mean=[0.3, 0.5, 0.6]), "train")
    trunk = build_recognizer(spec).trunk
    found = FeatureSource(spec, trunk).clean(train).features_VNF
    assert found.shape == (1, 32, trunk.num_features)
    expected = one_by_one(trunk, train, np.float32([0.3, 0.5, 0.6]), np.float32(0.226))
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-5)
    assert expected.std() > 0.01


def test_the_trunk_is_run_in_evaluation_mode_and_left_in_its_own(source, train):
    source = source()
    trunk = source._trunk.train()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    source.clean(train)
    assert all(module.training for module in trunk.modules())
    assert all(torch.equal(before[name], value) for name, value in trunk.state_dict().items())


def test_views_are_what_augmentation_draws(source, train):
    source = source(dataset__feature_views=3)
    found = source.changed(train).features_VNF
    images = torch.from_numpy(np.array(open_cache(train, ImageSize(height=64, width=64))))
    for view in range(3):
        seed = int(np.random.SeedSequence([0, view]).generate_state(1, np.uint64)[0] >> 1)
        augment = BatchAugment(source._spec, seed)
        with torch.no_grad():
            expected = source._trunk.eval()(augment(images, torch.full((32, 2), 32)))
        np.testing.assert_allclose(found[view], expected.numpy(), rtol=0, atol=1e-5)
    clean = source.clean(train).features_VNF[0]
    different = [*found, clean]
    for i, one in enumerate(different):
        assert all(np.abs(one - other).max() > 1e-3 for other in different[:i])


def test_the_second_time_nothing_is_opened_or_run(source, train, monkeypatch):
    first = np.array(source().clean(train).features_VNF)
    [clear_caches(names=[e.name]) for e in list_caches() if e.kind == "images"]
    monkeypatch.setattr("trainer.features.source.forward", None)
    monkeypatch.setattr("trainer.data.decoding.decode_image", None)
    np.testing.assert_array_equal(source().clean(train).features_VNF, first)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 6},  # other weights
        {"dataset__pixel_mean": [0.5]},
        {"dataset__pixel_std": [0.5]},
        {"dataset__interpolation": "nearest", "model__input_width": 48},
        {"dataset__crop_share": 0.8},
        {"model__input_width": 48},
        {"model__input_channels": 1},
        {"model__backbone": "timm/test_convnext"},
        {"dataset__re_prob": 1.0},
        {"dataset__prob": 1.0},
        {"dataset__random_rotation": True},
        {"dataset__feature_views": 1},
    ],
)
def test_what_changes_features_makes_a_set_of_its_own(source, train, changes):
    base = {"dataset__feature_views": 2}
    keys = {source(**{**base, **c}).changed(train).facts["key"] for c in ({}, changes)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"train__seed": 77},
        {"model__feat_dim": 8},
        {"train__batch_size": 8},
        {"dataset__num_instance": 2},
        {"train__val_batch_size": 3},
        {"dataset__workers": 1},
        {"train__loss__name": "arcface"},
        {"model__weights__licence": "MIT"},
    ],
)
def test_what_changes_no_feature_shares_the_set(source, train, changes):
    base = {"dataset__feature_views": 2}
    for way in (FeatureSource.clean, FeatureSource.changed):
        keys = {way(source(**{**base, **c}), train).facts["key"] for c in ({}, changes)}
        assert len(keys) == 1


def test_augmentation_is_no_part_of_pictures_as_they_are(source, train):
    changes = ({}, {"dataset__re_prob": 1.0, "dataset__gaussian_blur__enabled": False})
    assert len({source(**c).clean(train).facts["key"] for c in changes}) == 1


def test_a_file_that_changes_is_run_again(source, tmp_path):
    folder = make_folders(tmp_path / "own", classes=2, images=2)
    before = np.array(source().clean(scan_folder(folder)).features_VNF)
    Image.new("RGB", (32, 32), (7, 8, 9)).save(folder / "class_01" / "01.png")
    after = source().clean(scan_folder(folder)).features_VNF
    np.testing.assert_allclose(after[0, :3], before[0, :3], atol=1e-6)
    assert np.abs(after[0, 3] - before[0, 3]).max() > 1e-3


def test_sets_are_listed_bounded_and_cleared_beside_the_images(source, train, monkeypatch):
    source(dataset__feature_views=2).changed(train)
    images, features = sorted(list_caches(), key=lambda e: e.kind, reverse=True)
    assert (images.kind, features.kind) == ("images", "features")
    row = features.as_dict()
    assert (row["source"], row["images"], row["views"]) == (str(train.root), 32, 2)
    assert (row["trunk"], row["height"]) == ("timm/test_resnet", 32)
    assert row["bytes"] >= 2 * 32 * row["features"] * 4
    monkeypatch.setenv("HPO_CACHE_GB", "0.000001")
    source(seed=9).clean(train)
    left = {(entry.kind, entry.size.height, entry.views) for entry in list_caches()}
    assert left == {("images", 32, 0), ("features", 32, 1)}  # the others went to make room
    clear_caches()
    assert list_caches() == []


def test_a_mapped_set_stays(source, train):
    held = source().clean(train).features_VNF
    clear_caches()
    assert [e.kind for e in list_caches()] == ["features"]
    assert held.shape[1] == 32


def test_without_a_cache_nothing_is_kept_on_disk(source, train, cache_dir):
    kept = source(dataset__cache=False).clean(train).features_VNF
    np.testing.assert_allclose(kept, source().clean(train).features_VNF, atol=1e-6)
    assert isinstance(kept, np.ndarray)
    assert not isinstance(kept, np.memmap)
    clear_caches()
    source(dataset__cache=False).clean(train)
    assert not list(cache_dir.rglob("*.npy"))


def test_broken_weights_are_named(source, train):
    source = source()
    with torch.no_grad():
        next(source._trunk.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"features of .*train by timm/test_resnet: every"):
        source.clean(train)
    assert [e for e in list_caches() if e.kind == "features"] == []


@pytest.mark.parametrize(("block", "changes"), [(64, {}), (8, {}), (5, {"views": 3})])
def test_threads_of_one_process_compute_once(source, train, monkeypatch, block, changes):
    monkeypatch.setattr("trainer.features.source._BLOCK", block)
    views = changes.get("views", 0)
    way = FeatureSource.changed if views else FeatureSource.clean
    seen, results = [], []
    sources = [source(dataset__feature_views=views) for _ in range(3)]
    for one in sources:
        one._trunk.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    threads = [
        threading.Thread(target=lambda s=s: results.append(way(s, train).features_VNF))
        for s in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(seen) == 32 * max(views, 1)
    alone = way(source(dataset__feature_views=views, dataset__cache=False), train).features_VNF
    for found in results:
        np.testing.assert_array_equal(found, alone)
    assert len(results) == 3


def test_parts_that_a_kill_left_are_cleared(source, train, cache_dir):
    facts = source().clean(train).facts
    left = parts_path(cache_dir / "features", facts["key"])
    left.mkdir()
    (left / "ready-3.npy").write_bytes(b"")
    clear_caches()
    assert not left.exists()


@pytest.mark.slow
def test_processes_at_once_compute_once(frozen, tmp_path):
    log, file = tmp_path / "seen", tmp_path / "spec.yaml"
    file.write_text(json.dumps(frozen()), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    argv = [sys.executable, "-c", BUILD, str(file), str(log)]
    processes = [
        subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    sums = {process.communicate(timeout=120)[0] for process in processes}
    assert len(sums) == 1
    assert len(Path(log).read_text().replace("\n", "")) == 32
