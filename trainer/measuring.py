"""Measures a model's latency for one picture and its number of parameters."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from trainer.devices import image_layout, pick_device
from trainer.models.recognizer import build_recognizer
from trainer.onnx_model import refuse_large
from trainer.receipt import device_name
from trainer.spec import parse_spec

if TYPE_CHECKING:
    from trainer.config.root import Spec

_WARM, _LEAST, _MOST, _BUDGET_S = 3, 10, 200, 1.0


def measure(spec: Spec | Mapping[str, Any]) -> dict[str, Any]:
    """Measure the model of a spec, one picture at a time, as a camera would ask it.

    With `dataset.flip_average` the model sees the picture and its mirror image.

    Returns:
        `latency_ms` (the lower quartile of up to 200 forward passes of one picture in float32,
        within a second; other load on the machine changes it least), `params` (number of weights)
        and `device`.

    Raises:
        SpecError: unknown backbone, an image size it cannot take, or too many weights to export.
    """
    checked = parse_spec(spec, "train", is_complete=False) if isinstance(spec, Mapping) else spec
    device = pick_device(checked.train.gpu_ids[0])
    model = build_recognizer(checked, load_pretrained=False)
    refuse_large(model, checked.model.backbone)
    model = model.to(device).eval()
    model = model.to(memory_format=image_layout(model, device))
    size = checked.model
    views = 2 if checked.dataset.flip_average else 1
    image_VCHW = torch.rand(views, size.input_channels, size.input_height, size.input_width)
    image_VCHW = image_VCHW.to(device).to(memory_format=image_layout(model, device))
    return {
        "latency_ms": 1000 * _quartile_s(model, image_VCHW, device),
        "params": sum(weight.numel() for weight in model.parameters()),
        "device": device_name(device),
    }


@torch.no_grad()
def _quartile_s(model: torch.nn.Module, image_VCHW: torch.Tensor, device: torch.device) -> float:
    times: list[float] = []
    began = time.perf_counter()
    for number in range(_WARM + _MOST):
        if number >= _WARM + _LEAST and time.perf_counter() - began > _BUDGET_S:
            break
        start = time.perf_counter()
        model(image_VCHW)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.quantiles(times[_WARM:], n=4)[0]
