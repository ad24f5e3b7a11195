"""Isolates a run from the next in one process: seeds, switches, memory, signals."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from trainer.errors import DeviceMemoryError, first_line
from trainer.host_memory import keep_freed_blocks, return_freed_blocks

if TYPE_CHECKING:
    from trainer.config.root import Spec

_LIGHTNING_LOGGERS = (
    "pytorch_lightning",
    "lightning.pytorch",
    "lightning.fabric",
    "lightning_fabric",
)

_NVML_SWITCH = "PYTORCH_NVML_BASED_CUDA_CHECK"


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside, and put the generators of CPU and device back after."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def cudnn_switches(
    *, benchmark: bool, deterministic: bool
) -> contextlib.AbstractContextManager[None]:
    """Set cuDNN's switches inside.

    TF32 stays as torch has it: convolutions in float32 use it, products of matrices do not.
    """
    return torch.backends.cudnn.flags(
        enabled=True,
        benchmark=benchmark,
        deterministic=deterministic,
        allow_tf32=torch.backends.cudnn.allow_tf32,
    )


@contextlib.contextmanager
def without_nvml(device: torch.device) -> Iterator[None]:
    """On a CPU, let torch ask the CUDA runtime whether there is a GPU, not NVML.

    An optimizer asks at every step. Lightning has it ask NVML, so that processes can be forked
    later; torch keeps that answer only where there is a GPU, and elsewhere looks for the driver's
    library again and again, which takes longer than the step of a small head.
    """
    before = os.environ.get(_NVML_SWITCH)
    if device.type == "cpu":
        os.environ[_NVML_SWITCH] = "0"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_NVML_SWITCH, None)
        else:
            os.environ[_NVML_SWITCH] = before


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's hints about devices and loaders out of the log inside."""
    loggers = [logging.getLogger(name) for name in _LIGHTNING_LOGGERS]
    levels = {logger: logger.level for logger in loggers if logger.level != logging.WARNING}
    for logger in levels:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextlib.contextmanager
def plain_interrupts() -> Iterator[None]:
    """Let Ctrl-C leave as KeyboardInterrupt.

    Lightning turns it into exit code 1 and leaves SIGINT ignored for the rest of the process.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    try:
        yield
    except SystemExit as e:
        if isinstance(e.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if in_main and handler is not None:
            signal.signal(signal.SIGINT, handler)


_NO_MEMORY = ("out of memory", "alloc_failed", "can't allocate memory")
"""In what CUDA, its libraries and torch say, whose own class is for its own allocator alone."""


@contextlib.contextmanager
def memory_errors_named(what: str) -> Iterator[None]:
    """Turn running out of memory into a `DeviceMemoryError` that says what to change."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as e:
        raise DeviceMemoryError(f"{what}: not enough memory: {first_line(e)}") from e
    except RuntimeError as e:
        if any(words in str(e).lower() for words in _NO_MEMORY):
            raise DeviceMemoryError(f"{what}: not enough memory: {first_line(e)}") from e
        raise


@contextlib.contextmanager
def released(device: torch.device) -> Iterator[None]:
    """Give the memory of everything made inside back when leaving, however it is left."""
    keep_freed_blocks()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # What was there before is set aside, so that collecting looks at the run's own objects alone:
    # milliseconds in place of half a second with torch and timm loaded.
    is_first = gc.get_freeze_count() == 0
    if is_first:
        gc.freeze()
    try:
        yield
    except BaseException as e:
        _drop_frames(e)
        raise
    finally:
        gc.collect()
        if is_first:
            gc.unfreeze()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return_freed_blocks()


def _drop_frames(e: BaseException | None) -> None:
    """Clear the variables of finished frames, which would keep the model alive."""
    seen: set[int] = set()
    while e is not None and id(e) not in seen:
        seen.add(id(e))
        traceback.clear_frames(e.__traceback__)
        e = e.__cause__ or e.__context__


@contextlib.contextmanager
def isolated(spec: Spec, device: torch.device) -> Iterator[None]:
    """Keep what a run changes in the process inside: seeds, switches, memory, signals."""
    train = spec.train
    what = f"train.batch_size {train.batch_size} of {spec.model.backbone}"
    with (
        released(device),
        memory_errors_named(what),
        plain_interrupts(),
        quiet_lightning(),
        without_nvml(device),
        cudnn_switches(benchmark=train.cudnn.benchmark, deterministic=train.cudnn.deterministic),
        seeded(train.seed, device),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        yield
