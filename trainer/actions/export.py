"""The action `export`: writes a checkpoint as a checked ONNX file and a gallery index.

The file takes `input`, normalised float32 N x C x H x W, and gives `fc_pred`, the raw embedding N x
D. It appears only after onnxruntime has given the same embeddings and the same nearest neighbours
as torch.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainer.actions.export_check import ExportError, Parity, compare
from trainer.config.tree import keys_that_hold
from trainer.cross_fit import with_unseen
from trainer.data.batches import build_data
from trainer.data.class_map import read_class_map
from trainer.data.names import printable
from trainer.devices import pick_device
from trainer.embedding import embed
from trainer.encoders import ModelFile, as_matched, as_trained, load_model, onnx_encoder
from trainer.errors import SpecError, first_line
from trainer.following import start_weights
from trainer.gallery import GalleryIndex, build_gallery, model_digest, picture_digest
from trainer.gallery_file import begin
from trainer.isolation import memory_errors_named, released
from trainer.models.weight_sources import without_folders
from trainer.onnx_model import (
    INPUT,
    NEWEST_TRACED_OPSET,
    OUTPUT,
    OnnxModel,
    add_metadata,
    refuse_large,
)
from trainer.spec import action_dir, flatten
from trainer.target_file import demand_target
from trainer.unknowns import Queries

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.batches import RecognitionData
    from trainer.models.recognizer import Recognizer

ONNX = "model.onnx"
GALLERY = "gallery.npz"
_CHECK_BATCH = 32
_GENERATED_IMAGES = 16
_MODEL_FACTS = ("backbone", "input_height", "input_width", "input_channels")
_DATASET_FACTS = ("interpolation", "crop_share", "matching", "flip_average")

logger = logging.getLogger(__name__)


def export(spec: Spec) -> dict[str, Any]:
    """Write `export.onnx_file` (or `model.onnx` in the results folder) from `export.checkpoint`.

    The check runs on all pictures of the query split, and the gallery index holds the reference
    split. Without them (the published template names none) generated pictures are used, with a
    warning, and no gallery is written.

    Returns:
        `onnx` and `gallery` (paths; gallery None without a reference), `max_abs_difference`,
        `min_cosine`, `neighbours_equal`, `num_images_checked`, `checked_on` (`query`, `reference`
        or `generated`), `opset`, `batch_size` (-1: open), `size_mib`.

    Raises:
        ExportError: the file does not give what the model gives; nothing is left behind.
        TrainerError: checkpoint, spec or images cannot be used.
    """
    file = ModelFile(Path(spec.export.checkpoint or ""))
    spec = as_trained(file, spec)
    target = Path(spec.export.onnx_file or action_dir(spec, "export") / ONNX)
    if printable(str(target)) != str(target):
        raise SpecError(
            f"export.onnx_file: {target}: must be a path in UTF-8, without control characters"
        )
    demand_target(target, "export.onnx_file")
    device = torch.device("cpu") if spec.export.on_cpu else pick_device(spec.export.gpu_id)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp.onnx")
    with released(device), memory_errors_named("export"), contextlib.ExitStack() as leaving:
        leaving.callback(temporary.unlink, missing_ok=True)
        model = load_model(file, spec, device)
        data = build_data(spec, device, need_train=False)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_onnx(model, spec, temporary)
        add_metadata(temporary, _facts(spec, file.content, data))
        del file  # what it holds beside the weights is not needed any more
        parity, gallery = _checked(model, OnnxModel(temporary), data, spec)
        opset = _opset_of(temporary)
        if spec.export.verbose:
            _describe(temporary)
        temporary.replace(target)
    gallery_path = None
    if gallery is not None:
        gallery_path = target.with_name(GALLERY)
        begin(gallery_path, gallery)
    return {
        "onnx": str(target),
        "gallery": None if gallery_path is None else str(gallery_path),
        **asdict(parity),
        "opset": opset,
        "batch_size": spec.export.batch_size,
        "size_mib": target.stat().st_size / 2**20,
    }


_ONE_AT_A_TIME = threading.Lock()
"""The exporter of torch keeps its state in globals of the process."""


def write_onnx(model: Recognizer, spec: Spec, path: Path) -> None:
    """Write a model as one ONNX file with the opset that is asked, unchecked.

    Raises:
        SpecError: the network is too large for a file.
        ExportError: the opset cannot express it.
    """
    refuse_large(model, spec.model.backbone)
    is_open = spec.export.batch_size == -1
    device = next(model.parameters()).device
    shape = (spec.model.input_channels, spec.model.input_height, spec.model.input_width)
    example = torch.zeros(2 if is_open else spec.export.batch_size, *shape, device=device)
    opset = spec.export.opset_version
    plain = model.eval().to(memory_format=torch.contiguous_format)
    is_traced = opset <= NEWEST_TRACED_OPSET
    axes: dict[str, Any] = {}
    if is_open and is_traced:
        axes["dynamic_axes"] = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
    elif is_open:
        axes["dynamic_shapes"] = ({0: torch.export.Dim("batch", min=1)},)
    if not is_traced:
        axes["external_data"] = False
    with _ONE_AT_A_TIME, _exporter_errors_named(opset), torch.no_grad():
        torch.onnx.export(
            plain,
            (example,),
            str(path),
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamo=not is_traced,
            verbose=False,
            **axes,
        )


def _facts(spec: Spec, content: Mapping[str, Any], data: RecognitionData) -> dict[str, Any]:
    if data.reference is not None:
        classes = list(data.reference.class_names)
    else:
        classes = list(content.get("class_names") or [])
    # Of a model that knows no training pictures, those of the gallery decide.
    value_range = data.framing.value_range or spec.dataset.value_range
    class_map = read_class_map(spec.dataset.class_map)
    return {
        "model_name": spec.model_name,
        **{name: getattr(spec.model, name) for name in _MODEL_FACTS},
        "pixel_mean": list(spec.dataset.pixel_mean),
        "pixel_std": list(spec.dataset.pixel_std),
        "value_range": value_range and list(value_range),
        **{name: getattr(spec.dataset, name) for name in _DATASET_FACTS},
        "classes": classes,
        **({"class_map": class_map} if class_map else {}),
        "trained_classes": list(content.get("class_names") or []),
        "weights": _weights(spec),
        "trained_with": _trained_with(content.get("spec")),
    }


def _weights(spec: Spec) -> dict[str, Any] | None:
    """What training started from; the address without folders, as the file is handed to others."""
    told = start_weights(spec)
    return told and {**told, "address": without_folders(told["address"] or "")}


def _trained_with(spec: Any) -> dict[str, Any]:
    """What a checkpoint says it was trained with, by dotted key; empty where it says nothing.

    Places on the machine are left out: the file is handed to others.
    """
    if not isinstance(spec, Mapping):
        return {}
    kept = {name: spec[name] for name in ("model", "dataset", "train") if name in spec}
    places, weights = {*keys_that_hold("path"), "train.results_dir"}, keys_that_hold("weights")
    return {
        key: without_folders(value) if key in weights and value else value
        for key, value in flatten(kept).items()
        if key not in places
    }


def _checked(
    model: Recognizer, exported: OnnxModel, data: RecognitionData, spec: Spec
) -> tuple[Parity, GalleryIndex | None]:
    """Run both over the same pictures; return how they compare, and the exported gallery."""
    from_torch, from_onnx = (
        as_matched(encoder, spec) for encoder in (partial(embed, model), onnx_encoder(exported))
    )
    if data.reference is None:
        logger.warning(
            "dataset.val_dataset names no pictures: the export is checked on %d generated ones, "
            "and no gallery is written; give reference and query to check it on real ones",
            _GENERATED_IMAGES,
        )
        images = _generated(spec)
        return compare(from_torch([images]), from_onnx([images]), None), None
    reference = data.reference
    gallery_torch = from_torch(data.eval_batches("reference", _CHECK_BATCH))
    gallery_onnx = from_onnx(data.eval_batches("reference", _CHECK_BATCH))
    seen_NHWC = data.framing.input_of(reference.images)
    gallery = build_gallery(
        gallery_onnx,
        reference.labels,
        reference.class_names,
        reference.paths,
        spec.dataset.matching,
        digests=[picture_digest(pixels) for pixels in seen_NHWC],
        model=model_digest(exported.path),
    )
    if data.query is None:
        parity = compare(gallery_torch, gallery_onnx, None)
        return replace(parity, checked_on="reference"), gallery
    query_onnx = from_onnx(data.eval_batches("query", _CHECK_BATCH))
    parity = compare(
        from_torch(data.eval_batches("query", _CHECK_BATCH)),
        query_onnx,
        (gallery_torch, gallery_onnx),
    )
    names = [data.query.class_names[label] for label in data.query.labels]
    queries = Queries.of(query_onnx, names, exported.facts.get("trained_classes", ()))
    known = replace(gallery, queries=queries)
    return replace(parity, checked_on="query"), with_unseen(known, spec, model)


def _generated(spec: Spec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (spec.model.input_channels, spec.model.input_height, spec.model.input_width)
    return torch.randn(_GENERATED_IMAGES, *shape, generator=generator)


def _opset_of(path: Path) -> int:
    import onnx

    proto = onnx.load(str(path), load_external_data=False)
    return int(next(o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}))


def _describe(path: Path) -> None:
    """Log what the graph consists of."""
    from collections import Counter

    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    kinds = Counter(node.op_type for node in graph.node)
    parts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    logger.info("exported graph: %d nodes (%s)", len(graph.node), parts)


@contextlib.contextmanager
def _exporter_errors_named(opset: int) -> Iterator[None]:
    """Turn what the exporter refuses into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except torch.onnx.OnnxExporterError as e:
        raise ExportError(
            f"export.opset_version {opset} cannot express this model: {first_line(e)}"
        ) from e
