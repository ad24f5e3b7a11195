"""INT8 quantization from calibration pictures, as ONNX with Q/DQ pairs."""

from __future__ import annotations

import hashlib
import inspect
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer import metrics
from trainer.checkpoints import write_atomically
from trainer.data.batches import build_data
from trainer.data.decode import decode_image
from trainer.data.framing import ImageSize, framing_of
from trainer.data.normalize import normalize_batch, pixel_statistics
from trainer.data.staging import stage
from trainer.data.tree import list_pictures
from trainer.encoders import OnnxEncoder, as_matched
from trainer.errors import CheckpointError, DataError, InfrastructureError
from trainer.matching import make_entries
from trainer.onnx_model import OnnxModel, add_metadata
from trainer.retrieval import search

if TYPE_CHECKING:
    from trainer.config.root import Spec

_SCORE_BATCH = 32

logger = logging.getLogger(__name__)


def quantize(source: Path, target: Path, spec: Spec) -> dict[str, Any]:
    """Write `target`, the INT8 form of an ONNX file.

    Symmetric 8-bit weights (a range per channel) and activations (ranges from the pictures), all as
    QDQ pairs. The ranges are kept in `cal_cache_file` and used again for the same ONNX file.

    Returns:
        `quantized_onnx`, `num_calibration_images`, `cache_reused`, and `calibrated_on` (the picture
        files).

    Raises:
        DataError: there are fewer than `cal_batch_size` x `cal_batches` pictures.
        CheckpointError: the file's picture size is open.
    """
    calibration = spec.gen_trt_engine.tensorrt.calibration
    model = OnnxModel(source)
    files = calibration_files(spec)
    cache = Path(calibration.cal_cache_file or "")
    is_reused = _is_cache_of(cache, source)
    with tempfile.TemporaryDirectory(prefix="ml_recog_int8_") as folder:
        prepared = _prepared(source, Path(folder) / "prepared.onnx")
        batches = _batches(files, model, spec)
        _quantize_static(prepared, target, _Reader(batches, model.input_name), cache)
    add_metadata(target, model.facts)
    if not is_reused:
        _stamp(cache, source)
    return {
        "quantized_onnx": str(target),
        "num_calibration_images": len(files),
        "cache_reused": is_reused,
        "calibrated_on": files,
    }


def calibration_files(spec: Spec) -> list[Path]:
    """Return `cal_batch_size` x `cal_batches` pictures, spread evenly over all that are given.

    Raises:
        DataError: when there are fewer.
    """
    calibration = spec.gen_trt_engine.tensorrt.calibration
    needed = calibration.cal_batch_size * calibration.cal_batches
    folders = [stage(source) for source in calibration.cal_image_dir or ()]
    found = sorted(path for folder in folders for path in list_pictures(folder))
    if len(found) < needed:
        raise DataError(
            "gen_trt_engine.tensorrt.calibration: cal_batch_size x cal_batches = "
            f"{needed} pictures are needed, cal_image_dir holds {len(found)}; "
            "lower cal_batches or add pictures"
        )
    picked = np.linspace(0, len(found) - 1, needed).round().astype(int)
    return [found[index] for index in picked]


