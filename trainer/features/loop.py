"""The training loop of a run on features.

A step of a head takes less time than what Lightning does around it, so such runs have a loop of
their own. It calls the same parts of the module and of the reporter, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainer.epochs import EpochReporter
    from trainer.features.data import FeatureData
    from trainer.module import RecognitionModule


class FeatureLoop:
    """Trains a module on features until the last epoch, or until its reporter ends the run.

    Args:
        data: with its features loaded.
        max_epochs: epochs to train, those before a resume not counted.
        use_bf16: arithmetic of the forward pass.
        accumulate: batches whose gradients make one optimizer step.
    """

    num_devices = 1
    num_nodes = 1

    def __init__(
        self, data: FeatureData, *, max_epochs: int, use_bf16: bool, accumulate: int
    ) -> None:
        self._data = data
        self.max_epochs = max_epochs
        self.precision = "bf16-mixed" if use_bf16 else "32-true"
        self.accumulate_grad_batches = accumulate

    def fit(self, module: RecognitionModule, reporter: EpochReporter) -> None:
        """Train.

        Raises:
            DivergedError: loss, embeddings or metrics stopped being finite.
        """
        last = module.progress.epoch + self.max_epochs
        module.train()
        reporter.begin(module)
        with one_thread():
            while module.progress.epoch < last:
                self._epoch(module, reporter)
                if not reporter.end_epoch(module):
                    return

    def _epoch(self, module: RecognitionModule, reporter: EpochReporter) -> None:
        skipped = module.progress.batch
        for number, batch in enumerate(self._data.train_batches(module.progress.epoch)):
            if number < skipped:
                continue
            with torch.autocast(
                batch[0].device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed"
            ):
                loss = module.training_step(batch, number) / self.accumulate_grad_batches
            torch.autograd.backward(loss)
            is_last = number + 1 == self._data.num_batches
            if is_last or (number + 1 - skipped) % self.accumulate_grad_batches == 0:
                module.configure_gradient_clipping(module.optimizer)
                module.optimizer.step()
                module.optimizer.zero_grad()
                module.scheduler.step()
                module.count_step()
            reporter.end_batch(module)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread inside: a head's operations are too small to share.

    On a machine that is busy with other trials, threads that wait for each other at every such
    operation take ten times the processor time.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
