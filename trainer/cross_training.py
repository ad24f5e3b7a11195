"""How near pictures of unknown classes come to a network whose trunk was trained on all classes.

No head can undo what the trunk has learnt, so the training itself is repeated without a part of the
classes (cross-fitting): they are dealt out to folds, and for each fold the same recipe trains from
the same start on the classes of the others. Against a gallery of these others the fold's queries
are pictures of unknown classes. (The fold's other classes are left out of that gallery: a network
draws unknown pictures to what it was trained on far more than to what it was not.) What these
scores differ by from the model's own is kept with the queries of its gallery, as
`trainer.cross_fit` does for heads.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.actions.evaluate import embed_splits
from trainer.actions.predict import GALLERY
from trainer.array_files import open_arrays, save_arrays
from trainer.checkpoints import LAST
from trainer.config.shape import flatten
from trainer.data.lists import write_list
from trainer.data.names import name_key
from trainer.data.splits import SPLIT_KEYS, label_splits, scan_splits
from trainer.errors import DataError
from trainer.forms.exported import Exported
from trainer.gallery import GalleryIndex, model_digest
from trainer.gallery_file import changing
from trainer.limits import most_in_batch, num_steps
from trainer.models.weights import read_checkpoint
from trainer.spec import parse_spec, spec_to_dict
from trainer.unknowns import LEAST_CLASSES, LEAST_GALLERY, Queries

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.decoding import Progress
    from trainer.retrieval import Floats

FOLDS = 2
"""Two trainings with half of the classes and pictures each cost as much as the model did."""
HEAD_EPOCHS = 20
"""Of a head that the model began with, where the checkpoint that held it is gone."""
_SCORES = "scores.npz"
_TRAININGS = re.compile(r"[0-9a-f]{16}-\d+")
"""Names of the folders that trainings are kept in."""
_SEED = 0


class CrossTraining:
    """The trainings of one export without a part of its classes.

    Args:
        folder: of the export: `model.ckpt`, `spec.yaml` and `gallery.npz`.
        folds: how many trainings; each leaves out as many of the classes as the others.

    Attributes:
        folds: names of the classes that each training leaves out.

    Raises:
        DataError: there is nothing to calibrate, or there are too few classes.
        TrainerError: the export is not whole, or its pictures are gone.
    """

    def __init__(self, folder: Path, folds: int = FOLDS) -> None:
        exported = Exported(folder)
        self._gallery, self._checkpoint = folder / GALLERY, exported.weights.path
        self._spec = exported.spec
        self._payload = exported.weights.content
        self._pictures = scan_splits(self._spec)
        self._labelled = label_splits(self._spec, self._pictures)
        keys = sorted(map(name_key, self._payload.get("class_names") or ()))
        shown = set(map(name_key, self._labelled["reference"].class_names))
        gallery = GalleryIndex.load(self._gallery)
        _check(gallery, self._spec, len(shown.intersection(keys)), folds)
        dealt = np.random.default_rng(_SEED).permutation(np.array(keys)).tolist()
        dealt.sort(key=lambda key: key not in shown)  # every fold gets its share of the gallery
        self.folds = [frozenset(dealt[first::folds]) for first in range(folds)]

    def calibrate(self, work: Path, fit: Callable[..., Any], progress: Progress) -> dict[str, Any]:
        """Train what is not trained yet, and keep what comes of it with the gallery.

        Args:
            work: where trainings are kept; those of another model or other folds are removed.
            fit: trains a spec, as `trainer.session.RecognitionTrainer.fit` does.
            progress: called with (what, done, total).

        Returns:
            `trainings` (how many were made now), `queries` (how many tell of unknown classes now),
            and `unknowns`, as `Calibration.described`.

        Raises:
            DataError: the pictures have changed since the export.
            TrainerError: a training failed.
        """
        mine = work / f"{model_digest(self._checkpoint)[:16]}-{len(self.folds)}"
        for other in set(work.glob("*")) - {mine}:
            if _TRAININGS.fullmatch(other.name) and other.is_dir() and not other.is_symlink():
                shutil.rmtree(other)
        names, own_Q = self._scores(self._checkpoint, frozenset())
        _same_queries(self._gallery, GalleryIndex.load(self._gallery), names)
        keys_Q = np.array([name_key(name) for name in names])
        shift_Q = np.full(len(names), np.nan, dtype=np.float32)
        trainings = 0
        for number, fold in enumerate(self.folds, start=1):
            file = mine / str(number) / _SCORES
            if (scores_Q := _read_scores(file, names, fold)) is None:
                what = f"training {number} of {len(self.folds)}"
                training = _Training(file.with_name("training"), what, fit, progress)
                scores_Q = self._train(fold, training)
                facts = {"names": np.array(names), "left_out": np.array(sorted(fold))}
                save_arrays(file, {"scores": scores_Q, **facts})
                shutil.rmtree(training.place)
                trainings += 1
            rows_Q = np.isin(keys_Q, list(fold))
            shift_Q[rows_Q] = (scores_Q - own_Q)[rows_Q]
        with changing(self._gallery) as change:
            queries = _same_queries(self._gallery, change.index, names)
            calibrated = replace(queries, shift_Q=shift_Q)
            change.index = replace(change.index, queries=calibrated, measured=None)
        return {
            "trainings": trainings,
            "queries": int(np.isfinite(shift_Q).sum()),
            "unknowns": change.index.scored().described(),
        }

    def _train(self, fold: frozenset[str], training: _Training) -> Floats:
        """Train without a fold, and return the scores of all queries."""
        self._repeat(spec_to_dict(self._spec), self._payload, fold, training)
        return self._scores(training.place / LAST, fold)[1]

    def _repeat(
        self,
        nested: Mapping[str, Any],
        payload: Mapping[str, Any],
        fold: frozenset[str],
        training: _Training,
    ) -> None:
        """Repeat without a fold the training that a checkpoint came of, up to the same epoch."""
        spec = flatten(nested)
        reached = payload.get("progress") or {}  # an average of several models holds none
        epochs = max(int(reached.get("epoch", spec["train.num_epochs"])), 1)
        spec |= self._without(fold, spec, training.place) | _written_at(epochs, spec)
        training.run(spec | self._head_without(spec, fold, training), epochs)

    def _head_without(
        self, spec: Mapping[str, Any], fold: frozenset[str], training: _Training
    ) -> dict[str, Any]:
        """Train the head anew that a training began with, which had seen all classes."""
        if not spec.get("train.head_checkpoint"):
            return {}
        file = self._beside(Path(spec["train.head_checkpoint"]))
        if not file.is_file():
            return {"train.head_checkpoint": "", "train.head_epochs": HEAD_EPOCHS}
        head = replace(training, place=training.place / "head", what=f"{training.what}, its head")
        payload = read_checkpoint(file)
        self._repeat(payload["spec"], payload, fold, head)
        return {"train.head_checkpoint": str(head.place / LAST)}

    def _beside(self, file: Path) -> Path:
        """A file where it lies now: it may have been moved, or copied, with the export."""
        place = Path(self._spec.results_dir)
        if not (place.is_absolute() and file.is_absolute()):
            return file
        here = self._gallery.parent / os.path.relpath(file, place)
        return here if here.is_file() else file

    def _without(
        self, fold: frozenset[str], spec: Mapping[str, Any], place: Path
    ) -> dict[str, Any]:
        """What is different in a training without a fold: it has fewer pictures and steps."""
        train = self._labelled["train"]
        is_kept = np.array([name_key(name) not in fold for name in train.class_names])
        place.mkdir(parents=True, exist_ok=True)
        kept = np.flatnonzero(is_kept[train.labels]).tolist()
        write_list(place / "train.csv", self._pictures["train"], kept)
        recipe, val = parse_spec(spec, "train", is_complete=False), self._spec.dataset.val_dataset
        batch = min(recipe.train.batch_size, most_in_batch(recipe, len(kept), int(is_kept.sum())))
        own = replace(recipe, train=replace(recipe.train, batch_size=batch))
        share = num_steps(own, len(kept)) / num_steps(recipe, len(train.labels))
        return {
            "results_dir": str(place),
            "train.batch_size": batch,
            "train.optim.warmup_iters": max(round(recipe.train.optim.warmup_iters * share), 1),
            SPLIT_KEYS["train"]: str(place / "train.csv"),
            SPLIT_KEYS["reference"]: val.reference,
            SPLIT_KEYS["query"]: val.query,
        }

    def _scores(self, checkpoint: Path, left_out: frozenset[str]) -> tuple[tuple[str, ...], Floats]:
        """Names of the queries' classes, and their scores as pictures of unknown classes.

        A query's own class is left out of the gallery, and so are some other ones.
        """
        asked = {"evaluate.checkpoint": str(checkpoint)}
        spec = parse_spec(flatten(spec_to_dict(self._spec)) | asked, "evaluate")
        gallery, _, emb_QD, query = embed_splits(spec)
        is_in = np.array([name_key(name) not in left_out for name in gallery.class_names])
        names = [query.class_names[label] for label in query.labels]
        queries = Queries.of(emb_QD, names, ())
        some = gallery.taken(np.flatnonzero(is_in[gallery.labels_G]))
        return queries.names, replace(some, queries=queries).scored().outside_Q


@dataclass(frozen=True)
class _Training:
    """One training: where it lies, what it is called, and what does it."""

    place: Path
    what: str
    fit: Callable[..., Any]
    progress: Progress

    def run(self, spec: Mapping[str, Any], epochs: int) -> None:
        """Train up to an epoch, from the last one that is there."""
        last = self.place / LAST
        self.progress(self.what, 0, epochs)

        def report(epoch: Mapping[str, Any]) -> bool:
            self.progress(self.what, epoch["epoch"], epochs)
            return bool(epoch["epoch"] < epochs)

        self.fit(spec, report, last if last.is_file() else None)


def _written_at(epochs: int, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Let a training begin by itself, and report and write the epoch that it is to end with."""
    return {
        "train.resume_training_checkpoint_path": "",
        "train.checkpoint_interval": 1,
        "train.checkpoint_interval_unit": "epoch",
        "train.validation_interval": math.gcd(spec.get("train.validation_interval", 1), epochs),
    }


