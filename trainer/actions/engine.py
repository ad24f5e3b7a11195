"""The action `gen_trt_engine`: builds an engine from an ONNX file, with optional INT8.

Where the `tensorrt` package and a GPU are at hand the result is a TensorRT engine. Elsewhere it is
said in one line, and the file holds an ONNX model for onnxruntime with the same arithmetic and
profile, so that what follows runs all the same.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.actions.half import layer_names, to_half
from trainer.actions.int8 import quantize
from trainer.durable_files import write_atomically, write_text
from trainer.encoders import PREPROCESSING, as_trained, check_facts, tensorrt_at_hand
from trainer.engine_facts import write_facts
from trainer.errors import SpecError
from trainer.onnx_model import OnnxModel, add_metadata
from trainer.spec import action_dir
from trainer.target_file import demand_target

if TYPE_CHECKING:
    from trainer.config.actions import TensorrtConfig
    from trainer.config.root import Spec

RESULTS = "engine.json"

logger = logging.getLogger(__name__)


def gen_trt_engine(spec: Spec) -> dict[str, Any]:
    """Build `gen_trt_engine.trt_engine` from `gen_trt_engine.onnx_file`.

    Returns:
        `engine` (the file), `kind` (`tensorrt` or `onnx`), `data_type`, `min_batch_size`,
        `opt_batch_size`, `max_batch_size`; for INT8 also what `quantize` returns.

    Raises:
        SpecError: values that do not go together, or too few calibration pictures.
        CheckpointError: the ONNX file cannot be used.
    """
    wanted = spec.gen_trt_engine
    source, target = Path(wanted.onnx_file or ""), Path(wanted.trt_engine or "")
    demand_target(target, "gen_trt_engine.trt_engine", sources=(source,))
    model = OnnxModel(source)
    spec = as_trained(source, spec)
    check_facts(source, model.facts, spec, only=PREPROCESSING)
    profile = _profile(spec, model)
    result: dict[str, Any] = {"engine": str(target), "data_type": wanted.tensorrt.data_type}
    target.parent.mkdir(parents=True, exist_ok=True)
    network = _with_arithmetic(source, target, spec, result)
    has_tensorrt = tensorrt_at_hand()
    if has_tensorrt:
        from trainer.actions.tensorrt_engine import build_engine

        write_atomically(target, lambda path: build_engine(network, path, spec, profile))
        write_facts(target, {**model.facts, **profile})
    else:
        logger.warning(
            "the tensorrt package or a GPU is missing: %s is written as an ONNX file for "
            "onnxruntime, not as a TensorRT engine (gpu_id, workspace_size and timing_cache are "
            "TensorRT's alone)",
            target,
        )
        write_atomically(target, lambda path: _copy_with_profile(network, path, profile))
    result |= {"kind": "tensorrt" if has_tensorrt else "onnx", **profile}
    write_text(action_dir(spec, "gen_trt_engine") / RESULTS, json.dumps(result, indent=1))
    return result


def _with_arithmetic(source: Path, target: Path, spec: Spec, result: dict[str, Any]) -> Path:
    """Return an ONNX file whose types say the arithmetic, written beside the target if need be.

    What is found on the way is added to `result`.
    """
    build = spec.gen_trt_engine.tensorrt
    layers = _kept_layers(source, build)
    if build.data_type == "INT8":
        network = target.with_name(f"{target.stem}.int8.onnx")
        result |= quantize(source, network, spec, keep=layers)
        return network
    if build.data_type == "FP32":
        return source
    network = target.with_name(f"{target.stem}.fp16.onnx")
    to_half(source, network, keep=layers)
    return network


def _kept_layers(source: Path, build: TensorrtConfig) -> list[str]:
    """Return the names of the layers that stay in FP32 while the others do not.

    Raises:
        SpecError: a layer is not in the network, or has a precision that the others do not have.
    """
    names, kept = set(layer_names(source)), []
    allowed = {"FP32", build.data_type}
    for text in build.layers_precision:
        name, _, precision = text.rpartition(":")
        if name not in names or precision.upper() not in allowed:
            wanted = " or ".join(f"NODE:{precision}" for precision in sorted(allowed))
            raise SpecError(
                f"gen_trt_engine.tensorrt.layers_precision: must be {wanted} with a node of "
                f"{source} (data_type is {build.data_type}), got {text!r}"
            )
        if precision.upper() != build.data_type:
            kept.append(name)
    return kept


def _profile(spec: Spec, model: OnnxModel) -> dict[str, int]:
    """Return least, best and greatest batch; one number where spec or file fix it."""
    wanted = spec.gen_trt_engine
    build = wanted.tensorrt
    fixed = model.batch_size or (wanted.batch_size if wanted.batch_size > 0 else None)
    sizes = (build.min_batch_size, build.opt_batch_size, build.max_batch_size)
    if model.batch_size is not None and wanted.batch_size not in {-1, model.batch_size}:
        raise SpecError(
            f"gen_trt_engine.batch_size: must be -1 or the {model.batch_size} that "
            f"{model.path} is fixed to, got {wanted.batch_size}"
        )
    names = ("min_batch_size", "opt_batch_size", "max_batch_size")
    return dict(zip(names, sizes if fixed is None else (fixed,) * 3, strict=True))


def _copy_with_profile(source: Path, target: Path, profile: dict[str, int]) -> None:
    model = OnnxModel(source)
    shutil.copyfile(source, target)
    add_metadata(target, {**model.facts, **profile})
