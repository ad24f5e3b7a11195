"""What a trunk is worth before anything is trained: Precision@1 of its features, and its cost.

Shapes: Q queries, G reference pictures, C classes among the queries.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.actions.export import write_onnx
from trainer.data.splits import label_splits, match_splits, scan_splits
from trainer.data.value_range import resolved
from trainer.devices import image_layout, pick_device, wants_bf16
from trainer.embedding import needed
from trainer.features.source import FeatureSource
from trainer.matching import NEAREST, PROTOTYPES, make_entries, mean_of_views
from trainer.measuring import measure
from trainer.metrics import CLASS_MEAN, QUERY_MEAN, precision_at_1
from trainer.models.recognizer import build_recognizer, has_pretrained_weights
from trainer.retrieval import search
from trainer.training import isolated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.config.root import Spec
    from trainer.data.folder import ImageFolder

_RESAMPLES = 1000
_BOOTSTRAP_SEED = 0
_QUANTILES = (0.025, 0.975)


def screen(spec: Spec) -> dict[str, Any]:
    """Match the queries of a train spec by the features of its trunk, before any training.

    The features are those that a head on the frozen trunk would learn from; they are found in the
    cache or kept there.

    Returns:
        `nearest` and `prototypes` (the values of `dataset.matching`), each with `query_mean`,
        `class_mean` and, for both, `<name>_interval` (95 %, by bootstrap over the queries, within
        each class); `latency_ms`, `params` and `device` as `trainer.measuring.measure`;
        `export_bytes` (of the ONNX file of trunk and head); `num_features`, `num_queries`,
        `num_reference`, `weights` (digest of the trunk's) and `random_weights`.

    Raises:
        TrainerError: the spec, its pictures or its weights cannot be used.
    """
    seeded = spec if spec.train.seed >= 0 else _with_seed(spec)
    device = pick_device(seeded.train.gpu_ids[0])
    with isolated(seeded, device):
        folders = scan_splits(seeded, need_train=False)
        checked = resolved(seeded, folders)
        labelled = label_splits(checked, folders)
        query = needed(labelled.get("query"), "val_dataset.query")
        reference = needed(labelled.get("reference"), "val_dataset.reference")
        match = match_splits(checked, folders)
        model = build_recognizer(checked).to(device).eval()
        model = model.to(memory_format=image_layout(model, device))
        use_bf16 = wants_bf16(checked.train.precision, device)
        source = FeatureSource(checked, model.trunk, use_bf16=use_bf16)
        query_QF = _features(source, folders["query"], checked)
        if match is not None:
            query_QF = query_QF[match.keep]
        reference_GF = _features(source, folders["reference"], checked)
        found: dict[str, Any] = {}
        for matching in (NEAREST, PROTOTYPES):
            entries = make_entries(reference_GF, reference.labels, matching)
            nearest_QK, _ = search(query_QF, entries.unit, 1)
            hits_Q = entries.labels_E[nearest_QK[:, 0]] == query.labels
            found[matching] = dict(precision_at_1(hits_Q, query.labels)) | _intervals(
                hits_Q, query.labels
            )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            write_onnx(model, checked, file)
            export_bytes = file.stat().st_size
        return {
            **found,
            **measure(checked),
            "export_bytes": export_bytes,
            "num_features": source.num_features,
            "num_queries": len(query.labels),
            "num_reference": len(reference.labels),
            "weights": source.digest,
            "random_weights": not has_pretrained_weights(checked),
        }


def _with_seed(spec: Spec) -> Spec:
    return replace(spec, train=replace(spec.train, seed=0))


def _features(source: FeatureSource, folder: ImageFolder, spec: Spec) -> NDArray[np.float32]:
    plain_NF: NDArray[np.float32] = source.clean(folder).features_VNF[0]
    if not spec.dataset.flip_average:
        return plain_NF
    return mean_of_views(plain_NF, source.clean(folder, is_mirrored=True).features_VNF[0])


def _intervals(hits_Q: NDArray[np.bool_], labels_Q: NDArray[np.int64]) -> dict[str, list[float]]:
    """Bounds between which 95 % of resampled means lie; each class keeps its number of queries."""
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    classes, counts_C = np.unique(labels_Q, return_counts=True)
    rates_C = np.array([hits_Q[labels_Q == label].mean() for label in classes])
    # Hits among n queries drawn with replacement are binomial: no query need be drawn.
    drawn_RC = rng.binomial(counts_C, rates_C, size=(_RESAMPLES, len(classes)))
    means = {
        QUERY_MEAN: drawn_RC.sum(axis=1) / counts_C.sum(),
        CLASS_MEAN: (drawn_RC / counts_C).mean(axis=1),
    }
    return {
        f"{name}_interval": [float(bound) for bound in np.quantile(values_R, _QUANTILES)]
        for name, values_R in means.items()
    }