def _read_scores(file: Path, names: tuple[str, ...], fold: frozenset[str]) -> Floats | None:
    """Scores that an earlier training gave; None where it was another one, or none is whole."""
    try:
        kept = open_arrays(file)
        is_same = tuple(kept["names"].tolist()) == names and fold == set(kept["left_out"].tolist())
        return kept["scores"] if is_same else None
    except (OSError, ValueError, KeyError):
        return None


def _same_queries(file: Path, gallery: GalleryIndex, names: tuple[str, ...]) -> Queries:
    """The queries of a gallery, which must be of these classes.

    Raises:
        DataError: they are others.
    """
    if gallery.queries is None or gallery.queries.names != names:
        raise DataError(
            f"{file}: its validation queries must be those of {SPLIT_KEYS['query']}, and are "
            "others; export it again"
        )
    return gallery.queries


def _check(gallery: GalleryIndex, spec: Spec, classes: int, folds: int) -> None:
    if why := gallery.scored().refusal(1.0):
        raise DataError(f"no threshold for unknown pictures: {why}")
    queries = gallery.queries
    is_seen = queries is not None and queries.is_trained_Q.any()
    # An export calibrates heads where the training pictures are at hand.
    is_told = queries is not None and queries.shift_Q is not None and not spec.train.train_trunk
    if is_told or not is_seen:
        why = "its trunk was not trained" if is_seen else "it was trained on no class of a query"
        raise DataError(
            f"the export has calibrated unknown pictures of this model already, as {why}: there is "
            "nothing to do"
        )
    if folds < FOLDS:
        raise DataError(f"trainings: must be {FOLDS} or more, got {folds}")
    least = max(LEAST_CLASSES, 2 * LEAST_GALLERY, folds)
    if classes < least:
        raise DataError(
            f"{least} trained classes with gallery pictures are needed for {folds} trainings "
            f"without a part of them, got {classes}"
        )
