from functools import partial

import numpy as np
import pytest
import torch

from tests.trainer.deep_files import make_deep_and_plain
from tests.trainer.tiny import make_folders, make_splits
from trainer.data.batches import build_data
from trainer.data.cached_sets import clear_caches, list_caches
from trainer.errors import DataError, SpecError
from trainer.features.data import build_feature_data
from trainer.features.source import FeatureSource
from trainer.models.recognizer import build_recognizer
from trainer.spec import parse_spec


@pytest.fixture
def loaded(frozen):
    def make(**changes):
        spec = parse_spec(frozen(**changes), "train")
        torch.manual_seed(5)
        trunk = build_recognizer(spec).trunk
        data = build_feature_data(spec, "cpu")
        data.load(trunk)
        return data, FeatureSource(spec, trunk), spec

    return make


def test_batches_hold_the_features_of_the_pictures_that_would_come(loaded):
    data, source, spec = loaded(dataset__num_instance=2, train__batch_size=8, train__seed=8)
    pictures = build_data(spec, "cpu")
    clean_NF = source.clean(data._folders["train"]).features_VNF[0]
    for epoch in (0, 3):
        batches = list(data.train_batches(epoch))
        drawn = list(pictures._sampler.batches(epoch))
        assert len(batches) == data.num_batches == pictures.num_batches == len(drawn)
        for (feat_NF, labels_N), indices in zip(batches, drawn, strict=True):
            np.testing.assert_array_equal(feat_NF.numpy(), clean_NF[indices])
            assert labels_N.tolist() == [i // 8 for i in indices]


def test_each_epoch_draws_a_view_per_picture(loaded):
    data, source, _ = loaded(dataset__feature_views=3, train__seed=2)
    views_VNF = source.changed(data._folders["train"]).features_VNF
    chosen = []
    for epoch in range(40):
        rows_N = data.rows(epoch)
        assert (rows_N % 32).tolist() == list(range(32))
        chosen.append(rows_N // 32)
        drawn = np.concatenate(list(data.batches(epoch)))
        batches = torch.cat([feat for feat, _ in data.train_batches(epoch)]).numpy()
        np.testing.assert_array_equal(batches, views_VNF[chosen[-1][drawn], drawn])
    counts = np.stack([(np.array(chosen) == view).sum(axis=0) for view in range(3)])
    assert counts.min() >= 3  # of 40 / 3: each view of each picture comes
    assert abs(counts.mean(axis=1) - 40 / 3).max() < 1.5
    again, other = (
        loaded(dataset__feature_views=3, train__seed=2)[0],
        loaded(dataset__feature_views=3, train__seed=3)[0],
    )
    assert (again.rows(5) == data.rows(5)).all()
    assert (other.rows(5) != data.rows(5)).any()


@pytest.mark.parametrize("views", [0, 2])
def test_deep_pictures_have_the_features_of_their_8_bit_copies(loaded, tmp_path, views):
    found = []
    for folders in make_deep_and_plain(partial(make_splits, classes=2, images=4), tmp_path):
        data, _, _ = loaded(
            dataset__train_dataset=folders["train"],
            dataset__val_dataset__reference=folders["reference"],
            dataset__val_dataset__query=folders["query"],
            dataset__feature_views=views,
            train__batch_size=8,
        )
        batches = [feat for epoch in range(3) for feat, _ in data.train_batches(epoch)]
        found.append(torch.cat([*batches, *data.eval_batches("query", 3)]))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


def test_evaluation_sees_every_picture_in_order(loaded):
    data, source, _ = loaded()
    expected = source.clean(data._folders["query"]).features_VNF[0]
    parts = list(data.eval_batches("query", 5))
    assert [len(part) for part in parts] == [5, 5, 2]
    np.testing.assert_array_equal(torch.cat(parts).numpy(), expected)


def test_queries_without_a_class_in_the_gallery_are_left_out(loaded, splits, tmp_path):
    strange = make_folders(tmp_path / "strange", classes=6, images=2, seed=9)
    changes = {"dataset__val_dataset__query": str(strange)}
    with pytest.raises(DataError, match="not in the reference"):
        loaded(**changes)
    data, source, spec = loaded(**changes, dataset__ignore_unmatched=True)
    pictures = build_data(spec, "cpu")
    assert data.query.labels.tolist() == pictures.query.labels.tolist()
    assert data.query.paths == pictures.query.paths
    all_NF = source.clean(data._folders["query"]).features_VNF[0]
    found = torch.cat(list(data.eval_batches("query", 64))).numpy()
    np.testing.assert_array_equal(found, all_NF[:8])


def test_features_alone_are_enough(loaded, monkeypatch):
    loaded(dataset__feature_views=2)
    for entry in list_caches():
        if entry.kind == "images":
            clear_caches(names=[entry.name])
    monkeypatch.setattr("trainer.data.decoding.decode_image", None)
    assert len(list(loaded(dataset__feature_views=2)[0].train_batches(0))) == 2


def test_a_split_that_is_not_named_is_asked_for(loaded):
    data = loaded()[0]
    data.query = None
    with pytest.raises(SpecError, match=r"dataset\.val_dataset\.query: must be given"):
        next(data.eval_batches("query", 4))


def test_what_was_done_to_pictures_can_be_read_back(loaded):
    data = loaded(dataset__feature_views=2, dataset__prob=0.25, dataset__pixel_mean=[0.4])[0]
    assert data.applied_augmentation["dataset.feature_views"] == 2
    assert data.applied_augmentation["dataset.prob"] == 0.25
    assert data.applied_augmentation["dataset.gaussian_blur.kernel"] == [3, 3]
    assert data.applied_preprocessing["dataset.pixel_mean"] == [0.4]
    assert data.input_shape == (3, 32, 32)
    assert loaded()[0].applied_augmentation == {"dataset.feature_views": 0}


def test_mirror_images_have_features_of_their_own(loaded):
    data, source, spec = loaded(dataset__flip_average=True)
    trunk, rows = source._trunk.eval(), []
    for images in build_data(spec, "cpu").eval_batches("query", 5):
        with torch.no_grad():
            rows.append(trunk(images.flip(-1)))
    found = torch.cat(list(data.eval_batches("query", 7, is_mirrored=True)))
    torch.testing.assert_close(found, torch.cat(rows), rtol=0, atol=1e-5)
    assert (found - torch.cat(list(data.eval_batches("query", 7)))).abs().max() > 1e-3
