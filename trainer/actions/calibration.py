"""Calibration pictures of INT8, and the value ranges that they give a network's tensors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.actions.scoring import size_of, with_size_of
from trainer.data.decode import decode_image
from trainer.data.framing import framing_of
from trainer.data.normalize import normalize_batch, pixel_statistics
from trainer.data.sources import pictures_of
from trainer.errors import DataError, InfrastructureError
from trainer.onnx_model import OnnxModel

if TYPE_CHECKING:
    from trainer.config.root import Spec

METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""Names of the spec and of onnxruntime, the cheapest first."""


def calibration_files(spec: Spec) -> list[Path]:
    """Return `cal_batch_size` x `cal_batches` pictures, spread evenly over all that are given.

    Raises:
        DataError: when there are fewer.
    """
    calibration = spec.gen_trt_engine.tensorrt.calibration
    needed = calibration.cal_batch_size * calibration.cal_batches
    found = sorted(p for source in calibration.cal_image_dir or () for p in pictures_of(source))
    if len(found) < needed:
        raise DataError(
            "gen_trt_engine.tensorrt.calibration: cal_batch_size x cal_batches = "
            f"{needed} pictures are needed, cal_image_dir holds {len(found)}; "
            "lower cal_batches or add pictures"
        )
    picked = np.linspace(0, len(found) - 1, needed).round().astype(int)
    return [found[index] for index in picked]


def calibration_batches(
    files: list[Path], model: OnnxModel, spec: Spec
) -> Iterator[NDArray[np.float32]]:
    """Yield the pictures as a model takes them, float32 N x C x H x W.

    Raises:
        CheckpointError: the file's picture size is open.
    """
    size, framing = size_of(model), framing_of(with_size_of(spec, model))
    mean, std = pixel_statistics(spec.dataset, size.channels)
    step = model.batch_size or spec.gen_trt_engine.tensorrt.calibration.cal_batch_size
    for start in range(0, len(files), step):
        chosen = files[start : start + step]
        if model.batch_size:  # a batch of that many and no fewer
            chosen += islice(cycle(files), step - len(chosen))
        pixels = np.stack([decode_image(path, size, framing).pixels for path in chosen])
        yield normalize_batch(torch.from_numpy(pixels), mean, std).contiguous().numpy()


def write_ranges(
    network: Path, batches: Iterator[NDArray[np.float32]], method: str, target: Path
) -> None:
    """Run pictures through a network and write the range of every tensor, as onnxruntime keeps it.

    Args:
        network: an ONNX file.
        batches: pictures, as `calibration_batches` gives them.
        method: a key of `METHODS`.
        target: file to write.
    """
    try:
        from onnxruntime.quantization.calibrate import (
            CalibrationMethod,
            create_calibrator,
            save_tensors_data,
        )
    except ImportError as e:
        raise InfrastructureError(
            "gen_trt_engine: this onnxruntime keeps no calibration cache; install a newer one"
        ) from e
    target.parent.mkdir(parents=True, exist_ok=True)
    calibrator = create_calibrator(
        network,
        augmented_model_path=str(target.with_suffix(".augmented.onnx")),
        calibrate_method=CalibrationMethod[METHODS[method]],
    )
    name = calibrator.infer_session.get_inputs()[0].name
    # A batch at a time: the histograms keep every tensor of what they are given at once.
    for batch in batches:
        one = iter(({name: batch}, None))  # the form that onnxruntime reads
        calibrator.collect_data(SimpleNamespace(get_next=partial(next, one)))
    save_tensors_data(calibrator.compute_data(), target)
    target.with_suffix(".augmented.onnx").unlink(missing_ok=True)
