"""FP16 forms of ONNX files, for TensorRT 11 (whose networks keep the file's types) and onnxruntime.

Input and output stay float32, so the files take the same pictures.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import onnx
from onnx import TensorProto

from trainer.durable_files import write_atomically
from trainer.onnx_model import OnnxModel, add_metadata


def to_half(source: Path, target: Path, *, keep: Collection[str] = ()) -> None:
    """Write `target`, the ONNX file `source` with FP16 weights and arithmetic.

    Args:
        source: a float32 ONNX file.
        target: the file to write.
        keep: names of nodes that go on computing in float32.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel as Graph

    facts = OnnxModel(source).facts
    proto = convert_float_to_float16(
        onnx.load(str(source)), keep_io_types=True, node_block_list=list(keep)
    )
    _drop_repeated_casts(proto)
    Graph(proto).topological_sort()
    write_atomically(target, lambda path: onnx.save(proto, str(path)))
    add_metadata(target, facts)


def _drop_repeated_casts(proto: onnx.ModelProto) -> None:
    """Keep one of the casts that the converter makes of a tensor that several kept nodes read."""
    seen: set[str] = set()
    for node in list(proto.graph.node):
        if node.output[0] in seen:
            proto.graph.node.remove(node)
        seen.add(node.output[0])


def layer_names(source: Path) -> list[str]:
    """Return the names of an ONNX file's nodes, which TensorRT's layers take over."""
    return [node.name for node in onnx.load(str(source), load_external_data=False).graph.node]


def share_of_weights(source: Path, names: Collection[str]) -> dict[str, float]:
    """Return the share of a file's floating-point weights that each named node holds, 0 to 1."""
    graph = onnx.load(str(source)).graph
    sizes = {
        tensor.name: int(_count(tensor))
        for tensor in graph.initializer
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
    }
    total = max(1, sum(sizes.values()))
    held = {node.name: sum(sizes.get(name, 0) for name in node.input) for node in graph.node}
    return {name: held[name] / total for name in names}


def _count(tensor: TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count
