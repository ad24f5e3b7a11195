"""Builds and runs TensorRT engines, of TensorRT 10 and 11.

Networks are strongly typed: the types in the ONNX file say the arithmetic. TensorRT 11 knows no
other kind; in 10 that holds but for INT8, where it may run in FP16 what is not quantised.
Imported only where the package and a GPU are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorrt
import torch
from numpy.typing import NDArray

from trainer.devices import pick_device
from trainer.durable_files import write_atomically
from trainer.errors import CheckpointError, InfrastructureError, SpecError
from trainer.onnx_model import INPUT, OUTPUT

if TYPE_CHECKING:
    from trainer.config.root import Spec

logger = logging.getLogger(__name__)


def build_engine(onnx_file: Path, target: Path, spec: Spec, profile: dict[str, int]) -> None:
    """Build and write a serialised engine.

    Raises:
        CheckpointError: TensorRT cannot read the ONNX file.
        InfrastructureError: the build failed.
    """
    wanted = spec.gen_trt_engine
    pick_device(wanted.gpu_id)
    builder = tensorrt.Builder(_log(verbose=wanted.verbose))
    is_loose = wanted.tensorrt.data_type == "INT8" and hasattr(tensorrt.BuilderFlag, "FP16")
    typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(0 if is_loose else typed)
    parser = tensorrt.OnnxParser(network, _log(verbose=wanted.verbose))
    if not parser.parse(onnx_file.read_bytes()):
        raise CheckpointError(f"{onnx_file}: TensorRT cannot read it: {parser.get_error(0).desc()}")
    # Whatever its maker has called them; the engine is asked for them by these names.
    network.get_input(0).name, network.get_output(0).name = INPUT, OUTPUT
    config = builder.create_builder_config()
    config.set_memory_pool_limit(
        tensorrt.MemoryPoolType.WORKSPACE, wanted.tensorrt.workspace_size << 20
    )
    if is_loose:
        _set_flags_of_10(config)
    shape = tuple(network.get_input(0).shape)[1:]
    optimization = builder.create_optimization_profile()
    sizes = ((profile[name], *shape) for name in _PROFILE)
    optimization.set_shape(INPUT, *sizes)
    config.add_optimization_profile(optimization)
    timing = _timing_cache(config, wanted.timing_cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise InfrastructureError(f"{onnx_file}: TensorRT could not build an engine from it")
    target.write_bytes(bytes(engine))
    if timing is not None:
        _keep_timing(Path(wanted.timing_cache), bytes(timing.serialize()))


_PROFILE = ("min_batch_size", "opt_batch_size", "max_batch_size")


class TensorrtEncoder:
    """An engine on a GPU; batches beyond its profile are refused, smaller ones filled up."""

    def __init__(self, path: Path, spec: Spec, device: torch.device) -> None:
        runtime = tensorrt.Runtime(_log(verbose=False))
        self._device = device
        with torch.cuda.device(device):
            self._engine = runtime.deserialize_cuda_engine(path.read_bytes())
            if self._engine is None:
                raise CheckpointError(
                    f"{path}: not an engine of this TensorRT {tensorrt.__version__}"
                )
            self._context = self._engine.create_execution_context()
        least, _, most = self._engine.get_tensor_profile_shape(INPUT, 0)
        self._least, self._most = int(least[0]), int(most[0])
        self._path = path
        size = (spec.model.input_channels, spec.model.input_height, spec.model.input_width)
        if tuple(most[1:]) != size:
            raise SpecError(
                "model.input_channels, input_height, input_width: must be "
                f"{tuple(most[1:])}, got {size}: {path} takes that size"
            )

    def embed(self, batches: Iterable[torch.Tensor]) -> NDArray[Any]:
        """Return raw embeddings of all pictures in order; the CPU waits for the GPU once."""
        with torch.cuda.device(self._device):
            emb_ND = torch.cat([self._run(batch) for batch in batches])
            result: NDArray[Any] = emb_ND.cpu().numpy()
        return result

    def _run(self, batch: torch.Tensor) -> torch.Tensor:
        """Put a batch on the current stream; its buffers are freed in that stream's order."""
        count = len(batch)
        if count > self._most:
            raise SpecError(
                f"batch_size: must be at most the {self._most} of {self._path}'s profile, "
                f"got {count}"
            )
        images = batch.to(self._device, torch.float32, non_blocking=True).contiguous()
        if count < self._least:
            filling = images.new_zeros(self._least - count, *images.shape[1:])
            images = torch.cat((images, filling))
        self._context.set_input_shape(INPUT, tuple(images.shape))
        shape = tuple(self._context.get_tensor_shape(OUTPUT))
        emb_ND = torch.empty(shape, dtype=torch.float32, device=self._device)
        self._context.set_tensor_address(INPUT, images.data_ptr())
        self._context.set_tensor_address(OUTPUT, emb_ND.data_ptr())
        stream = torch.cuda.current_stream(self._device)
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise InfrastructureError(f"{self._path}: TensorRT could not run the engine")
        return emb_ND[:count]


def _log(*, verbose: bool) -> Any:
    level = tensorrt.Logger.VERBOSE if verbose else tensorrt.Logger.WARNING
    return tensorrt.Logger(level)


def _set_flags_of_10(config: Any) -> None:
    """Let TensorRT 10 use INT8, and FP16 beside it."""
    config.set_flag(tensorrt.BuilderFlag.INT8)
    config.set_flag(tensorrt.BuilderFlag.FP16)


def _timing_cache(config: Any, file: str) -> Any:
    if not file:
        return None
    path = Path(file)
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        logger.warning("%s: is of another GPU or TensorRT, or damaged, and is made anew", path)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _keep_timing(path: Path, content: bytes) -> None:
    """Write a timing cache; the engine that took minutes does not depend on it."""
    try:
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        logger.warning("gen_trt_engine.timing_cache: %s cannot be written: %s", path, error)
