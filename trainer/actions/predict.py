"""Labels pictures by an exported model and its gallery index, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.decode import decode_image
from trainer.data.framing import SQUASHED_FACTS, Framing, ImageSize, make_framing
from trainer.data.sources import open_source
from trainer.errors import CheckpointError, DataError
from trainer.gallery import GalleryIndex, build_gallery
from trainer.matching import NEAREST, embed_with_mirror_images
from trainer.onnx_model import OnnxModel
from trainer.retrieval import Floats

ONNX = "model.onnx"
GALLERY = "gallery.npz"

_BATCH = 32
_GREY = (0.299, 0.587, 0.114)
"""How Pillow mixes grey; statistics of three channels serve one channel mixed so."""


def predict(folder: Path, images: Sequence[Path], topk: int) -> list[dict[str, Any]]:
    """Label pictures by the nearest reference pictures.

    Args:
        folder: holds `model.onnx` and `gallery.npz` of one export.
        images: picture files.
        topk: neighbours to list, nearest first.

    Returns:
        For each picture `image`, `labels` (class names, one per neighbour), `distances` (0 to 2)
        and `neighbours` (reference pictures).

    Raises:
        CheckpointError: the model is missing or lacks the facts that an export writes.
        DataError: the gallery is missing or smaller than `topk`.
        ImageError: a picture cannot be read.
    """
    model = OnnxModel(folder / ONNX)
    gallery = GalleryIndex.load(folder / GALLERY, model.facts.get("matching", NEAREST))
    nearest, distances = gallery.nearest(embed_files(model, images), topk)
    names = gallery.names_of(nearest)
    return [
        {
            "image": str(image),
            "labels": names[row].tolist(),
            "distances": [float(d) for d in distances[row]],
            "neighbours": [gallery.paths[entry] for entry in nearest[row]],
        }
        for row, image in enumerate(images)
    ]


def add_classes(folder: Path, images: Path) -> dict[str, Any]:
    """Add the pictures of a folder of class folders to an export's gallery, without training.

    Args:
        folder: holds `model.onnx` and `gallery.npz`; the gallery is replaced.
        images: `<class>/<picture>`; classes that are known get more pictures.

    Returns:
        `classes` and `pictures` in the gallery now, `new_classes` and `new_pictures`.

    Raises:
        CheckpointError, DataError, ImageError: as `predict`.
    """
    model, gallery = OnnxModel(folder / ONNX), GalleryIndex.load(folder / GALLERY)
    found = open_source(str(images))
    files = [found.root / path for path in found.paths]
    added = build_gallery(embed_files(model, files), found.labels, found.classes, files)
    extended = gallery.extended(added)
    extended.save(folder / GALLERY)
    return {
        "classes": len(extended.class_names),
        "pictures": len(extended),
        "new_classes": len(extended.class_names) - len(gallery.class_names),
        "new_pictures": len(added),
    }


def list_gallery(folder: Path) -> dict[str, int]:
    """Return class -> number of pictures of an export's gallery, by name.

    Raises:
        DataError: the gallery is missing or damaged.
    """
    gallery = GalleryIndex.load(folder / GALLERY)
    counts = np.bincount(gallery.labels_G, minlength=len(gallery.class_names))
    return dict(sorted(zip(gallery.class_names, counts.tolist(), strict=True)))


def embed_files(model: OnnxModel, images: Sequence[Path]) -> Floats:
    """Decode, normalise and embed picture files in order, shape (N, D).

    Files whose facts say so are asked for the mean with the mirror images.
    """
    if not images:
        raise DataError("images: at least one must be given")
    batches = _batches(model, images)
    if model.facts.get("flip_average", False):
        return embed_with_mirror_images(partial(_embed, model), batches, _mirror)
    return _embed(model, batches)


def _embed(model: OnnxModel, batches: Iterable[Floats]) -> Floats:
    return np.concatenate([model.run(batch) for batch in batches])


def _mirror(images_NCHW: Floats) -> Floats:
    return np.ascontiguousarray(images_NCHW[..., ::-1])


def _batches(model: OnnxModel, images: Sequence[Path]) -> Iterator[Floats]:
    size, framing = _input_of(model)
    mean, std = (_for_channels(model.facts[n], size.channels) for n in ("pixel_mean", "pixel_std"))
    for start in range(0, len(images), _BATCH):
        chosen = images[start : start + _BATCH]
        pixels = [decode_image(path, size, framing).pixels for path in chosen]
        batch = np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32)
        batch -= mean[:, None, None] * np.float32(255.0)
        batch /= std[:, None, None] * np.float32(255.0)
        yield batch


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


def _for_channels(values: Sequence[float], channels: int) -> NDArray[np.float32]:
    if len(values) == 1:
        values = list(values) * channels
    elif len(values) != channels:
        values = [sum(share * value for share, value in zip(_GREY, values, strict=True))]
    return np.asarray(values, dtype=np.float32)
