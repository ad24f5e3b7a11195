"""The winner as an MLflow model: pictures in, labels of the nearest gallery pictures out.

This file is copied into the model and runs where nothing of this project is installed: onnxruntime,
numpy, pandas and Pillow are all it needs. It decodes as the trainer does, to the last pixel.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

BATCH = 32
GREY = (0.299, 0.587, 0.114)
MOST_RESIZED = 100_000_000
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


class RecognitionModel(PythonModel):
    """Labels pictures by the embedding model and gallery of a finished search.

    The input is a data frame with a column `image` of file paths, or of pictures as data URIs
    (`data:image/jpeg;base64,...`) where they come over a network. The output has a row for each
    with `label`, `distance` (0 to 2), and `labels`, `distances` of the `topk` nearest (a
    parameter, 1 by default).
    """

    def load_context(self, context: Any) -> None:
        """Open the ONNX file and the gallery."""
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
            self._gallery_GD = _unit(arrays["embeddings"])
            self._labels_G = np.asarray(arrays["class_names"])[arrays["labels"]]

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Label every row."""
        del context
        topk = int((params or {}).get("topk", 1))
        if not 1 <= topk <= len(self._gallery_GD):
            raise ValueError(f"topk: must be 1 to {len(self._gallery_GD)}, got {topk}")
        images = list(model_input["image"])
        parts = [self._nearest(images[i : i + BATCH], topk) for i in range(0, len(images), BATCH)]
        rows = [row for part in parts for row in part]
        return pd.DataFrame(rows, columns=["label", "distance", "labels", "distances"])

    def _nearest(self, images: Sequence[Any], topk: int) -> list[dict[str, Any]]:
        pixels = np.stack([self._pixels(image) for image in images])
        emb_ND = _unit(self._embed(pixels.transpose(0, 3, 1, 2).astype(np.float32)))
        products_NG = emb_ND.astype(np.float64) @ self._gallery_GD.T.astype(np.float64)
        squared_NG = np.maximum(2.0 - 2.0 * products_NG, 0.0)
        order_NK = np.argsort(squared_NG, axis=1, kind="stable")[:, :topk]
        rows = []
        for order, squared in zip(order_NK, squared_NG, strict=True):
            labels = [str(name) for name in self._labels_G[order]]
            distances = [float(np.sqrt(squared[i])) for i in order]
            rows.append(
                {
                    "label": labels[0],
                    "distance": distances[0],
                    "labels": labels,
                    "distances": distances,
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

    def _pixels(self, image: Any) -> np.ndarray[Any, Any]:
        """Decode one picture to the size that the model takes, H x W x C."""
        from PIL import Image

        if str(image).startswith("data:"):
            data = base64.b64decode(str(image).partition(",")[2], validate=True)
        else:
            data = Path(image).read_bytes()
        height, width = int(self._facts["input_height"]), int(self._facts["input_width"])
        mode = "RGB" if int(self._facts.get("input_channels", 3)) == 3 else "L"
        with Image.open(io.BytesIO(data)) as opened:
            # A cut picture is decoded in full: it has the pixels that timm's transform gives.
            longest = None if self._share else 2 * max(height, width)
            flat = _upright(opened, mode, longest)
        name = self._facts.get("interpolation", "bilinear")
        resampling = Image.Resampling[name.upper()]
        if self._share:
            flat = _cut(flat, height, width, self._share, resampling)
        elif flat.size != (width, height):
            flat = flat.resize((width, height), resampling)
        pixels: np.ndarray[Any, Any] = np.asarray(flat, dtype=np.uint8).reshape(height, width, -1)
        return pixels


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


def _upright(image: Any, mode: str, longest: int | None) -> Any:
    """Apply the rotation tag, lay transparency on white, bring deep greys to 8 bits."""
    from PIL import Image, ImageOps

    if longest is not None:
        image.draft(mode, (longest, longest))
    turned = ImageOps.exif_transpose(image)
    if turned.mode in DEEP_MODES:
        return Image.fromarray(_eight_bits(np.asarray(turned))).convert(mode)
    if turned.has_transparency_data:
        rgba = turned.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, rgba).convert(mode)
    return turned if turned.mode == mode else turned.convert(mode)


def _eight_bits(grey_HW: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = np.nan_to_num(grey_HW.astype(np.float64))
    top = float(values.max(initial=0.0))
    if grey_HW.dtype.kind == "f" and top <= 1.0:
        scale = 255.0
    elif top <= 255.0 and grey_HW.dtype.itemsize > 2:
        scale = 1.0
    else:
        scale = 255.0 / max(65535.0, top)
    eight: np.ndarray[Any, Any] = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
    return eight


def _for_channels(values: Sequence[float], channels: int) -> np.ndarray[Any, Any]:
    if len(values) == 1:
        values = list(values) * channels
    elif len(values) != channels:
        values = [sum(share * value for share, value in zip(GREY, values, strict=True))]
    return np.asarray(values, dtype=np.float32)


def _unit(emb_ND: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    norms_N1 = np.linalg.norm(emb_ND.astype(np.float64), axis=1, keepdims=True)
    return (emb_ND / np.where(norms_N1 == 0.0, 1.0, norms_N1)).astype(np.float32)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


mlflow.models.set_model(RecognitionModel())
