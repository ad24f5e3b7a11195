"""The action `inference`: nearest reference pictures of new pictures, as table and JSON."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.cross_fit import with_unseen_of
from trainer.data.batches import build_data
from trainer.data.class_map import read_class_map
from trainer.data.decoding import decode_readable
from trainer.data.framing import framing_of, input_size
from trainer.data.names import name_bytes, name_key, name_text
from trainer.data.normalize import normalize_batch, pixel_statistics
from trainer.data.origin import origin
from trainer.data.sources import open_source, pictures_of
from trainer.data.splits import scan_splits
from trainer.data.staging import local_path
from trainer.data.value_range import resolved
from trainer.devices import pick_device
from trainer.durable_files import write_atomically, write_text
from trainer.embedding import needed
from trainer.encoders import Encoder, ModelFile, as_trained, load_encoder, trained_classes
from trainer.errors import DataError, ImageError, SpecError
from trainer.gallery import GalleryIndex, build_gallery
from trainer.isolation import memory_errors_named, released
from trainer.spec import action_dir
from trainer.unknowns import Queries, Threshold

if TYPE_CHECKING:
    from trainer.config.root import Spec

TABLE = "result.csv"
RESULTS = "result.json"
GALLERY = "gallery.npz"
_SCORED_WITHIN = 16
"""Neighbours among which the classes of a score mostly are."""

logger = logging.getLogger(__name__)


def infer(spec: Spec) -> dict[str, Any]:
    """Label the pictures of `inference.input_path` by their nearest reference pictures.

    Writes `result.csv` (a row per picture: path, labels, distances) and `result.json` (the same
    with the reference pictures found, and `error` in place of it all for pictures that cannot be
    read; with `inference.unknown_at` also `unknown`) into the results folder. The gallery index is
    kept there too and used again while model and reference stay the same.

    Returns:
        `results` and `table` (the two files), `num_images`, `gallery` (the index file),
        `gallery_reused`, with `inference.unknown_at` also `threshold` (the fields of
        `trainer.unknowns.Threshold`: what it costs, and whether it is of trained classes), and
        `accuracy` (share of pictures whose first label is their class folder's name) for
        `classification_folder`.

    Raises:
        ImageError: pictures cannot be read; the results of the others are written before.
        TrainerError: model or spec cannot be used.
    """
    inference = spec.inference
    device = pick_device(inference.gpu_ids[0])
    folder = action_dir(spec, "inference")
    file = ModelFile(Path(inference.trt_engine or inference.checkpoint or ""))
    spec = _as_read(file, spec)
    files = list_images(inference.inference_input_type, inference.input_path or "")
    errors: dict[int, str] = {}
    with released(device), memory_errors_named(f"inference.batch_size {inference.batch_size}"):
        encoder = load_encoder(file, spec, device)
        gallery, is_reused = _gallery(encoder, spec, file, folder / GALLERY, device)
        del file  # what it holds beside the weights is not needed any more
        _check_topk(inference.topk, gallery)
        rate = inference.unknown_at
        threshold = gallery.threshold(rate) if rate else None
        limit = None if threshold is None else _logged(threshold).limit
        depth = inference.topk if limit is None else max(inference.topk, _SCORED_WITHIN)
        depth = min(depth, gallery.num_entries)
        found: dict[int, dict[str, Any]] = {}
        for places, batch in _batches(files, spec, device, errors):
            emb_ND = encoder([batch])
            nearest, distances = known = gallery.nearest(emb_ND, depth)
            is_unknown = None if limit is None else gallery.score_unknown(emb_ND, known) > limit
            nearest, distances = nearest[:, : inference.topk], distances[:, : inference.topk]
            found |= _answers(places, gallery, nearest, distances, is_unknown)
    rows = [
        {"image": origin(path), "class": label, **found.get(place, {"error": errors.get(place)})}
        for place, (path, label) in enumerate(files)
    ]
    write_atomically(folder / TABLE, partial(_write_table, rows))
    write_text(folder / RESULTS, json.dumps(rows, indent=1))
    _raise_if(errors, rows, folder)
    result = {
        "results": str(folder / RESULTS),
        "table": str(folder / TABLE),
        "num_images": len(files),
        "gallery": str(folder / GALLERY),
        "gallery_reused": is_reused,
        **({} if threshold is None else {"threshold": dataclasses.asdict(threshold)}),
    }
    if inference.inference_input_type != "classification_folder":
        return result
    names = read_class_map(spec.dataset.class_map)
    own = [names.get(name_key(row["class"]), row["class"]) for row in rows]
    right = [
        name_key(row["labels"][0]) == name_key(name) for row, name in zip(rows, own, strict=True)
    ]
    return result | {"accuracy": float(np.mean(right))}


def _logged(threshold: Threshold) -> Threshold:
    more = "; all classes here were trained on, so that more of others may pass"
    logger.info(
        "unknown at %g: about %.0f %% of pictures of known classes become unknown too, by the "
        "validation queries%s",
        threshold.rate, 100 * threshold.rejected, more if threshold.is_of_trained else "",
    )  # fmt: skip
    return threshold


def list_images(input_type: str, source: str) -> list[tuple[Path, str | None]]:
    """Return the pictures of an input of one of the three types, each with its class folder's name.

    Raises:
        DataError: there is no such file or folder, or no picture in it.
    """
    if input_type == "classification_folder":
        folder = open_source(source)
        labels = (folder.classes[label] for label in folder.labels)
        return [(folder.root / path, name) for path, name in zip(folder.paths, labels, strict=True)]
    if input_type == "image":
        path = local_path(source)
        if not path.is_file():
            raise DataError(
                f"inference.input_path: {path} must be a picture for inference_input_type image"
            )
        return [(path, None)]
    found = pictures_of(source)
    if not found:
        raise DataError(f"inference.input_path: no picture in {name_text(source)}")
    return [(path, None) for path in found]


def _as_read(file: ModelFile, spec: Spec) -> Spec:
    """Return the spec with the range of deep pictures: the model's, else the reference's."""
    spec = as_trained(file, spec)
    return resolved(spec, scan_splits(_without_query(spec), need_train=False))


def _batches(
    files: list[tuple[Path, str | None]],
    spec: Spec,
    device: torch.device,
    errors: dict[int, str],
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Decode and normalise the pictures that can be read, a batch at a time, with their places."""
    size, framing = input_size(spec), framing_of(spec)
    mean, std = pixel_statistics(spec.dataset, size.channels, device)
    paths = [path for path, _ in files]
    step = spec.inference.batch_size
    parts = decode_readable(paths, size, framing, at_once=step, errors=errors)
    for places, pixels_NHWC in parts:
        yield places, normalize_batch(torch.from_numpy(pixels_NHWC), mean, std)


def _raise_if(errors: Mapping[int, str], rows: list[dict[str, Any]], folder: Path) -> None:
    """Say at the end which pictures have no label; the results of the others are written."""
    if not errors:
        return
    first = min(errors)
    more = f" ({len(errors)} of {len(rows)} pictures)" if len(rows) > 1 else ""
    raise ImageError(
        f"{rows[first]['image']}: {errors[first]}{more}; {folder / RESULTS} holds the others"
    )


def _gallery(
    encoder: Encoder, spec: Spec, file: ModelFile, path: Path, device: torch.device
) -> tuple[GalleryIndex, bool]:
    """Return the reference's index: the kept one while it is that of this model and reference."""
    val = spec.dataset.val_dataset
    if spec.inference.unknown_at and val.query is None:
        raise SpecError(
            "dataset.val_dataset.query: must be given for inference.unknown_at, which it calibrates"
        )
    stamp_path = path.with_suffix(".stamp")
    stamp = _stamp(spec, file.path)
    if path.is_file() and stamp_path.is_file() and stamp_path.read_text() == stamp:
        logger.info("using the gallery index %s again", path)
        return GalleryIndex.load(path).matched_by(spec.dataset.matching), True
    is_calibrated = bool(spec.inference.unknown_at)
    data = build_data(spec if is_calibrated else _without_query(spec), device, need_train=False)
    reference = needed(data.reference, "val_dataset.reference")
    emb_GD = encoder(data.eval_batches("reference", spec.inference.batch_size))
    index = build_gallery(
        emb_GD, reference.labels, reference.class_names, reference.paths, spec.dataset.matching
    )
    if is_calibrated and data.query is not None:
        emb_QD = encoder(data.eval_batches("query", spec.inference.batch_size))
        names = [data.query.class_names[label] for label in data.query.labels]
        queries = Queries.of(emb_QD, names, trained_classes(file))
        index = dataclasses.replace(index, queries=queries)
        index = with_unseen_of(index, spec, file, device)
    stamp_path.unlink(missing_ok=True)
    index.save(path)
    write_text(stamp_path, stamp)
    return index, False


def _without_query(spec: Spec) -> Spec:
    val = dataclasses.replace(spec.dataset.val_dataset, query=None)
    return dataclasses.replace(spec, dataset=dataclasses.replace(spec.dataset, val_dataset=val))


def _stamp(spec: Spec, model_path: Path) -> str:
    """Digest of everything that a gallery's embeddings and labels depend on."""
    val = spec.dataset.val_dataset
    digest = hashlib.sha256()
    files = [model_path]
    query = val.query if spec.inference.unknown_at else None
    for source, split in ((val.reference, "reference"), (query, "query")):
        if source:
            found = open_source(source, split)
            files += [found.root / path for path in found.paths]
            digest.update(name_bytes(f"{found.classes}") + found.labels.tobytes())
    files += [Path(spec.dataset.class_map)] if spec.dataset.class_map else []
    for file in files:
        facts = file.stat()
        times = f"{facts.st_mtime_ns}|{facts.st_ctime_ns}"
        digest.update(name_bytes(f"{file}|{facts.st_size}|{times}\n"))
    dataset = spec.dataset
    digest.update(f"{spec.model}|{dataset.pixel_mean}|{dataset.pixel_std}".encode())
    digest.update(f"{framing_of(spec)}|{dataset.flip_average}".encode())
    return digest.hexdigest()


def _check_topk(topk: int, gallery: GalleryIndex) -> None:
    if topk > gallery.num_entries:
        raise SpecError(f"inference.topk: must be at most the {gallery.extent}, got {topk}")


def _answers(
    places: list[int],
    gallery: GalleryIndex,
    nearest: NDArray[np.int64],
    distances: NDArray[np.float32],
    is_unknown: NDArray[np.bool_] | None,
) -> dict[int, dict[str, Any]]:
    names = gallery.names_of(nearest)
    return {
        place: {
            **({} if is_unknown is None else {"unknown": bool(is_unknown[row])}),
            "labels": names[row].tolist(),
            "distances": [float(d) for d in distances[row]],
            "neighbours": [gallery.paths[entry] for entry in nearest[row]],
        }
        for row, place in enumerate(places)
    }


def _write_table(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "labels", "distances"))
        for row in rows:
            if "error" in row:
                continue
            distances = json.dumps([round(d, 6) for d in row["distances"]])
            writer.writerow((row["image"], json.dumps(row["labels"]), distances))
