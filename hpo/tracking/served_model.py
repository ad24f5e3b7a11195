"""The winner as an MLflow model: pictures in, labels of the nearest gallery pictures out.

This file is copied into the model and runs where nothing of this project is installed: onnxruntime,
numpy, pandas and Pillow are all it needs. It decodes as the trainer does, to the last pixel.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import math
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

BATCH = 32
SCORED = 4
"""Classes whose distances make a score: that of the nearest, less three quarters of the mean of the
others."""
LEAST_CLASSES = 8
"""Of whose validation queries a threshold for unknown pictures can be made."""
GREY = (0.299, 0.587, 0.114)
MOST_RESIZED = 100_000_000
MOST_BYTES = 1 << 30
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "HEIF")
"""What files may hold, by Pillow's names: its decoder of PostScript runs a file as a program."""
_OPENING = threading.Lock()
"""Of Pillow's bound for pixels, which belongs to the process."""
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
DEEP_COLORS = frozenset({"LA", "RGB", "RGBX", "RGBA", "CMYK"})
COLORS = {"LA": 1, "RGBA": 3}
"""Channels of a mode before the one for transparency."""
OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""Rotation tag -> what makes the picture upright."""


class RecognitionModel(PythonModel):
    """Labels pictures by the embedding model and gallery of a finished search.

    The input is a data frame with a column `image` of file paths, or of pictures as data URIs
    (`data:image/jpeg;base64,...`) where they come over a network. The output has a row for each
    with `label`, `distance` (0 to 2), and `labels`, `distances` of the `topk` nearest classes (a
    parameter, 1 by default). `label` is `unknown` where no class fits: with the parameter
    `unknown_at`, such as 0.05, that share of pictures of unknown classes is taken for known; 0, the
    default, never says unknown.
    """

    def load_context(self, context: Any) -> None:
        """Open the ONNX file and the gallery."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            context.artifacts["model"], options, providers=onnxruntime.get_available_providers()
        )
        facts = self._session.get_modelmeta().custom_metadata_map
        self._facts = {name: _decoded(text) for name, text in facts.items()}
        self._share = float(self._facts.get("crop_share", 0.0))
        shape = self._session.get_inputs()[0].shape
        self._batch = shape[0] if isinstance(shape[0], int) else None
        with np.load(context.artifacts["gallery"], allow_pickle=False) as arrays:
            _check_model(str(arrays.get("model", "")), Path(context.artifacts["model"]))
            unit_GD, labels_G = _unit(arrays["embeddings"]), np.asarray(arrays["labels"])
            if str(arrays.get("matching", self._facts.get("matching"))) == "prototypes":
                unit_GD, labels_G = _prototypes(unit_GD, labels_G)
            self._gallery_GD = unit_GD
            self._names = [str(name) for name in arrays["class_names"]]
            self._classes = _Classes(labels_G)
            self._outside_Q = arrays.get("scores_outside_Q", np.zeros(0))
            self._query_labels_Q = arrays.get("scores_labels_Q", np.zeros(0))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Label every row."""
        del context
        topk = int((params or {}).get("topk", 1))
        most = len(self._classes.starts_C)
        if not 1 <= topk <= most:
            raise ValueError(f"topk: must be 1 to {most}, the classes of the gallery, got {topk}")
        limit = self._limit(float((params or {}).get("unknown_at", 0.0)))
        if limit < math.inf and most < SCORED:
            raise ValueError(f"unknown_at: the gallery must have {SCORED} classes, got {most}")
        images = list(enumerate(model_input["image"]))
        parts = [self._nearest(images[i : i + BATCH], topk) for i in range(0, len(images), BATCH)]
        rows = [row for part in parts for row in part]
        for row in rows:
            row["label"] = row["label"] if row["score"] <= limit else "unknown"
        return pd.DataFrame(rows, columns=["label", "distance", "labels", "distances"])

    def _limit(self, rate: float) -> float:
        """Return the score up to which pictures are known, for a rate of false acceptances."""
        if rate == 0.0:
            return math.inf
        if not 0.0 < rate < 1.0:
            raise ValueError(f"unknown_at: must be 0 to 1, got {rate:g}")
        enough = len(self._outside_Q) >= math.ceil(2 / rate)
        if not enough or len(np.unique(self._query_labels_Q)) < LEAST_CLASSES:
            raise ValueError(f"unknown_at: too few validation queries to calibrate {rate:g} by")
        ordered = np.sort(self._outside_Q)
        shares = np.arange(1, len(ordered) + 1) / len(ordered)
        place = min(int(np.searchsorted(shares, rate, side="right")), len(ordered) - 1)
        below = ordered[ordered < ordered[place]]
        return (float(below[-1] if len(below) else ordered[0] - 1.0) + float(ordered[place])) / 2

    def _nearest(self, images: Sequence[tuple[int, Any]], topk: int) -> list[dict[str, Any]]:
        pixels = np.stack([self._read(number, image) for number, image in images])
        emb_ND = self._embed(pixels.transpose(0, 3, 1, 2).astype(np.float32))
        if self._facts.get("flip_average", False):
            turned = pixels[:, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
            emb_ND = _unit(emb_ND) + _unit(self._embed(turned))
        depth = max(topk, min(SCORED, len(self._classes.starts_C)))
        found = _nearest_classes(_unit(emb_ND), self._gallery_GD, self._classes, depth)
        rows = []
        for classes, squared in found:
            labels = [self._names[label] for label in classes]
            distances = [float(np.sqrt(value)) for value in squared]
            rows.append(
                {
                    "label": labels[0],
                    "distance": distances[0],
                    "labels": labels[:topk],
                    "distances": distances[:topk],
                    "score": distances[0] - 0.75 * float(np.mean(distances[1:SCORED] or [0.0])),
                }
            )
        return rows

    def _embed(self, images_NCHW: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        channels = images_NCHW.shape[1]
        mean = _for_channels(self._facts["pixel_mean"], channels)
        std = _for_channels(self._facts["pixel_std"], channels)
        images_NCHW -= mean[:, None, None] * np.float32(255.0)
        images_NCHW /= std[:, None, None] * np.float32(255.0)
        name = self._session.get_inputs()[0].name
        step = self._batch or len(images_NCHW)
        parts = []
        for start in range(0, len(images_NCHW), step):
            part = images_NCHW[start : start + step]
            missing = step - len(part)
            padded = np.pad(part, ((0, missing), (0, 0), (0, 0), (0, 0)))
            parts.append(self._session.run(None, {name: padded})[0][: len(part)])
        return np.concatenate(parts)

    def _read(self, number: int, image: Any) -> np.ndarray[Any, Any]:
        try:
            return self._pixels(image)
        except Exception as error:
            is_path = isinstance(image, str | Path) and not str(image).startswith("data:")
            place = f" ({image})" if is_path else ""
            raise ValueError(f"image: row {number}{place} cannot be read: {error}") from error

    def _pixels(self, image: Any) -> np.ndarray[Any, Any]:
        """Decode one picture to the size that the model takes, H x W x C."""
        from PIL import Image

        if str(image).startswith("data:"):
            data = base64.b64decode(str(image).partition(",")[2], validate=True)
        else:
            data = Path(image).read_bytes()
        height, width = int(self._facts["input_height"]), int(self._facts["input_width"])
        mode = "RGB" if int(self._facts.get("input_channels", 3)) == 3 else "L"
        with contextlib.suppress(ImportError):  # pictures of telephones
            import pillow_heif

            pillow_heif.register_heif_opener()
        with _opened(data) as opened:
            # A cut picture is decoded in full, if that fits: as timm's transform has it.
            size, share = opened.size, self._share or 1.0
            if not self._share or _cost(opened, *size) > MOST_BYTES:
                opened.draft(mode, (2 * math.floor(max(height, width) / share),) * 2)
            if _cost(opened, *size) > MOST_BYTES:
                raise ValueError(f"image: {size[0]} x {size[1]} pixels take too much memory")
            deep = _deep_as_bytes(opened, data, self._facts.get("value_range"))
            flat = _upright(opened, opened if deep is None else deep, mode)
        name = self._facts.get("interpolation", "bilinear")
        resampling = Image.Resampling[name.upper()]
        if self._share:
            flat = _cut(flat, height, width, self._share, resampling)
        elif flat.size != (width, height):
            flat = flat.resize((width, height), resampling)
        pixels: np.ndarray[Any, Any] = np.asarray(flat, dtype=np.uint8).reshape(height, width, -1)
        return pixels


def _opened(data: bytes) -> Any:
    """A picture of any number of pixels: what it takes once decoded is bounded instead."""
    from PIL import Image

    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    with _OPENING:
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = most


def _cost(image: Any, width: int, height: int) -> int:
    """Bytes that a picture will take once decoded; `width` and `height` are those of its file."""
    deep = 4 if image.mode in {"I", "F"} else 2 if image.mode.startswith("I;16") else 0
    cost = int(image.width * image.height) * (deep or len(image.getbands()))
    if image.info.get("progressive"):  # all coefficients of the full size are held
        layers = [across * down for _, across, down, _ in getattr(image, "layer", [])] or [3]
        cost += 2 * width * height * sum(layers) // max(layers)
    return cost


def _check_model(expected: str, model: Path) -> None:
    """Refuse a gallery that another model made; those of earlier releases do not say."""
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected not in {"", digest}:
        raise ValueError(
            f"gallery: was made by another model than {model} (sha256 {expected[:12]})"
        )


def _cut(image: Any, height: int, width: int, share: float, resampling: Any) -> Any:
    """Resize by the short side and take the centre, as timm's evaluation transform does."""
    tall, wide = math.floor(height / share), math.floor(width / share)
    if tall != wide:
        ratio = min(image.height / tall, image.width / wide)
        size = round(image.width / ratio), round(image.height / ratio)
    elif image.height <= image.width:
        size = int(tall * image.width / image.height), tall
    else:
        size = wide, int(wide * image.height / image.width)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    box = (left, top, left + width, top + height)
    if size[0] * size[1] <= MOST_RESIZED:
        return image.resize(size, resampling).crop(box)
    right, down = image.width / size[0], image.height / size[1]
    part = (box[0] * right, box[1] * down, box[2] * right, box[3] * down)
    return image.resize((width, height), resampling, box=part)


