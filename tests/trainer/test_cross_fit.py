"""Scores of queries as pictures of classes that the model was not trained on."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.count_calls import count_calls
from tests.trainer.tiny import make_splits, train_spec
from trainer.actions.explain import explain
from trainer.actions.export import export
from trainer.cross_fit import _Views, with_unseen_of
from trainer.encoders import as_trained, load_model
from trainer.gallery import GalleryIndex
from trainer.spec import parse_spec
from trainer.training import fit

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A head on a frozen trunk, trained on nine classes and exported."""
    folder = tmp_path_factory.mktemp("made")
    splits = make_splits(folder / "pictures", classes=9)
    spec = train_spec(
        splits, folder, train__num_epochs=2, train__train_trunk=False, dataset__feature_views=0,
        train__optim__embedder__base_lr=1e-2, train__batch_size=8,
    )  # fmt: skip
    fit(spec, lambda report: True)
    checkpoint = folder / "ckpt" / "last.ckpt"
    files = {"export.checkpoint": str(checkpoint), "export.onnx_file": f"{folder}/model.onnx"}
    export(parse_spec(spec | files, "export"))
    gallery = GalleryIndex.load(folder / "gallery.npz")
    trained = as_trained(checkpoint, parse_spec(spec | files, "export"))
    return gallery, trained, checkpoint


def test_an_export_knows_every_query_as_unseen(made):
    gallery, _, _ = made
    assert np.isfinite(gallery.queries.shift_Q).all()
    assert not gallery.calibration.is_trained_Q.any()
    plain = dataclasses.replace(
        gallery, queries=dataclasses.replace(gallery.queries, shift_Q=None), measured=None
    )
    assert plain.calibration.is_trained_Q.all()
    moved = gallery.calibration.outside_Q - plain.calibration.outside_Q
    assert moved == pytest.approx(gallery.queries.shift_Q, abs=1e-6)


def test_a_report_trains_no_heads_again(made):
    """It shows what the export's gallery tells of unknown pictures."""
    _, spec, checkpoint = made
    spec = dataclasses.replace(
        spec, evaluate=dataclasses.replace(spec.evaluate, checkpoint=str(checkpoint))
    )
    assert count_calls(explain, spec, of="train_head") == 0


def test_a_fold_is_scored_by_a_head_that_never_saw_it(made):
    gallery, spec, checkpoint = made
    views = _Views(spec, load_model(checkpoint, spec, CPU))
    names = np.array(gallery.queries.names)
    fold = {"class_02", "class_07"}
    emb_GD, emb_QD = views.embedded_without(fold)
    again_GD, _ = views.embedded_without(fold)
    assert np.array_equal(emb_GD, again_GD)
    # Other pictures of the fold's training folders would change nothing.
    rows = np.isin(np.array(views.keys)[views._labels_N], list(fold))
    views._train_NF = np.where(rows[:, None], np.float32(1e3), views._train_NF)
    unmoved_GD, _ = views.embedded_without(fold)
    assert np.array_equal(emb_GD, unmoved_GD)
    assert not np.array_equal(emb_GD, views.embedded_without({"class_03"})[0])
    assert len(emb_QD) == len(names)


def test_without_the_training_pictures_nothing_is_claimed(made, tmp_path, caplog):
    gallery, spec, checkpoint = made
    plain = dataclasses.replace(
        gallery, queries=dataclasses.replace(gallery.queries, shift_Q=None), measured=None
    )
    gone = dataclasses.replace(
        spec, dataset=dataclasses.replace(spec.dataset, train_dataset=str(tmp_path / "gone"))
    )
    with caplog.at_level(logging.INFO, "trainer.cross_fit"):
        assert with_unseen_of(plain, gone, checkpoint, CPU) is plain
    assert "calibrated by seen classes alone" in caplog.text
    assert with_unseen_of(plain, spec, Path("model.onnx"), CPU) is plain


def test_an_embedder_that_did_not_learn_saw_no_class(made):
    """Its scores are those of unknown classes as they are, whatever the class vectors learnt."""
    gallery, spec, checkpoint = made
    plain = dataclasses.replace(
        gallery, queries=dataclasses.replace(gallery.queries, shift_Q=None), measured=None
    )
    frozen = dataclasses.replace(spec, train=dataclasses.replace(spec.train, train_embedder=False))
    found = with_unseen_of(plain, frozen, checkpoint, CPU)
    assert found.calibration.outside_Q.tolist() == plain.calibration.outside_Q.tolist()
    assert not found.calibration.is_trained_Q.any()
    assert plain.calibration.is_trained_Q.all()


def test_a_batch_of_all_classes_is_one_of_those_that_are_left(made):
    gallery, spec, checkpoint = made
    model, left_out = load_model(checkpoint, spec, CPU), {"class_02", "class_07"}
    of_size = {
        size: dataclasses.replace(spec, train=dataclasses.replace(spec.train, batch_size=size))
        for size in (36, 28)  # nine classes, and seven
    }
    whole, left = (_Views(own, model).embedded_without(left_out) for own in of_size.values())
    for one, other in zip(whole, left, strict=True):
        assert np.array_equal(one, other)
    plain = dataclasses.replace(
        gallery, queries=dataclasses.replace(gallery.queries, shift_Q=None), measured=None
    )
    calibrated = with_unseen_of(plain, of_size[36], checkpoint, CPU)
    assert np.isfinite(calibrated.queries.shift_Q).all()
