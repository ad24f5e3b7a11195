"""Labels pictures by an exported model and its gallery index, without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.decoding import decode_readable
from trainer.data.framing import SQUASHED_FACTS, Framing, ImageSize, for_channels, make_framing
from trainer.data.origin import origin
from trainer.data.prefetch import ahead
from trainer.errors import CheckpointError, DataError
from trainer.gallery import GalleryIndex, model_digest
from trainer.gallery_file import stamp
from trainer.matching import embed_with_mirror_images
from trainer.onnx_model import OnnxModel
from trainer.retrieval import Floats
from trainer.unknowns import SCORED, unknown_scores

ONNX = "model.onnx"
GALLERY = "gallery.npz"
UNKNOWN = "unknown"
"""Label of pictures of no class of the gallery."""

_BATCH = 32


def predict(
    folder: Path, images: Sequence[Path], topk: int, unknown_at: float | None = None
) -> list[dict[str, Any]]:
    """Label pictures; see `label_pictures`, whose rows these are."""
    return list(label_pictures(folder, images, topk, unknown_at=unknown_at))


def label_pictures(
    folder: Path, images: Sequence[Path], topk: int, *, unknown_at: float | None = None
) -> Iterator[dict[str, Any]]:
    """Label pictures by the nearest classes, some at a time.

    Args:
        folder: holds `model.onnx` and `gallery.npz` of one export.
        images: picture files.
        topk: classes to list, nearest first.
        unknown_at: asked share of pictures of unknown classes that are taken for known; None gives
            every picture a class.

    Yields:
        For each picture, in order, `image`, `label` (the nearest class, or `unknown`), `unknown`
        where that is asked for (a class may be called so), and of each of the nearest classes
        `labels`, `scores` (cosine similarity, 1 for the same), `distances` (0 to 2) and
        `neighbours` (the reference picture); for one that cannot be read `image` and `error`, the
        reason.

    Raises:
        CheckpointError: the model is missing or lacks the facts that an export writes.
        DataError: the gallery is missing, of another model, of fewer classes than `topk`, or has
            nothing to calibrate `unknown_at` by.
    """
    model, gallery = open_export(folder)
    limit = None if unknown_at is None else gallery.scored().limit(unknown_at)
    errors: dict[int, str] = {}
    done = 0
    for places, emb_ND, _ in embed_readable(model, images, errors):
        with _one_thread() if len(images) > _BATCH else nullcontext():
            rows = list(_rows(gallery, emb_ND, topk, limit))
        for place, row in zip(places, rows, strict=True):
            yield from _unread(images[done:place], done, errors)
            yield {"image": origin(images[place]), **row}
            done = place + 1
    yield from _unread(images[done:], done, errors)


def _rows(
    gallery: GalleryIndex, emb_ND: Floats, topk: int, limit: float | None
) -> Iterator[dict[str, Any]]:
    # A gallery with a limit has as many classes as a score takes.
    depth = topk if limit is None else max(topk, SCORED)
    entries, distances = gallery.nearest_classes(emb_ND, depth)
    is_unknown_N = None if limit is None else unknown_scores(distances) > limit
    entries, distances = entries[:, :topk], distances[:, :topk]
    names = gallery.names_of(entries)
    for row, labels in enumerate(names.tolist()):
        is_unknown = is_unknown_N is not None and bool(is_unknown_N[row])
        yield {
            "label": UNKNOWN if is_unknown else labels[0],
            **({} if limit is None else {"unknown": is_unknown}),
            "labels": labels,
            "scores": [1.0 - float(d) ** 2 / 2 for d in distances[row]],
            "distances": [float(d) for d in distances[row]],
            "neighbours": [gallery.paths[entry] for entry in entries[row]],
        }


def _one_thread() -> AbstractContextManager[Any]:
    """Match by one thread: others would take cores from the network, which is at work meanwhile.

    Those of OpenBLAS spin for some 25 ms after each product.
    """
    limited: AbstractContextManager[Any] = _math_libraries().limit(limits=1, user_api="blas")
    return limited


@lru_cache(maxsize=1)
def _math_libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _unread(
    images: Sequence[Path], first: int, errors: Mapping[int, str]
) -> Iterator[dict[str, Any]]:
    for place, image in enumerate(images, first):
        yield {"image": origin(image), "error": errors[place]}


def describe_threshold(folder: Path, rate: float) -> dict[str, Any]:
    """Return where an export's gallery begins to call pictures unknown.

    Returns:
        `rate`, `limit`, `rate_interval`, `rejected` and `is_of_trained`, as
        `trainer.unknowns.Threshold` has them.

    Raises:
        CheckpointError, DataError: as `label_pictures`.
    """
    _, gallery = open_export(folder)
    return dataclasses.asdict(gallery.threshold(rate))


def describe_unknowns(folder: Path) -> dict[str, Any] | None:
    """Return what an export's gallery tells of unknown pictures, where trainings calibrated it.

    Returns:
        As `Calibration.described`; None where nothing tells how near classes come that the model
        was not trained on.

    Raises:
        CheckpointError, DataError: as `label_pictures`.
    """
    _, gallery = open_export(folder)
    if gallery.queries is None or gallery.queries.shift_Q is None or gallery.calibration is None:
        return None
    return gallery.calibration.described()


def open_export(folder: Path) -> tuple[OnnxModel, GalleryIndex]:
    """Load model and gallery of an export; the last one stays loaded until its files change.

    Raises:
        CheckpointError, DataError: as `label_pictures`.
    """
    model, digest = open_model(folder)
    return model, _gallery(folder.absolute(), digest, stamp(folder / GALLERY))


def open_model(folder: Path) -> tuple[OnnxModel, str]:
    """Load the model of an export, and return its digest with it; the last one stays loaded.

    Raises:
        CheckpointError: it is missing, damaged or of another kind.
    """
    return _model(folder.absolute(), stamp(folder / ONNX))


@lru_cache(maxsize=1)
def _model(folder: Path, _stamp: Any) -> tuple[OnnxModel, str]:
    return OnnxModel(folder / ONNX), model_digest(folder / ONNX)


@lru_cache(maxsize=1)
def _gallery(folder: Path, digest: str, _stamp: Any) -> GalleryIndex:
    gallery = GalleryIndex.load(folder / GALLERY)
    check_model(gallery, folder, digest)
    return gallery


def check_model(gallery: GalleryIndex, folder: Path, digest: str) -> None:
    """Refuse a gallery that another model made; one that was kept without its model does not say.

    Raises:
        DataError: the digests differ.
    """
    if gallery.model and gallery.model != digest:
        raise DataError(
            f"{folder / GALLERY}: was made by another model than {ONNX} beside it (sha256 "
            f"{gallery.model[:12]}, not {digest[:12]}); put both back from one export"
        )


def embed_readable(
    model: OnnxModel, images: Sequence[Path], errors: dict[int, str]
) -> Iterator[tuple[list[int], Floats, NDArray[np.uint8]]]:
    """Embed the picture files that can be read.

    Files whose facts say so are asked for the mean with the mirror images.

    Args:
        model: of an export.
        images: picture files.
        errors: gets the reason of each that cannot be read, by its place in `images`.

    Yields:
        Places in `images`, embeddings (N, D) and pixels (N, H, W, C) of a part of them, in order.
        The network is at work on the next part meanwhile.
    """
    size, framing = _input_of(model)
    mean, std = (
        np.asarray(for_channels(model.facts[name], size.channels), dtype=np.float32)
        for name in ("pixel_mean", "pixel_std")
    )
    parts = decode_readable(images, size, framing, at_once=_BATCH, errors=errors)

    def embed(pixels_NHWC: NDArray[np.uint8]) -> Floats:
        batch = _normalized(pixels_NHWC, mean, std)
        if model.facts.get("flip_average", False):
            return embed_with_mirror_images(partial(_embed, model), [batch], _mirror)
        return model.run(batch)

    yield from ahead((places, embed(pixels_NHWC), pixels_NHWC) for places, pixels_NHWC in parts)


def _normalized(
    pixels_NHWC: NDArray[np.uint8], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> Floats:
    """Return what the network takes, one channel after the other as onnxruntime wants it."""
    pixels_NCHW = pixels_NHWC.transpose(0, 3, 1, 2)
    batch = np.empty(pixels_NCHW.shape, dtype=np.float32)
    np.subtract(pixels_NCHW, mean[:, None, None] * np.float32(255.0), out=batch)
    batch /= std[:, None, None] * np.float32(255.0)
    return batch


def _embed(model: OnnxModel, batches: Iterable[Floats]) -> Floats:
    return np.concatenate([model.run(batch) for batch in batches])


def _mirror(images_NCHW: Floats) -> Floats:
    return np.ascontiguousarray(images_NCHW[..., ::-1])


def _input_of(model: OnnxModel) -> tuple[ImageSize, Framing]:
    """Return size and framing of pictures, of the facts that the export wrote into the file."""
    facts, needed = model.facts, ("input_height", "input_width", "pixel_mean", "pixel_std")
    missing = [key for key in needed if key not in facts]
    if missing:
        raise CheckpointError(
            f"{model.path}: lacks {', '.join(missing)} in its metadata; "
            "export it with `ml_recog export`"
        )
    channels = int(facts.get("input_channels", 3))
    size = ImageSize(
        height=int(facts["input_height"]), width=int(facts["input_width"]), channels=channels
    )
    framed = {name: facts.get(name, value) for name, value in SQUASHED_FACTS.items()}
    return size, make_framing(size, **framed, value_range=facts.get("value_range"))
