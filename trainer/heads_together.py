"""Trains several heads as one stack, each with a module, a reporter and files of its own.

`trainer.many_heads` builds the heads and puts those of one kind together.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from trainer.embedding import embed, needed
from trainer.epochs import EpochReporter
from trainer.errors import DivergedError, TrainerError
from trainer.features.loop import FeatureLoop
from trainer.head_first import prepare_head
from trainer.receipt import build_receipt, peak_memory_mib
from trainer.stack import Stack
from trainer.training import outcome_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from trainer.config.root import Spec
    from trainer.data.decoding import Progress
    from trainer.data.splits import Split
    from trainer.features.data import FeatureData
    from trainer.module import RecognitionModule

HeadReport = Callable[[int, Mapping[str, Any]], bool]
"""Called as `Report` is, with the number of the head first."""

_MOST_KEPT = 2**27
"""Numbers in the embeddings of one split by all heads of a stack; more are made head by head."""
_CHECK_EVERY = 16
"""Steps between two looks at the losses on a GPU, where each look waits for the device."""


class HeadRun:
    """One head in training.

    Args:
        number: of the head, for its reports.
        spec: the whole spec of its run.
        module: takes features; the trunk is shared with others.
        data: with its features loaded.
        report: called with its validated epochs.
        use_bf16: arithmetic of the forward pass.
    """

    def __init__(
        self,
        number: int,
        spec: Spec,
        module: RecognitionModule,
        data: FeatureData,
        report: HeadReport,
        *,
        use_bf16: bool,
    ) -> None:
        self.spec, self.module, self.data = spec, module, data
        self.outcome: dict[str, Any] | TrainerError | None = None
        self._began = time.perf_counter()
        self.is_trained = False
        """Whether no more than `end` is left to do."""
        self._told: dict[str, Any] = {}
        self._loop = FeatureLoop(
            data,
            max_epochs=spec.train.num_epochs,
            use_bf16=use_bf16,
            accumulate=spec.train.accumulate_grad_batches,
        )
        self.reporter = EpochReporter(
            spec, data, lambda told: report(number, told), self._receipt,
            use_bf16=use_bf16, history=[], saves_at_end=True,
        )  # fmt: skip
        if module.running_mean is None:  # which is in no stack
            self.reporter.embedded = self._embedded
        self.together: Together | None = None
        """The heads that it is trained with at this moment."""
        self.use_bf16 = use_bf16

    @property
    def group_key(self) -> tuple[Any, ...]:
        """Equal for heads that can be trained in one stack."""
        train = self.spec.train
        per_class = train.loss.subcenter_arcface.sub_centers
        return (
            train.loss.name,
            train.optim.name,
            per_class if train.loss.name == "subcenter_arcface" else 0,
            self.data.num_classes,
            train.batch_size,
            self.data.num_batches,
            train.accumulate_grad_batches,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Heads of like sizes are stacked together: epochs, length of the embedding."""
        return self.spec.train.num_epochs, self.module.model.embedding_size

    def _embedded(self, split: Split, is_mirrored: bool) -> NDArray[Any]:
        if self.together is None:
            raise RuntimeError("a head is validated while it is trained")
        return self.together.embedded(self, split, is_mirrored=is_mirrored)

    def _receipt(self) -> dict[str, Any]:
        """Read back once, in the first report: no later epoch changes what a head trains with."""
        if not self._told:
            args = (self.module, self._loop, self.data, self.spec)
            self._told = build_receipt(*args, first_epoch=0)
        memory = peak_memory_mib(self.module.loss_sum.device)
        return self._told | {"peak_memory_mib": memory}

    def prepare(self, progress: Progress | None) -> None:
        """Make the head ready for its first epoch, or end it where that cannot be done."""
        try:
            prepare_head(self.module, self.data, self.spec, progress, use_bf16=self.use_bf16)
        except TrainerError as error:
            self.reporter.replay()
            self.end(error)

    def begin(self) -> None:
        """Start status file and clock."""
        self.reporter.replay()
        self.reporter.begin(self.module)

    def end_epoch(self) -> bool:
        """Validate and report; False when the head is trained, and to be ended, or has failed."""
        try:
            goes_on = self.reporter.end_epoch(self.module)
        except TrainerError as error:
            self.end(error)
            return False
        if goes_on and self.module.progress.epoch < self.spec.train.num_epochs:
            return True
        self.is_trained = True
        self.reporter.write_held()  # by a thread, while the others train
        return False

    def end(self, error: BaseException | None = None) -> None:
        """Write the checkpoints, and keep the outcome; an error leaves a trained head as it is.

        Raises:
            BaseException: the error, if it is none of the trainer's.
        """
        try:
            with self.reporter.closing():
                if error is not None and not self.is_trained:
                    raise error
        except TrainerError as caught:
            self.outcome = caught
        else:
            facts = outcome_of(self.spec, self.module, self.reporter)
            seconds = time.perf_counter() - self._began
            self.outcome = self._receipt() | facts | {"seconds": seconds}


