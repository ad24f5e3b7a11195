"""Runs an exported model with onnxruntime: numpy in, numpy out."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.amounts import size_text
from trainer.cores import quota_cores
from trainer.errors import CheckpointError, InfrastructureError, SpecError

if TYPE_CHECKING:
    from torch import nn

INPUT = "input"
OUTPUT = "fc_pred"
NEWEST_TRACED_OPSET = 20
"""Up to here the tracing exporter serves every opset as asked; the other one, which needs
onnxscript, starts at 18."""
MOST_BYTES = (1 << 31) - (1 << 24)
"""Of weights: a file is one message of protocol buffers, which holds less than 2 GiB in all."""


class OnnxModel:
    """An ONNX file from normalised float32 pictures N x C x H x W to embeddings N x D.

    Attributes:
        batch_size: the batch that the file demands; None when it is open.
        channels, height, width: of the input.
        input_name: of the one input.
        facts: metadata that the export wrote, decoded; empty for files of other makers.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        if not path.is_file():
            raise CheckpointError(f"{path}: no such ONNX file")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = quota_cores() or 0  # 0: as many as the library chooses
        # Threads that spin while they wait take the cores from whoever else computes here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as e:
            raise CheckpointError(
                f"{path}: not a readable ONNX file: it is damaged, cut off or of another kind; "
                "export it again"
            ) from e
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise CheckpointError(f"{path}: one image input N x C x H x W is needed")
        self.path = path
        self.input_name, self._output = inputs[0].name, outputs[0].name
        batch, *sizes = inputs[0].shape
        self.batch_size = batch if isinstance(batch, int) else None
        self.channels, self.height, self.width = (
            size if isinstance(size, int) else None for size in sizes
        )
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.facts: dict[str, Any] = {key: _decoded(text) for key, text in metadata.items()}
        if self.facts.get("preprocessing") == "inside":
            raise CheckpointError(
                f"{path}: takes uint8 pictures as they are, N x H x W x C; name the file of the "
                "same export that takes normalised ones (model.onnx)"
            )

    def run(self, images_NCHW: NDArray[Any]) -> NDArray[np.float32]:
        """Embed a batch; one that is smaller than the file demands is filled up, none is dropped.

        Raises:
            SpecError: the batch is beyond the profile that `gen_trt_engine` gave the file.
        """
        if self.batch_size is None:
            most = self.facts.get("max_batch_size", len(images_NCHW))
            if len(images_NCHW) > most:
                raise SpecError(
                    f"batch_size: must be at most the {most} of {self.path}'s profile, "
                    f"got {len(images_NCHW)}"
                )
            return self._filled(images_NCHW, self.facts.get("min_batch_size", 1))
        starts = range(0, len(images_NCHW), self.batch_size)
        parts = [
            self._filled(images_NCHW[i : i + self.batch_size], self.batch_size) for i in starts
        ]
        return np.concatenate(parts)

    @property
    def size(self) -> dict[str, int | None]:
        """What the pictures must be, by key of `model`; None where the file leaves it open."""
        sides = {"input_height": self.height, "input_width": self.width}
        return {**sides, "input_channels": self.channels}

    def _run(self, images_NCHW: NDArray[Any]) -> NDArray[np.float32]:
        (emb_ND,) = self._session.run([self._output], {self.input_name: images_NCHW})
        result: NDArray[np.float32] = np.asarray(emb_ND, dtype=np.float32)
        return result

    def _filled(self, images_NCHW: NDArray[Any], least: int) -> NDArray[np.float32]:
        missing = least - len(images_NCHW)
        if missing <= 0:
            return self._run(images_NCHW)
        padded = np.pad(images_NCHW, ((0, missing), (0, 0), (0, 0), (0, 0)))
        return self._run(padded)[: len(images_NCHW)]


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def demand_packages(opset: int) -> None:
    """Look for the packages that an export needs, without importing one.

    Args:
        opset: that is asked of the file.

    Raises:
        InfrastructureError: naming those that are missing.
    """
    names = ("onnx", "onnxruntime", *(("onnxscript",) if opset > NEWEST_TRACED_OPSET else ()))
    if missing := [name for name in names if find_spec(name) is None]:
        raise InfrastructureError(
            f"{', '.join(missing)}: not installed, and needed to export the model at the end; pip "
            "install 'hpo-recognition[all]'"
        )


def refuse_large(model: nn.Module, backbone: str) -> None:
    """Refuse a network whose weights no ONNX file holds.

    Raises:
        SpecError: it has more than `MOST_BYTES`.
    """
    held = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    if held > MOST_BYTES:
        raise SpecError(
            f"model.backbone: must be a network with at most {size_text(MOST_BYTES)} of weights, "
            f"which is what an ONNX file holds, got {backbone} with {size_text(held)}; choose a "
            "smaller one"
        )


def add_metadata(path: Path, facts: dict[str, Any]) -> None:
    """Write facts into an ONNX file's metadata, each as JSON text."""
    import onnx

    proto = onnx.load(str(path))
    onnx.helper.set_model_props(proto, {key: json.dumps(value) for key, value in facts.items()})
    onnx.save(proto, str(path))