def _upright(source: Any, image: Any, mode: str) -> Any:
    """Lay transparency on white and apply the rotation tag of the file, if it can be read."""
    from PIL import ExifTags, Image, ImageCms

    source.load()
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, rgba)
    flat = image if image.mode == mode else image.convert(mode)
    try:
        turn = TURNS.get(source.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - damaged metadata make Pillow raise anything
        turn = None
    return flat if turn is None else flat.transpose(Image.Transpose[turn])


def _deep_as_bytes(image: Any, data: bytes, value_range: Sequence[float] | None) -> Any:
    """Bring a picture of more than 8 bits a channel to 8; None for others."""
    from PIL import Image

    mode, values = _samples(image, data)
    if values is None:
        return None
    low, high = value_range or _own_range(values[..., : COLORS.get(mode)])
    finite = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    eight = np.rint(np.clip((finite - low) * (255.0 / (high - low)), 0.0, 255.0)).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int | tuple):
        eight[(values == key).all(axis=-1)] = 255
    return Image.frombytes(mode, (eight.shape[1], eight.shape[0]), eight.tobytes())


def _samples(image: Any, data: bytes) -> tuple[str, np.ndarray[Any, Any] | None]:
    """Return mode and samples (H, W, C) of a deep picture; of others the mode alone.

    Pillow gives the upper byte of deep colours, and the lower one when it is told that the bytes
    are stored the other way round.
    """
    if image.mode in DEEP_MODES:
        return "L", np.asarray(image)[..., None]
    stored = {tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in image.tile}
    kind, _, order = str(stored.pop() if len(stored) == 1 else "").partition(";")
    is_known = order in OTHER_BYTE and kind in DEEP_COLORS
    if not is_known or (kind == "LA" and image.mode != "RGBA"):
        return image.mode, None
    raw = "RGBA" if kind == "LA" else f"{kind};{OTHER_BYTE[order]}"
    other = _opened(data)
    with other:
        tiles = [(*t[:3], (raw, *t[3][1:]) if isinstance(t[3], tuple) else raw) for t in other.tile]
        other.tile = [getattr(type(other.tile[0]), "_make", tuple)(tile) for tile in tiles]
        low = np.asarray(other).astype(np.uint16)
    if kind == "LA":  # four bytes a pixel, as RGBA has
        return "LA", low[..., ::2] * 256 + low[..., 1::2]
    return image.mode, np.asarray(image).astype(np.uint16) * 256 + low


