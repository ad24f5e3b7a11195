"""The usual way to train the same thing, written anew for comparison; see trainer_throughput.py."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tests.benchmarks.data_path import published_transforms
from trainer.config.root import Spec
from trainer.devices import wants_bf16
from trainer.losses import build_loss
from trainer.models.recognizer import build_recognizer


class Files(Dataset[tuple[torch.Tensor, int]]):
    """Training pictures, each opened and transformed when it is asked for."""

    def __init__(self, spec: Spec, paths: tuple[Path, ...], labels: Any) -> None:
        self._paths, self._labels = paths, labels
        self._transforms = published_transforms(spec, spec.model.input_height)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.open(self._paths[index]).convert("RGB")
        return self._transforms(image), int(self._labels[index])


class Endless:
    """Batches of P classes x K images for ever, so that slices need no new workers."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[list[int]]:
        epoch = 0
        while True:
            for indices in self._sampler.batches(epoch):
                yield indices.tolist()
            epoch += 1


class PublishedRecipe:
    """Call it with a number of steps; its loader workers stand still between calls.

    Args:
        spec: of the comparison.
        data: what ours trains on, for its files, labels and sampler.
        device: to train on.
        counts_workers: return the processor seconds of the workers from each call.
    """

    def __init__(
        self, spec: Spec, data: Any, device: torch.device, *, counts_workers: bool
    ) -> None:
        self._device, self._use_bf16 = device, wants_bf16(spec.train.precision, device)
        self._counts_workers = counts_workers
        model = build_recognizer(spec).to(device).train()
        self._model = model
        self._loss, self._miner = build_loss(spec, data.num_classes, model.embedding_size)
        optim = spec.train.optim
        self._optimizer = torch.optim.Adam(
            [
                {"params": [p], "lr": optim.trunk.base_lr, "weight_decay": optim.trunk.weight_decay}
                for p in model.parameters()
            ]
        )
        loader = DataLoader(
            Files(spec, data.train.paths, data.train.labels),
            batch_sampler=Endless(data._sampler),
            num_workers=max(1, spec.dataset.workers),
            worker_init_fn=_one_thread,
        )
        self._batches: Any = iter(loader)
        self._workers = [worker.pid for worker in self._batches._workers]

    def __call__(self, steps: int) -> float:
        """Train some steps; return the workers' processor seconds if they are counted, else 0."""
        before = self._worker_seconds()
        self._signal(signal.SIGCONT)
        for _ in range(steps):
            images, labels = next(self._batches)
            images, labels = images.to(self._device), labels.to(self._device)
            self._optimizer.zero_grad()
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._use_bf16):
                emb_ND = self._model(images).float()
            loss = self._loss(emb_ND, labels, self._miner(emb_ND, labels))
            loss.backward()
            self._optimizer.step()
            loss.item()  # it is logged at every step
        self._signal(signal.SIGSTOP)
        return self._worker_seconds() - before

    def close(self) -> None:
        """End the workers."""
        self._signal(signal.SIGCONT)
        self._batches._shutdown_workers()

    def _signal(self, number: int) -> None:
        for pid in self._workers:
            os.kill(pid, number)

    def _worker_seconds(self) -> float:
        if not self._counts_workers:
            return 0.0
        ticks = 0
        for pid in self._workers:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def full_metrics(data: Any, device: torch.device) -> dict[str, float]:
    """Compute every metric on random embeddings of the validation set, as the recipe does."""
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator  # with sklearn

    rng = np.random.default_rng(0)
    query, reference = (
        torch.from_numpy(rng.normal(size=(len(split.labels), 256)).astype(np.float32)).to(device)
        for split in (data.query, data.reference)
    )
    found: dict[str, float] = AccuracyCalculator(k="max_bin_count").get_accuracy(
        query, data.query.labels, reference, data.reference.labels
    )
    return found


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
