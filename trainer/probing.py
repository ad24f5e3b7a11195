"""Measures the cost of an epoch by a few real steps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainer.config.growing import areas
from trainer.devices import pick_device, wants_bf16
from trainer.distributed import Rank
from trainer.embedding import embed
from trainer.features.data import FeatureData
from trainer.isolation import isolated
from trainer.models.recognizer import has_pretrained_weights
from trainer.onnx_model import demand_packages, refuse_large
from trainer.receipt import device_name, peak_memory_mib
from trainer.state import checkpoint_bytes
from trainer.training import build_parts, check_growth, checked_spec, load_features

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.batches import RecognitionData
    from trainer.data.splits import Labelled, Split
    from trainer.module import RecognitionModule

_WARM_STEPS = 2
"""After the first, the optimizer's state stands beside the activations: memory is at its peak."""
_STEPS = 6
_EVAL_BATCHES = 3
_LONGEST_S = 15.0
"""Of training steps, and of the validation of each split: slow models are measured by fewer, at
least by one after the first."""


def probe(spec: Spec | Mapping[str, Any], *, brief: bool = False) -> dict[str, Any]:
    """Measure a few training steps and validation batches of a spec.

    Args:
        spec: a checked spec, or nested data to check.
        brief: take no more of both than show the peak of memory; times are then a first guess.

    Returns:
        `seconds_per_epoch` (training and validation of one epoch; the mean over epochs where
        pictures grow or not every epoch is validated), `epoch_seconds` (the same of each epoch),
        `validation_seconds` (the part of the mean that is validation), `images_per_s` (training),
        `peak_memory_mib`, `total_memory_mib` and `free_memory_mib` (of a GPU, the latter before the
        first step, else None), `batches_per_epoch`, `device`, `checkpoint_bytes` (of one on disk),
        `random_weights` (whether training starts from nothing), `feature_views` (augmented views
        whose features a frozen trunk's head learns from, None where pictures are) and `took_s`
        (what the measurement itself took).

    Raises:
        TrainerError: as `trainer.training.fit`, and where the network could not be exported.
    """
    began = time.perf_counter()
    checked = checked_spec(spec)
    check_growth(checked)
    # Its training would be for nothing without an export.
    demand_packages(checked.export.opset_version)
    device = pick_device(*checked.train.gpu_ids)
    free, total = _memory_mib(device)
    with isolated(checked, device):
        rank = Rank(world_size=checked.train.num_gpus)
        # Small pictures of early epochs say little of memory, and of time by their area alone.
        full = replace(checked, dataset=replace(checked.dataset, first_size=1.0))
        data, module = build_parts(full, device, share=rank)
        refuse_large(module.model, checked.model.backbone)
        use_bf16 = wants_bf16(checked.train.precision, device)
        load_features(data, module, use_bf16=use_bf16)
        counted, batches = (0, 1) if brief else (_STEPS, _EVAL_BATCHES)
        step_s = _time_steps(module, data, device, steps=counted, use_bf16=use_bf16)
        validation_s = _time_validation(module, data, checked, batches=batches, use_bf16=use_bf16)
        validations = [validation_s * is_due for is_due in _are_validated(checked)]
        steps = [step_s * data.num_batches * area for area in areas(checked)]
        return {
            "seconds_per_epoch": fmean(steps) + fmean(validations),
            "epoch_seconds": [sum(parts) for parts in zip(steps, validations, strict=True)],
            "validation_seconds": fmean(validations),
            "images_per_s": checked.train.batch_size / step_s,
            "peak_memory_mib": peak_memory_mib(device),
            "total_memory_mib": total,
            "free_memory_mib": free,
            "batches_per_epoch": data.num_batches,
            "device": device_name(device),
            "checkpoint_bytes": checkpoint_bytes(module),
            "random_weights": not has_pretrained_weights(checked),
            "feature_views": checked.dataset.feature_views if module.takes_features else None,
            "took_s": time.perf_counter() - began,
        }


def _are_validated(spec: Spec) -> list[bool]:
    """Whether each epoch is validated: every `train.validation_interval`, and the last."""
    last, every = spec.train.num_epochs, spec.train.validation_interval
    return [epoch % every == 0 or epoch == last for epoch in range(1, last + 1)]


def _memory_mib(device: torch.device) -> tuple[float | None, float | None]:
    """What is free of a GPU, and all of it."""
    if device.type != "cuda":
        return None, None
    free, total = torch.cuda.mem_get_info(device)
    return free / 2**20, total / 2**20


def _time_steps(
    module: RecognitionModule,
    data: RecognitionData | FeatureData,
    device: torch.device,
    *,
    steps: int,
    use_bf16: bool,
) -> float:
    """Return seconds per batch: drawing, augmenting, forward, backward and optimizer step."""
    first = began = time.perf_counter()
    warm, counted = _WARM_STEPS, 0
    for number, batch in enumerate(_batches(data, _WARM_STEPS + steps)):
        so_far = time.perf_counter() - first
        if number == 1 and so_far > _LONGEST_S / 2:
            warm = 1
        if number > warm and so_far > _LONGEST_S:
            break
        if number == warm:
            _synchronize(device)
            began, counted = time.perf_counter(), 0
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bf16):
            loss = module.training_step(batch, number)
        module.optimizer.zero_grad()
        torch.autograd.backward(loss)
        module.configure_gradient_clipping(module.optimizer)
        module.optimizer.step()
        counted += 1
    _synchronize(device)
    return (time.perf_counter() - began) / counted


def _batches(data: RecognitionData | FeatureData, wanted: int) -> Any:
    """Yield so many batches, from several epochs when an epoch is short."""
    epochs = -(-wanted // data.num_batches)
    everything = (batch for epoch in range(epochs) for batch in data.train_batches(epoch))
    return islice(everything, wanted)


def _time_validation(
    module: RecognitionModule,
    data: RecognitionData | FeatureData,
    spec: Spec,
    *,
    batches: int,
    use_bf16: bool,
) -> float:
    """Return the seconds for embedding reference and query, from a few batches of each."""
    size = spec.train.val_batch_size
    total = 0.0
    splits: tuple[tuple[Split, Labelled | None], ...] = (
        ("reference", data.reference),
        ("query", data.query),
    )
    for name, split in splits:
        if split is not None:
            timed = _Timed(islice(data.eval_batches(name, size), batches))
            embed(module.validated, timed, use_bf16=use_bf16)
            total += timed.seconds * len(split.labels) / timed.images
    return 2 * total if spec.dataset.flip_average else total


class _Timed:
    """Batches until time is up, and how many images they held; the last one's work is counted."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self._batches, self._began = batches, time.perf_counter()
        self.images = 0

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self._batches:
            self.images += len(batch)
            yield batch
            if self.seconds > _LONGEST_S:
                return

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
