"""Scores pictures of unknown classes by cross-fitting: heads trained without those classes.

For models whose trunk was not trained. A head holds the classes that it was trained on apart, which
it does not do for others, so queries of these classes tell too little of unknown ones. Here the
classes are dealt out to folds, and for each fold a head is trained on the trunk's features without
it: to that head the fold's queries are pictures of unknown classes (cross-fitting). What their
scores differ by from the model's own is kept with the queries.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.image_bank import ImageBank
from trainer.data.names import name_key
from trainer.data.splits import label_splits, match_splits, scan_splits
from trainer.data.value_range import resolved
from trainer.embedding import evaluating
from trainer.encoders import ENGINE_SUFFIXES, ModelFile, load_model
from trainer.errors import TrainerError
from trainer.features.loop import one_thread
from trainer.features.source import FeatureSource
from trainer.gallery import GalleryIndex
from trainer.head_first import train_head
from trainer.isolation import seeded
from trainer.limits import most_in_batch
from trainer.matching import mean_of_views
from trainer.models.recognizer import Recognizer, add_head
from trainer.retrieval import Floats, Indices
from trainer.unknowns import LEAST_CLASSES, kept_rows
from trainer.vectors import Vectors

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.folder import ImageFolder

FOLDS = 8
_MOST_PICTURES = 20_000
_SEED = 0

_logger = logging.getLogger(__name__)


def with_unseen(gallery: GalleryIndex, spec: Spec, model: Recognizer) -> GalleryIndex:
    """Return the gallery with queries that know how near they come when their class is unseen.

    Args:
        gallery: of the model, with the queries of `spec.dataset.val_dataset`.
        spec: as the model was trained, with its training pictures.
        model: the recognizer, on the device to compute on.

    Returns:
        The gallery unchanged where the trunk was trained too, which no head can undo, where no
        query's class was trained on, and, which is logged, where the classes are too few or the
        training pictures are not at hand.
    """
    queries = gallery.queries
    if queries is None or not queries.is_trained_Q.any():
        return gallery
    if spec.train.train_trunk or gallery.calibration is None:
        return gallery
    shift_Q = np.zeros(len(queries.names), dtype=np.float32)  # of an embedder that did not learn
    if spec.train.train_embedder:
        try:
            shift_Q = _shift(gallery, _Views(spec, model))
        except TrainerError as error:
            _logger.info("unknown pictures are calibrated by seen classes alone: %s", error)
            return gallery
    return replace(gallery, queries=replace(queries, shift_Q=shift_Q), measured=None)


def with_unseen_of(
    gallery: GalleryIndex, spec: Spec, file: Path | ModelFile, device: torch.device
) -> GalleryIndex:
    """Do as `with_unseen` by a checkpoint; by other model files the gallery stays unchanged."""
    path = file.path if isinstance(file, ModelFile) else file
    if path.suffix.lower() in (".onnx", *ENGINE_SUFFIXES):
        return gallery
    return with_unseen(gallery, spec, load_model(file, spec, device))


class _Views:
    """Features of all splits by the trunk of a model, and heads trained on a part of them."""

    def __init__(self, spec: Spec, model: Recognizer) -> None:
        folders = scan_splits(spec)
        self._spec, self._model = resolved(spec, folders), model
        self._device = next(model.parameters()).device
        self._source = FeatureSource(self._spec, model.trunk)
        labelled = label_splits(self._spec, folders)
        train = labelled["train"]
        self._labels_N = train.labels
        self.keys = [name_key(name) for name in train.class_names]
        self._train_NF = self._source.clean(folders["train"]).features_VNF[0]
        self._reference = self._of(folders["reference"])
        match = match_splits(self._spec, folders)
        queries = self._of(folders["query"])
        rows = kept_rows(len(labelled["query"].labels))
        self._query = [view[match.keep][rows] if match else view[rows] for view in queries]

    def _of(self, folder: ImageFolder) -> list[NDArray[np.float32]]:
        """Features of a folder's pictures, and of their mirror images where both are used."""
        is_both = self._spec.dataset.flip_average
        return [
            self._source.clean(folder, is_mirrored=is_mirrored).features_VNF[0]
            for is_mirrored in ((False, True) if is_both else (False,))
        ]

    def embedded_without(self, left_out: set[str]) -> tuple[Floats, Floats]:
        """Train a head without some classes; return what it makes of gallery and queries."""
        is_kept = np.array([key not in left_out for key in self.keys])
        rows = np.flatnonzero(is_kept[self._labels_N])
        if len(rows) > _MOST_PICTURES:
            rows = np.sort(np.random.default_rng(_SEED).choice(rows, _MOST_PICTURES, replace=False))
        classes, labels_N = np.unique(self._labels_N[rows], return_inverse=True)
        embedder = self._head(self._train_NF[rows], labels_N.astype(np.int64), len(classes))
        return self._embed(embedder, self._reference), self._embed(embedder, self._query)

    def _head(
        self, features_NF: NDArray[np.float32], labels_N: Indices, num_classes: int
    ) -> torch.nn.Module:
        from trainer.module import RecognitionModule  # loads Lightning, for seconds

        train = self._spec.train
        own = replace(
            train, seed=max(train.seed, 0), train_trunk=False, ema_decay=0.0, compile=False,
            optim=replace(train.optim, layer_decay=1.0),
            batch_size=min(
                train.batch_size, most_in_batch(self._spec, len(labels_N), num_classes)
            ),
        )  # fmt: skip
        spec = replace(self._spec, train=own)
        with seeded(own.seed, self._device), one_thread():
            head = add_head(self._model.trunk, spec.model).to(self._device)
            module = RecognitionModule(
                spec, head, num_classes=num_classes, num_batches=1, takes_features=True
            )
            train_head(
                module,
                spec,
                ImageBank(features_NF, self._device),
                torch.from_numpy(labels_N).to(self._device),
                train.num_epochs,
            )
        return head.embedder

    def _embed(self, embedder: torch.nn.Module, views: list[NDArray[np.float32]]) -> Floats:
        with evaluating(embedder):
            made: list[Floats] = [
                embedder(torch.from_numpy(np.array(view)).to(self._device)).cpu().numpy()
                for view in views
            ]
        return made[0] if len(made) == 1 else mean_of_views(*made)


def _shift(gallery: GalleryIndex, views: _Views) -> Floats:
    queries, calibration = gallery.queries, gallery.calibration
    if queries is None or calibration is None:
        raise ValueError("the gallery holds queries")
    keys = np.array([name_key(name) for name in queries.names])
    trained = sorted(set(keys[queries.is_trained_Q]) & set(views.keys))
    if len(trained) < LEAST_CLASSES:
        raise TrainerError(f"{LEAST_CLASSES} trained classes with queries are needed")
    shift_Q = np.full(len(keys), np.nan, dtype=np.float32)
    dealt = np.random.default_rng(_SEED).permutation(np.array(trained))
    for fold in np.array_split(dealt, FOLDS):
        rows = np.flatnonzero(np.isin(keys, fold))
        emb_GD, emb_QD = views.embedded_without(set(fold.tolist()))
        asked = replace(queries, emb_QD=emb_QD.astype(np.float32), shift_Q=None)
        unseen = replace(
            gallery, vectors=Vectors.of(emb_GD), queries=asked, graph=None, measured=None
        ).calibration
        if unseen is None:
            raise ValueError("the gallery has scores")
        shift_Q[rows] = unseen.outside_Q[rows] - calibration.outside_Q[rows]
    return shift_Q
