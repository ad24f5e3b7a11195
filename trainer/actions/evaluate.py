"""The action `evaluate`: retrieval and clustering metrics of a trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer import metrics
from trainer.data.batches import build_data
from trainer.devices import pick_device
from trainer.durable_files import write_text
from trainer.embedding import needed
from trainer.encoders import ModelFile, as_trained, load_encoder
from trainer.errors import SpecError
from trainer.gallery import GalleryIndex, build_gallery
from trainer.isolation import memory_errors_named, released
from trainer.retrieval import Floats, Indices, first_relevant_ranks
from trainer.spec import action_dir
from trainer.status import TEST_METRIC, write_evaluation

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.splits import LabelledImages

RESULTS = "evaluation.json"
_BLOCK_NEIGHBOURS = 4_000_000


def evaluate(spec: Spec) -> dict[str, Any]:
    """Evaluate `evaluate.trt_engine` or else `evaluate.checkpoint` (also an .onnx file).

    Returns:
        `metrics` (name -> value: `val_precision_at_1`, its class and query means,
        `val_hit_at_<topk>`, `val_r_precision`, `val_map_at_r`, `val_mrr`, `val_nmi`, `val_ami`;
        means are over queries where not said otherwise), `clustered` (`num_queries` and
        `num_classes` that `val_nmi` and `val_ami` were computed on: of many a random part, see
        `trainer.metrics.clustered_rows`; of too few these two are left out), `per_class` (class
        name -> Precision@1, when `evaluate.report_accuracy_per_class`), `hits` (one bool per query:
        its nearest neighbour is of its class), `query_classes` (name per query), `num_queries`,
        `num_reference`, `num_classes`, `model`, `kpi` (the published name -> Precision@1, which
        stands in `status.json` too) and `results` (the JSON file with all of this).

    Raises:
        TrainerError: model, spec or images cannot be used; see `trainer.errors`.
    """
    gallery, _, emb_QD, query = embed_splits(spec)
    scores = score(spec, gallery, emb_QD, query.labels)
    precision = scores["metrics"]["val_precision_at_1"]
    result = {
        **scores,
        "kpi": {TEST_METRIC: precision},
        "num_queries": len(query.labels),
        "num_reference": len(gallery),
        "num_classes": len(gallery.class_names),
        "model": str(model_path(spec)),
    }
    file = action_dir(spec, "evaluate") / RESULTS
    write_text(file, json.dumps(result, indent=1))
    write_evaluation(file.parent, precision)
    return result | {"results": str(file)}


def embed_splits(
    spec: Spec,
) -> tuple[GalleryIndex, tuple[Path, ...], Floats, LabelledImages]:
    """Embed both splits of `dataset.val_dataset` by the model of `evaluate`.

    Returns:
        The gallery, its files in the same order, embeddings of the queries (Q, D), and the queries.
    """
    file = ModelFile(model_path(spec))
    spec = as_trained(file, spec)
    device = pick_device(spec.evaluate.gpu_ids[0])
    batch_size = spec.evaluate.batch_size
    with released(device), memory_errors_named(f"evaluate.batch_size {batch_size}"):
        encoder = load_encoder(file, spec, device)
        del file  # what it holds beside the weights is not needed
        data = build_data(spec, device, need_train=False)
        reference, query = (
            needed(data.reference, "val_dataset.reference"),
            needed(data.query, "val_dataset.query"),
        )
        gallery = build_gallery(
            encoder(data.eval_batches("reference", batch_size)),
            reference.labels, reference.class_names, reference.paths, spec.dataset.matching,
        )  # fmt: skip
        return (
            gallery,
            reference.paths,
            encoder(data.eval_batches("query", batch_size)),
            query,
        )


def model_path(spec: Spec) -> Path:
    """Return the file that an evaluation is of."""
    return Path(spec.evaluate.trt_engine or spec.evaluate.checkpoint or "")


def score(
    spec: Spec, gallery: GalleryIndex, emb_QD: NDArray[Any], labels_Q: NDArray[np.int64]
) -> dict[str, Any]:
    """Return `metrics`, `clustered`, `per_class`, `hits` and `query_classes` of queries."""
    entries = gallery.entries
    counts_C = np.bincount(entries.labels_E, minlength=len(gallery.class_names))
    relevant_Q = counts_C[labels_Q]
    topk = spec.evaluate.topk
    if topk > len(entries):
        raise SpecError(f"evaluate.topk: must be at most the {gallery.extent}, got {topk}")
    ranked = _ranked(gallery, emb_QD, labels_Q, relevant_Q, topk)
    hits_Q = ranked["hit"]
    means = metrics.precision_at_1(hits_Q, labels_Q)
    mean = metrics.CLASS_MEAN if spec.evaluate.report_accuracy_per_class else metrics.QUERY_MEAN
    ranks_Q = _all_ranks(gallery, emb_QD, labels_Q, ranked["rank"])
    rows = metrics.clustered_rows(labels_Q)
    agreement = metrics.clustering_metrics(emb_QD[rows], labels_Q[rows]) or ()
    names = gallery.class_names
    per_class = metrics.per_class(hits_Q, labels_Q)
    return {
        "metrics": {
            "val_precision_at_1": means[mean],
            **{f"val_precision_at_1_{name}": value for name, value in means.items()},
            f"val_hit_at_{topk}": metrics.query_mean(ranked["hit_at_k"]),
            "val_r_precision": metrics.query_mean(ranked["r_precision"]),
            "val_map_at_r": metrics.query_mean(ranked["map_at_r"]),
            "val_mrr": metrics.query_mean(metrics.reciprocal_ranks(ranks_Q)),
            **dict(zip(("val_nmi", "val_ami"), agreement, strict=False)),
        },
        "clustered": {"num_queries": len(rows), "num_classes": len(np.unique(labels_Q[rows]))},
        "per_class": {names[c]: value for c, value in per_class.items()}
        if spec.evaluate.report_accuracy_per_class
        else {},
        "hits": [bool(hit) for hit in hits_Q],
        "query_classes": [names[label] for label in labels_Q],
    }


def _all_ranks(
    gallery: GalleryIndex,
    emb_QD: NDArray[Any],
    labels_Q: NDArray[np.int64],
    found_Q: NDArray[np.int64],
) -> Indices:
    """Return the rank of the first entry of each query's class; those not yet found are counted."""
    entries = gallery.entries
    open_Q = np.flatnonzero(found_Q == 0)
    ranks_Q: Indices = found_Q.copy()
    ranks_Q[open_Q] = first_relevant_ranks(
        emb_QD[open_Q], entries.unit, labels_Q[open_Q], entries.labels_E
    )
    return ranks_Q


def _ranked(
    gallery: GalleryIndex,
    emb_QD: NDArray[Any],
    labels_Q: NDArray[np.int64],
    relevant_Q: NDArray[np.int64],
    topk: int,
) -> dict[str, NDArray[Any]]:
    """Return what depends on the order of neighbours, per query; rankings are kept a block long."""
    depth = max(topk, int(relevant_Q.max()))
    step = max(1, _BLOCK_NEIGHBOURS // depth)
    blocks = []
    for start in range(0, len(labels_Q), step):
        own = slice(start, start + step)
        labels, relevant = labels_Q[own], relevant_Q[own]
        neighbours_QK = gallery.labels_G[gallery.nearest(emb_QD[own], depth)[0]]
        blocks.append(
            {
                "rank": metrics.first_hit_ranks(neighbours_QK, labels),
                "hit": metrics.hits_in_top_k(neighbours_QK, labels, 1),
                "hit_at_k": metrics.hits_in_top_k(neighbours_QK, labels, topk),
                "r_precision": metrics.r_precision(neighbours_QK, labels, relevant),
                "map_at_r": metrics.map_at_r(neighbours_QK, labels, relevant),
            }
        )
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
