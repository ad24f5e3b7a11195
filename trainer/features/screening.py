"""What a trunk is worth before anything is trained: Precision@1 of its features, and its cost.

Shapes: Q queries, G reference pictures, C classes among the queries.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.actions.export import write_onnx
from trainer.data.splits import label_splits, match_splits, scan_splits
from trainer.data.value_range import resolved
from trainer.devices import image_layout, pick_device, wants_bf16
from trainer.errors import SpecError
from trainer.features.source import FeatureSource
from trainer.features.thinning import thin_out
from trainer.isolation import isolated
from trainer.matching import NEAREST, PROTOTYPES, make_entries, mean_of_views
from trainer.measuring import measure
from trainer.metrics import CLASS_MEAN, QUERY_MEAN, mean_intervals, precision_at_1
from trainer.models.recognizer import build_recognizer, has_pretrained_weights
from trainer.onnx_model import refuse_large
from trainer.retrieval import search

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainer.config.root import Spec
    from trainer.data.decoding import Progress
    from trainer.data.folder import ImageFolder
    from trainer.data.splits import Split
    from trainer.models.recognizer import Recognizer

_RESAMPLES = 1000


def screen(
    spec: Spec,
    *,
    most: int | None = None,
    with_cost: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Match the queries of a train spec by the features of its trunk, before any training.

    The features are those that a head on the frozen trunk would learn from; they are found in the
    cache or kept there.

    Args:
        spec: training pictures are not needed.
        most: use no more than so many pictures of the gallery and of the queries (`thin_out`).
        with_cost: also time the model and export it, which takes seconds.
        progress: called with (what, done, total).

    Returns:
        `nearest` and `prototypes` (the values of `dataset.matching`), each with `query_mean`,
        `class_mean` and, for both, `<name>_interval` (95 %, by bootstrap over the queries, within
        each class); `value` and `interval`, the mean that training goes by under the spec's own
        matching (`train.report_accuracy_per_class`);
        `trunk`, `height` and `width`; `params`, `num_features`, `num_queries`, `num_reference`,
        `weights_digest` (of the trunk's) and `random_weights`; with cost, `latency_ms` and
        `device` as `trainer.measuring.measure`, and `export_bytes` (of the ONNX file of trunk and
        head).

    Raises:
        TrainerError: the spec, its pictures or its weights cannot be used.
    """
    seeded = replace(spec, train=replace(spec.train, seed=max(spec.train.seed, 0)))
    device = pick_device(seeded.train.gpu_ids[0])
    with isolated(seeded, device):
        folders = _validation_folders(seeded, most)
        checked = resolved(seeded, folders)
        model = build_recognizer(checked)
        refuse_large(model, checked.model.backbone)
        model = model.to(device).eval()
        model = model.to(memory_format=image_layout(model, device))
        source = FeatureSource(
            checked, model.trunk, use_bf16=wants_bf16(checked.train.precision, device),
            progress=progress,
        )  # fmt: skip
        matched = _matched(checked, folders, source)
        own = matched[checked.dataset.matching]
        mean = CLASS_MEAN if checked.train.report_accuracy_per_class else QUERY_MEAN
        return {
            **matched,
            "value": own[mean],
            "interval": own[f"{mean}_interval"],
            "trunk": checked.model.backbone,
            "height": checked.model.input_height,
            "width": checked.model.input_width,
            "params": sum(weight.numel() for weight in model.parameters()),
            "num_features": source.num_features,
            "weights_digest": source.digest,
            "random_weights": not has_pretrained_weights(checked),
            **(_cost(model, checked) if with_cost else {}),
        }


def _validation_folders(spec: Spec, most: int | None) -> dict[Split, ImageFolder]:
    found = scan_splits(spec, need_train=False)
    if missing := {"query", "reference"} - set(found):
        raise SpecError(f"dataset.val_dataset.{max(missing)}: must be given for this action")
    reference, query = found["reference"], found["query"]
    if most is not None:
        reference, query = thin_out(
            reference, query, most, ignore_unmatched=spec.dataset.ignore_unmatched
        )
    return {"reference": reference, "query": query}


def _matched(
    spec: Spec, folders: dict[Split, ImageFolder], source: FeatureSource
) -> dict[str, Any]:
    """Precision@1 by both ways of matching, and the number of pictures."""
    labelled = label_splits(spec, folders)
    labels_Q, labels_G = labelled["query"].labels, labelled["reference"].labels
    query_QF = _features(source, folders["query"], spec)
    match = match_splits(spec, folders)
    if match is not None:
        query_QF = query_QF[match.keep]
    reference_GF = _features(source, folders["reference"], spec)
    found: dict[str, Any] = {"num_queries": len(labels_Q), "num_reference": len(labels_G)}
    for matching in (NEAREST, PROTOTYPES):
        entries = make_entries(reference_GF, labels_G, matching)
        nearest_QK, _ = search(query_QF, entries.unit, 1)
        hits_Q = entries.labels_E[nearest_QK[:, 0]] == labels_Q
        found[matching] = dict(precision_at_1(hits_Q, labels_Q)) | _intervals(hits_Q, labels_Q)
    return found


def _cost(model: Recognizer, spec: Spec) -> dict[str, Any]:
    """Time of one picture, and size of the exported file."""
    measured = measure(spec)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(model, spec, file)
        size = file.stat().st_size
    return {k: measured[k] for k in ("latency_ms", "device")} | {"export_bytes": size}


def _features(source: FeatureSource, folder: ImageFolder, spec: Spec) -> NDArray[np.float32]:
    plain_NF: NDArray[np.float32] = source.clean(folder).features_VNF[0]
    if not spec.dataset.flip_average:
        return plain_NF
    return mean_of_views(plain_NF, source.clean(folder, is_mirrored=True).features_VNF[0])


def _intervals(hits_Q: NDArray[np.bool_], labels_Q: NDArray[np.int64]) -> dict[str, list[float]]:
    """Bounds between which 95 % of resampled means lie."""
    found = mean_intervals(hits_Q, labels_Q, _RESAMPLES)
    return {f"{name}_interval": list(bounds) for name, bounds in found.items()}
