"""An ONNX file that takes pictures as they are decoded: uint8, N x H x W x C, of any size.

Resizing, cutting and normalising are nodes of the graph. The filter is ONNX's antialiased `Resize`,
which rounds once where Pillow rounds after each axis: a pixel differs by one grey value at most, in
bicubic resizing by a few. What stays outside: decoding, rotation tags, transparency on white, and
bringing pictures of more than 8 bits a channel to 8.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.framing import Cut, framing_of, input_size
from trainer.data.normalize import pixel_statistics
from trainer.forms.exported import Exported, FormError, with_opset
from trainer.onnx_model import INPUT, OUTPUT, add_metadata

LEAST_COSINE = 0.995
IMAGE = "image"
_OPSET = 18
"""The first one with antialiased resizing."""
_FILTERS = {"bilinear": "linear", "bicubic": "cubic"}


def write_pixel_onnx(folder: Path, target: Path) -> dict[str, Any]:
    """Write the model of an export with its preprocessing inside, checked on real pictures.

    Args:
        folder: of the export.
        target: the ONNX file to write; input `image`, output `fc_pred`.

    Returns:
        `onnx`, `min_cosine`, `mean_cosine`, `num_images_checked`.

    Raises:
        FormError: its filter has no counterpart in ONNX, or the check fails.
    """
    import onnx

    from trainer.actions.export import write_onnx

    exported = Exported(folder)
    spec = with_opset(exported.spec, _OPSET)
    if spec.dataset.interpolation not in _FILTERS:
        raise FormError(
            f"dataset.interpolation: must be one of {', '.join(_FILTERS)} to be done inside the "
            f"model, got {spec.dataset.interpolation}"
        )
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp.onnx")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_onnx(exported.load(), spec, draft)
        core = onnx.load(str(draft))
        before = _preprocessing(exported, core)
        joined = onnx.compose.merge_models(before, core, io_map=[(_named("normalised"), INPUT)])
        onnx.checker.check_model(joined)
        onnx.save(joined, str(draft))
        add_metadata(draft, {**exported.onnx.facts, "preprocessing": "inside"})
        found = _compared(exported, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return {"onnx": str(target), **found}


def _compared(exported: Exported, path: Path) -> dict[str, Any]:
    import onnxruntime

    files = exported.pictures()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    own = [
        session.run([OUTPUT], {IMAGE: _as_batch(np.asarray(exported.upright(file)))})[0]
        for file in files
    ]
    return exported.compared(files, np.concatenate(own), LEAST_COSINE, "--with-preprocessing")


def _as_batch(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels.reshape(1, *pixels.shape[:2], -1))


def _preprocessing(exported: Exported, core: Any) -> Any:
    """The graph from uint8 pictures to the network's input."""
    from onnx import TensorProto, helper

    spec = exported.spec
    size, framing = input_size(spec), framing_of(spec)
    mean, std = pixel_statistics(spec.dataset, size.channels)
    graph = _Graph()
    shape: list[str | int | None] = ["batch", "height", "width", size.channels]
    graph.add("Cast", [IMAGE], "float", to=TensorProto.FLOAT)
    graph.add("Transpose", ["float"], "planes", perm=[0, 3, 1, 2])
    graph.add("Shape", ["planes"], "count", start=0, end=2)
    if framing.cut is None:
        graph.constant("wanted", np.array([size.height, size.width], dtype=np.int64))
    else:
        _add_wanted(graph, framing.cut)
    graph.add("Concat", ["count", "wanted"], "sizes", axis=0)
    graph.add(
        "Resize",
        ["planes", "", "", "sizes"],
        "resized",
        mode=_FILTERS[framing.interpolation],
        antialias=1,
        cubic_coeff_a=-0.5,  # as Pillow's
        coordinate_transformation_mode="half_pixel",
        exclude_outside=1,
    )
    last = "resized" if framing.cut is None else _add_cut(graph, framing.cut)
    graph.add("Round", [last], "whole")
    graph.constant("black", np.float32(0.0))
    graph.constant("white", np.float32(255.0))
    graph.add("Clip", ["whole", "black", "white"], "pixels")
    graph.constant("mean", mean.numpy()[None] * np.float32(255.0))
    graph.constant("std", std.numpy()[None] * np.float32(255.0))
    graph.add("Sub", ["pixels", "mean"], "centred")
    graph.add("Div", ["centred", "std"], "normalised")
    made = helper.make_graph(
        graph.nodes,
        "preprocessing",
        [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(_named("normalised"), TensorProto.FLOAT, None)],
        graph.constants,
    )
    opsets = [o for o in core.opset_import if o.domain in {"", "ai.onnx"}]
    return helper.make_model(made, opset_imports=opsets, ir_version=core.ir_version)


class _Graph:
    """Nodes and constants in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        """Add a node with one output."""
        from onnx import helper

        taken, given = [_named(name) for name in inputs], _named(output)
        self.nodes.append(helper.make_node(kind, taken, [given], name=given, **attributes))

    def constant(self, name: str, value: Any) -> None:
        """Add a constant."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value), _named(name)))


def _named(name: str) -> str:
    """The name in the joined graph, where exporters call values after what they do (`mean`)."""
    return f"pixels_{name}" if name not in {"", IMAGE} else name


def _add_wanted(graph: _Graph, cut: Cut) -> None:
    """Height and width that a picture is resized to, as `Cut.size_of` has them."""
    from onnx import TensorProto

    tall, wide = cut.resized
    graph.add("Shape", ["planes"], "sides", start=2, end=4)
    if tall == wide:
        graph.constant("short", np.array([tall], dtype=np.int64))
        graph.add("ReduceMin", ["sides"], "least", keepdims=1)
        graph.add("Mul", ["sides", "short"], "longer")
        graph.add("Div", ["longer", "least"], "wanted")
        return
    graph.constant("edges", np.array([tall, wide], dtype=np.float64))
    graph.add("Cast", ["sides"], "real_sides", to=TensorProto.DOUBLE)
    graph.add("Div", ["real_sides", "edges"], "ratios")
    graph.add("ReduceMin", ["ratios"], "ratio", keepdims=1)
    graph.add("Div", ["real_sides", "ratio"], "scaled")
    graph.add("Round", ["scaled"], "rounded")
    graph.add("Cast", ["rounded"], "wanted", to=TensorProto.INT64)


def _add_cut(graph: _Graph, cut: Cut) -> str:
    """Take the network's input out of the middle; halves are rounded to even, as Python does."""
    from onnx import TensorProto

    graph.constant("input_sides", np.array([cut.height, cut.width], dtype=np.int64))
    graph.constant("two", np.float32(2.0))
    graph.constant("both", np.array([2, 3], dtype=np.int64))
    graph.add("Sub", ["wanted", "input_sides"], "spare")
    graph.add("Cast", ["spare"], "real_spare", to=TensorProto.FLOAT)
    graph.add("Div", ["real_spare", "two"], "half")
    graph.add("Round", ["half"], "rounded_half")
    graph.add("Cast", ["rounded_half"], "corner", to=TensorProto.INT64)
    graph.add("Add", ["corner", "input_sides"], "opposite")
    graph.add("Slice", ["resized", "corner", "opposite", "both"], "cut")
    return "cut"
