"""Prototypes and mirror images against loops over single pictures."""

import numpy as np
import pytest
import torch

from trainer.encoders import as_matched
from trainer.errors import DivergedError
from trainer.matching import NEAREST, PROTOTYPES, embed_with_mirror_images, make_entries
from trainer.spec import parse_spec

RNG = np.random.default_rng(3)
LABELS = np.array([4, 1, 4, 1, 7, 4, 1, 1])
EMB = RNG.normal(size=(8, 5)) * RNG.uniform(0.1, 9.0, size=(8, 1))


def unit(row):
    return row / np.sqrt(sum(v * v for v in row))


def slow_prototypes():
    return {
        label: unit(sum(unit(row) for row, own in zip(EMB, LABELS, strict=True) if own == label))
        for label in (1, 4, 7)
    }


def test_a_prototype_is_the_mean_of_unit_vectors_and_is_shown_by_its_nearest_picture():
    entries = make_entries(EMB, LABELS, PROTOTYPES)
    assert entries.labels_E.tolist() == [1, 4, 7]
    for number, (label, mean) in enumerate(slow_prototypes().items()):
        np.testing.assert_allclose(entries.unit.unit_GD[number], mean, rtol=1e-5)
        members = [i for i in range(8) if LABELS[i] == label]
        nearest = min(members, key=lambda i: np.linalg.norm(unit(EMB[i]) - mean))
        assert entries.pictures_E[number] == nearest


def test_without_prototypes_every_picture_is_an_entry():
    entries = make_entries(EMB, LABELS, NEAREST)
    assert entries.labels_E.tolist() == LABELS.tolist()
    assert entries.pictures_E.tolist() == list(range(8))
    np.testing.assert_allclose(entries.unit.unit_GD[2], unit(EMB[2]), rtol=1e-6)


def test_mirror_images_are_embedded_too_and_the_unit_vectors_averaged():
    weights = RNG.normal(size=(5, 2 * 3 * 4))
    images = RNG.normal(size=(7, 2, 3, 4))

    def encoder(batches):
        flat = [np.asarray(batch).reshape(len(batch), -1) for batch in batches]
        return np.concatenate(flat) @ weights.T

    batches = torch.from_numpy(images).split([3, 3, 1])
    spec = parse_spec({"dataset.flip_average": True}, "train", is_complete=False)
    found = as_matched(encoder, spec)(batches)
    for row, image in zip(found, images, strict=True):
        turned = np.stack([[list(reversed(line)) for line in plane] for plane in image])
        both = [unit(weights @ view.reshape(-1)) for view in (image, turned)]
        np.testing.assert_allclose(row, (both[0] + both[1]) / 2, rtol=1e-5, atol=1e-7)


def test_embeddings_that_are_not_finite_are_refused():
    def broken(batches):
        return np.full((sum(len(batch) for batch in batches), 2), np.nan)

    with pytest.raises(DivergedError, match="must be finite"):
        embed_with_mirror_images(broken, [np.ones((2, 3))], lambda batch: batch)
