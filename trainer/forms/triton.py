"""A model repository for the Triton inference server.

`<out>/<name>/config.pbtxt` and `<out>/<name>/1/model.onnx`, as the server's documentation of model
repositories has it; the configuration is a `ModelConfig` message in protobuf's text form. Input and
output are those of the ONNX file; preprocessing and gallery stay with the client.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from trainer.durable_files import beside
from trainer.forms.exported import FormError, demand_replaceable
from trainer.onnx_model import INPUT, OUTPUT

_FILES = ("config.pbtxt", "1/model.onnx")
_MAX_BATCH = 64
"""Of a model whose batch is open."""
_TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 10: "TYPE_FP16"}
"""ONNX's element types (`TensorProto.DataType`) -> the server's."""


def write_triton(model: Path, out: Path, name: str) -> dict[str, Any]:
    """Write a repository with one model.

    Args:
        model: an exported ONNX file, the batch open or fixed.
        out: the repository; another model in it stays, and one of this name that was changed.
        name: of the model.

    Returns:
        `repository`, `model` and `config` (a path).

    Raises:
        FormError: the name cannot be a folder of the repository, the file has another input, or
            further versions or another configuration are there.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name.startswith("."):
        raise FormError(
            "--triton: the model's name must be of the letters A to Z, digits, '_', '-' and '.', "
            f"and not begin with '.', got {name!r}; give the file of --out such a name"
        )
    target = out / name
    text = _config_of(model, name)
    demand_replaceable(target, "--triton", _FILES, is_ours=_is_ours(target))
    with beside(target, prefix=".") as draft:
        (draft / "1").mkdir()
        shutil.copyfile(model, draft / "1" / "model.onnx")
        (draft / "config.pbtxt").write_text(text, encoding="utf-8")
    return {"repository": str(out), "model": name, "config": str(target / "config.pbtxt")}


def _is_ours(target: Path) -> bool:
    """Whether a model's configuration is the one that this module writes for it."""
    try:
        written = (target / "config.pbtxt").read_text(encoding="utf-8")
        return written == _config_of(target / "1" / "model.onnx", target.name)
    except Exception:  # noqa: BLE001 - no file, or one of another kind, which onnx meets with anything
        return False


def _config_of(model: Path, name: str) -> str:
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    inputs = {value.name: value.type.tensor_type for value in graph.input}
    outputs = {value.name: value.type.tensor_type for value in graph.output}
    if INPUT not in inputs or OUTPUT not in outputs:
        raise FormError(f"{model}: must take {INPUT!r} and give {OUTPUT!r}; export it again")
    return _config(name, inputs[INPUT], outputs[OUTPUT])


def _config(name: str, taken: Any, given: Any) -> str:
    # The server takes a first dimension that is fixed for no batch: then it batches nothing.
    is_open = not taken.shape.dim[0].dim_value
    lines = [
        f"name: {json.dumps(name)}",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {_MAX_BATCH if is_open else 0}",
        f"input [ {_tensor(INPUT, taken, int(is_open))} ]",
        f"output [ {_tensor(OUTPUT, given, int(is_open))} ]",
        "instance_group [ { count: 1 kind: KIND_AUTO } ]",
    ]
    if is_open:
        lines.append("dynamic_batching { max_queue_delay_microseconds: 2000 }")
    return "\n".join(lines) + "\n"


def _tensor(name: str, tensor: Any, first: int) -> str:
    dims = ", ".join(str(dim.dim_value or -1) for dim in tensor.shape.dim[first:])
    return f"{{ name: {json.dumps(name)} data_type: {_TYPES[tensor.elem_type]} dims: [ {dims} ] }}"