def train_together(heads: list[HeadRun]) -> None:
    """Train heads of one kind until each is trained, and to be ended, or has failed.

    Raises:
        BaseException: what is no error of the trainer, such as one of a caller's report; all heads
            have then ended.
    """
    for head in heads:
        head.begin()
    active, together = list(heads), None
    try:
        while active:
            together = together or Together(active)
            left = [head for head in together.train_epoch() if head.end_epoch()]
            together = together if len(left) == len(active) else None
            active = left
    except BaseException as error:
        for head in active:
            if head.outcome is None:
                with contextlib.suppress(type(error)):
                    head.end(error)
        raise


class Together:
    """Heads that take their steps together until one of them ends."""

    def __init__(self, heads: list[HeadRun]) -> None:
        self._heads = heads
        first = heads[0]
        self._stack = Stack(
            [head.module for head in heads], first.spec.train.loss.name, use_bf16=first.use_bf16
        )
        self._embeddings: dict[tuple[int, Split, bool], list[NDArray[Any]]] = {}
        for head in heads:
            head.together = self
        self._optimizer = _joined([head.module.optimizer for head in heads])

    def train_epoch(self) -> list[HeadRun]:
        """Train one epoch; return the heads whose losses stayed finite, having ended the others."""
        self._embeddings.clear()
        first = self._heads[0]
        num_batches, accumulate = first.data.num_batches, first.module.accumulate
        sum_H = first.module.loss_sum.new_zeros(len(self._heads))
        nonzero_H = torch.zeros_like(sum_H, dtype=torch.int64)
        diverged: set[int] = set()
        for number, batch in enumerate(_batches(self._heads, first.module.progress.epoch), start=1):
            losses_H = self._stack.backward(*batch, share=1 / accumulate)
            sum_H += losses_H
            nonzero_H += losses_H > 0
            is_last = number == num_batches
            is_due = is_last or not sum_H.is_cuda or number % _CHECK_EVERY == 0
            if is_due and not math.isfinite(sum_H.sum().item()):
                broken = torch.nonzero(~torch.isfinite(sum_H)).flatten().tolist()
                for h in set(broken) - diverged:
                    _diverged(self._heads[h], sum_H[h], number)
                diverged |= set(broken)
            if is_last or number % accumulate == 0:
                self._step()
        for h, head in enumerate(self._heads):
            head.module.loss_sum.copy_(sum_H[h])
            head.module.nonzero_steps.copy_(nonzero_H[h])
            head.module.progress.batch = num_batches
        return [head for h, head in enumerate(self._heads) if h not in diverged]

    def embedded(self, head: HeadRun, split: Split, *, is_mirrored: bool) -> NDArray[Any]:
        """A head's embeddings of a split; those of all heads with its data are made at once."""
        key, size = (id(head.data), split, is_mirrored), head.spec.train.val_batch_size
        if key not in self._embeddings:
            batches = head.data.eval_batches(split, size, is_mirrored=is_mirrored)
            num_pictures = len(needed(getattr(head.data, split), split).labels)
            if len(self._heads) * num_pictures * head.module.model.embedding_size > _MOST_KEPT:
                return embed(head.module.validated, batches, use_bf16=head.use_bf16)
            parts = zip(*(self._stack.embed(feat_NF) for feat_NF in batches), strict=True)
            self._embeddings[key] = [torch.cat(own).cpu().numpy() for own in parts]
        return self._embeddings[key][self._heads.index(head)]

    def _step(self) -> None:
        """Move all heads by their gradients, as `FeatureLoop` does with one."""
        for head in self._heads:
            head.module.configure_gradient_clipping(head.module.optimizer)
        self._optimizer.step()
        self._optimizer.zero_grad()
        for head in self._heads:
            head.module.count_step()
            head.module.stand_at_step()


def _joined(optimizers: Sequence[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """One optimizer that steps all of some of one kind; groups and states stay their own's too."""
    joined = copy.copy(optimizers[0])
    joined.param_groups = [group for own in optimizers for group in own.param_groups]
    joined.state = collections.defaultdict(dict)
    for own in optimizers:
        for group in own.param_groups:
            for parameter in group["params"]:
                joined.state[parameter] = own.state[parameter]
    return joined


def _diverged(head: HeadRun, loss_sum: Tensor, number: int) -> None:
    """End a head whose loss is not finite, in the words of a run alone."""
    head.module.loss_sum.copy_(loss_sum)
    head.module.progress.batch = number - 1
    try:
        head.module.check_loss()
    except DivergedError as error:
        head.end(error)


def _batches(heads: list[HeadRun], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of an epoch: one for all heads where they share their data, else one for each."""
    data = list({id(head.data): head.data for head in heads}.values())
    if len(data) == 1:
        for feat_BF, labels_B in data[0].train_batches(epoch):
            for head in heads:
                head.module.note_batch(feat_BF, labels_B)
            yield feat_BF, labels_B
        return
    for batches in zip(*(head.data.train_batches(epoch) for head in heads), strict=True):
        for head, batch in zip(heads, batches, strict=True):
            head.module.note_batch(*batch)
        yield torch.stack([feat for feat, _ in batches]), torch.stack([own for _, own in batches])