def _own_range(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Black and white of a picture that the training pictures say nothing of."""
    some = values.reshape(-1)
    some = some[:: max(1, len(some) // (1 << 20))]
    some = some[np.isfinite(some)]
    if not len(some):
        return 0.0, 1.0
    low = float(np.percentile(some, 0.1, method="lower"))
    high = float(np.percentile(some, 99.9, method="higher"))
    low = min(low, 0.0) if low == high else low
    if 0.0 <= low <= high / 2:
        low, high = 0.0, next((w for w in WHITES if w / 4 <= high <= w), high)
    return low, high if high > low else low + 1.0


class _Classes:
    """The entries of a gallery, class by class."""

    def __init__(self, labels_G: np.ndarray[Any, Any]) -> None:
        self.labels_G = labels_G
        self.order_G = np.argsort(labels_G, kind="stable")
        self.starts_C = np.flatnonzero(np.diff(labels_G[self.order_G], prepend=-1))
        self.sizes_C = np.diff(self.starts_C, append=len(labels_G))


def _nearest_classes(
    emb_ND: np.ndarray[Any, Any], gallery_GD: np.ndarray[Any, Any], classes: _Classes, k: int
) -> list[tuple[Any, Any]]:
    """Return for each row the k nearest classes, and the squared distances to their nearest entry.

    What float32 leaves open is measured in float64; ties go to the entry that comes first.
    """
    margin = (emb_ND.shape[1] + 64) * 2.0**-22  # beyond what float32 can be wrong by
    products_NG = (emb_ND @ gallery_GD.T)[:, classes.order_G]
    found = []
    for emb_D, row_G in zip(emb_ND, products_NG, strict=True):
        best_C = np.maximum.reduceat(row_G, classes.starts_C)
        least = np.partition(best_C, len(best_C) - k)[-k] - margin
        limits_C = np.where(best_C >= least, best_C - margin, np.inf)
        near = classes.order_G[row_G >= np.repeat(limits_C, classes.sizes_C)]
        exact = gallery_GD[near].astype(np.float64) @ emb_D.astype(np.float64)
        squared = np.maximum(2.0 - 2.0 * exact, 0.0)
        ranked = np.lexsort((near, squared))
        labels = classes.labels_G[near[ranked]]
        first = np.sort(np.unique(labels, return_index=True)[1])[:k]
        found.append((labels[first], squared[ranked][first]))
    return found


def _for_channels(values: Sequence[float], channels: int) -> np.ndarray[Any, Any]:
    if len(values) == 1:
        values = list(values) * channels
    elif len(values) != channels:
        values = [sum(share * value for share, value in zip(GREY, values, strict=True))]
    return np.asarray(values, dtype=np.float32)


def _unit(emb_ND: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    norms_N1 = np.linalg.norm(emb_ND.astype(np.float64), axis=1, keepdims=True)
    return (emb_ND / np.where(norms_N1 == 0.0, 1.0, norms_N1)).astype(np.float32)


def _prototypes(
    unit_GD: np.ndarray[Any, Any], labels_G: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the mean direction of each class, and the classes."""
    classes = np.unique(labels_G)
    means = [unit_GD[labels_G == label].mean(axis=0, dtype=np.float64) for label in classes]
    return _unit(np.stack(means)), classes


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


mlflow.models.set_model(RecognitionModel())
