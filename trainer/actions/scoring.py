"""Compares forms of one exported model under onnxruntime: Precision@1, milliseconds and bytes."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer import metrics
from trainer.data.batches import build_data
from trainer.data.framing import ImageSize
from trainer.encoders import as_matched, onnx_encoder
from trainer.errors import CheckpointError
from trainer.matching import make_entries
from trainer.onnx_model import OnnxModel
from trainer.retrieval import search

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.batches import RecognitionData

_BATCH = 32
_TIMED_RUNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one form of a model does and costs."""

    precision_at_1: float
    """Mean over classes, on the validation queries."""
    milliseconds: float
    """A picture, median of several runs of one batch with as many threads as onnxruntime takes."""
    num_bytes: int
    """Of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Scores forms of a model on the validation pictures of a spec, which are read once."""

    spec: Spec
    data: RecognitionData
    labels_G: NDArray[np.int64]  # noqa: N815 - shape suffix
    labels_Q: NDArray[np.int64]  # noqa: N815 - shape suffix
    fresh_Q: NDArray[np.bool_]  # noqa: N815 - shape suffix
    """Queries that count: those that nothing was calibrated on."""

    @property
    def num_queries(self) -> int:
        """Number of queries that count."""
        return int(self.fresh_Q.sum())

    def score(self, path: Path) -> Score:
        """Score one ONNX file."""
        data, model, labels_Q = self.data, OnnxModel(path), self.labels_Q[self.fresh_Q]
        encoder = as_matched(onnx_encoder(model), self.spec)
        gallery = encoder(data.eval_batches("reference", _BATCH))
        query = encoder(data.eval_batches("query", _BATCH))[self.fresh_Q]
        entries = make_entries(gallery, self.labels_G, self.spec.dataset.matching)
        nearest, _ = search(query, entries.unit, 1)
        hits_Q = entries.labels_E[nearest[:, 0]] == labels_Q
        return Score(
            precision_at_1=metrics.precision_at_1(hits_Q, labels_Q)[metrics.CLASS_MEAN],
            milliseconds=self._milliseconds(model),
            num_bytes=path.stat().st_size,
        )

    def _milliseconds(self, model: OnnxModel) -> float:
        images = next(iter(self.data.eval_batches("reference", _BATCH))).cpu().numpy()
        images = images[: model.facts.get("max_batch_size", len(images))]
        model.run(images)
        seconds = []
        for _ in range(_TIMED_RUNS):
            start = time.perf_counter()
            model.run(images)
            seconds.append(time.perf_counter() - start)
        return 1000 * statistics.median(seconds) / len(images)


def make_scorer(spec: Spec, model: OnnxModel, calibrated: Collection[Path]) -> Scorer | None:
    """Return a scorer; None where the spec names no reference and query, or no query is left.

    Args:
        spec: names `dataset.val_dataset.reference` and `query`.
        model: says the size of its pictures.
        calibrated: picture files that do not count as queries.
    """
    val = spec.dataset.val_dataset
    if not (val.reference and val.query):
        return None
    data = build_data(with_size_of(spec, model), torch.device("cpu"), need_train=False)
    if data.reference is None or data.query is None:
        return None
    seen = {path.resolve() for path in calibrated}
    fresh_Q = np.array([path.resolve() not in seen for path in data.query.paths])
    labels = {"labels_G": data.reference.labels, "labels_Q": data.query.labels}
    return Scorer(spec=spec, data=data, fresh_Q=fresh_Q, **labels) if fresh_Q.any() else None


def size_of(model: OnnxModel) -> ImageSize:
    """Return the size of the pictures that an ONNX file takes.

    Raises:
        CheckpointError: the file leaves it open.
    """
    if model.height is None or model.width is None or model.channels is None:
        raise CheckpointError(
            f"{model.path}: height, width and channels of its input must be fixed"
        )
    return ImageSize(height=model.height, width=model.width, channels=model.channels)


def with_size_of(spec: Spec, model: OnnxModel) -> Spec:
    """Return the spec with the picture size of the file, which the deploy templates do not give."""
    size = size_of(model)
    changes: dict[str, Any] = {
        "input_height": size.height, "input_width": size.width, "input_channels": size.channels,
    }  # fmt: skip
    return dataclasses.replace(spec, model=dataclasses.replace(spec.model, **changes))