def score_both(
    plain: OnnxModel, quantized: OnnxModel, spec: Spec, calibrated: list[Path]
) -> dict[str, Any]:
    """Return Precision@1 of both models on queries that were not calibrated on."""
    val = spec.dataset.val_dataset
    if not (val.reference and val.query):
        return {}
    data = build_data(_sized(spec, plain), torch.device("cpu"), need_train=False)
    if data.reference is None or data.query is None:
        return {}
    seen = {path.resolve() for path in calibrated}
    fresh_Q = np.array([path.resolve() not in seen for path in data.query.paths])
    if not fresh_Q.any():
        logger.warning("every query picture was calibrated on: Precision@1 is not compared")
        return {}
    labels_Q = data.query.labels[fresh_Q]
    values = {}
    for name, model in (("fp32", plain), ("int8", quantized)):
        encoder = as_matched(OnnxEncoder(model), spec)
        gallery = encoder.embed(data.eval_batches("reference", _SCORE_BATCH))
        query = encoder.embed(data.eval_batches("query", _SCORE_BATCH))[fresh_Q]
        entries = make_entries(gallery, data.reference.labels, spec.dataset.matching)
        nearest, _ = search(query, entries.unit, 1)
        hits_Q = entries.labels_E[nearest[:, 0]] == labels_Q
        values[name] = metrics.precision_at_1(hits_Q, labels_Q)[metrics.CLASS_MEAN]
    logger.info(
        "Precision@1 (class mean, %d queries): FP32 %.4f, INT8 %.4f",
        len(labels_Q), values["fp32"], values["int8"],
    )  # fmt: skip
    return {"precision_at_1": {**values, "num_queries": len(labels_Q)}}


class _Reader:
    """Feeds calibration batches to onnxruntime, one dict at a time and None at the end."""

    def __init__(self, batches: Iterator[NDArray[np.float32]], input_name: str) -> None:
        self._batches = batches
        self._name = input_name

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def _batches(files: list[Path], model: OnnxModel, spec: Spec) -> Iterator[NDArray[np.float32]]:
    size, framing = _size_of(model), framing_of(_sized(spec, model))
    mean, std = pixel_statistics(spec.dataset, size.channels)
    step = model.batch_size or spec.gen_trt_engine.tensorrt.calibration.cal_batch_size
    for start in range(0, len(files), step):
        chosen = files[start : start + step]
        chosen = chosen + files[: step - len(chosen)] if model.batch_size else chosen
        pixels = np.stack([decode_image(path, size, framing).pixels for path in chosen])
        yield normalize_batch(torch.from_numpy(pixels), mean, std).contiguous().numpy()


def _prepared(source: Path, target: Path) -> Path:
    """Fold and infer shapes, as the quantiser wants it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    return target


def _quantize_static(source: Path, target: Path, reader: _Reader, cache: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if "calibration_cache_path" not in inspect.signature(quantize_static).parameters:
        raise InfrastructureError(
            "gen_trt_engine: this onnxruntime keeps no calibration cache; install a newer one"
        )
    cache.parent.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        quantize_static(
            str(source),
            str(path),
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
            calibration_cache_path=cache,
        )

    write_atomically(target, write)


def _size_of(model: OnnxModel) -> ImageSize:
    if model.height is None or model.width is None or model.channels is None:
        raise CheckpointError(
            f"{model.path}: height, width and channels of its input must be fixed"
        )
    return ImageSize(height=model.height, width=model.width, channels=model.channels)


def _sized(spec: Spec, model: OnnxModel) -> Spec:
    """Return the spec with the picture size of the file, which the deploy templates do not give."""
    import dataclasses

    size = _size_of(model)
    section = dataclasses.replace(
        spec.model,
        input_height=size.height,
        input_width=size.width,
        input_channels=size.channels,
    )
    return dataclasses.replace(spec, model=section)


def _stamp_file(cache: Path) -> Path:
    return cache.with_name(f"{cache.name}.model")


def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _is_cache_of(cache: Path, source: Path) -> bool:
    """Whether there are kept ranges, of this ONNX file; those of another are refused."""
    if not cache.is_file():
        return False
    stamp = _stamp_file(cache)
    if stamp.is_file() and stamp.read_text() == _digest(source):
        logger.info("using the calibrated ranges in %s again", cache)
        return True
    raise DataError(
        f"gen_trt_engine.tensorrt.calibration.cal_cache_file: {cache} holds the ranges of another "
        "model; delete it or name another file"
    )


def _stamp(cache: Path, source: Path) -> None:
    digest = _digest(source)
    write_atomically(_stamp_file(cache), lambda path: _write_text(path, digest))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
