"""Trains many heads on features of one trunk at once, each as `trainer.training.fit` would.

    receipts = fit_heads(specs, report)

A head's own module, loss, optimizer, schedule, reporter and folder are those of a run of its own;
only the forward and backward pass of heads whose losses have one name is shared (`trainer.stack`).
Heads that cannot be stacked are trained one by one.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from trainer.data.batches import Share
from trainer.devices import image_layout, pick_device, wants_bf16
from trainer.embedding import embed, needed
from trainer.epochs import EpochReporter
from trainer.errors import DivergedError, SpecError, TrainerError
from trainer.features import trains_on_features
from trainer.features.data import FeatureData, build_feature_data
from trainer.features.loop import FeatureLoop, one_thread
from trainer.features.source import FeatureSource
from trainer.head_first import prepare_head
from trainer.isolation import seeded
from trainer.models.heads import LinearHead
from trainer.models.recognizer import add_head, build_recognizer, random_trunk
from trainer.module import RecognitionModule
from trainer.receipt import build_receipt
from trainer.spec import spec_to_dict
from trainer.stack import Stack
from trainer.training import checked_spec, fit, isolated, outcome_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from trainer.config.root import Spec
    from trainer.data.splits import Split

HeadReport = Callable[[int, Mapping[str, Any]], bool]
"""Called as `Report` is, with the number of the head first."""

STACKED_CPU, STACKED_CUDA = 8, 256
"""Heads in one stack: on a CPU, what the caches hold."""

_MOST_KEPT = 2**27
"""Numbers in the embeddings of one split by all heads of a stack; more are made head by head."""
_CHECK_EVERY = 16
"""Steps between two looks at the losses on a GPU, where each look waits for the device."""


def fit_heads(
    specs: Sequence[Spec | Mapping[str, Any]], report: HeadReport
) -> list[dict[str, Any] | TrainerError]:
    """Train heads on a frozen trunk together.

    Each gets the weights, the curve, the files and the receipt of its run alone, but for rounding;
    checkpoints of its best and its last epoch are written when it has ended.

    Args:
        specs: one for each head, each with its own `results_dir`.
        report: called once per validated epoch of each head; False ends that head.

    Returns:
        For each head its receipt, or the error that ended it while the others went on.

    Raises:
        TrainerError: what concerns all heads: their pictures or the trunk's weights.
    """
    checked = [checked_spec(spec) for spec in specs]
    outcomes: dict[int, dict[str, Any] | TrainerError] = {}
    stackable: dict[str, list[int]] = {}
    for number, spec in enumerate(checked):
        if _can_stack(spec):
            stackable.setdefault(_trunk_key(spec), []).append(number)
        else:
            outcomes[number] = _alone(spec, number, report)
    for numbers in stackable.values():
        outcomes |= _of_one_trunk({n: checked[n] for n in numbers}, report)
    return [outcomes[number] for number in range(len(checked))]


def _can_stack(spec: Spec) -> bool:
    model, train = spec.model, spec.train
    is_own = model.pretrained_embedder_path or model.pretrained_model_path
    is_resumed = train.resume_training_checkpoint_path
    return (
        trains_on_features(spec)
        and train.train_embedder
        and not (is_own or is_resumed or train.compile)
    )


def _alone(spec: Spec, number: int, report: HeadReport) -> dict[str, Any] | TrainerError:
    try:
        return fit(spec, lambda told: report(number, told))
    except TrainerError as error:
        return error


def _trunk_key(spec: Spec) -> str:
    """Equal for heads that share trunk, seed and arithmetic."""
    model = spec_to_dict(spec)["model"]
    model.pop("feat_dim", None)
    train = spec.train
    return json.dumps([model, train.seed, train.precision, train.gpu_ids, train.batch_norm])


def _of_one_trunk(
    specs: Mapping[int, Spec], report: HeadReport
) -> dict[int, dict[str, Any] | TrainerError]:
    """Train the heads of one trunk, a stack at a time."""
    first = next(iter(specs.values()))
    device = pick_device(first.train.gpu_ids[0])
    with isolated(first, device):
        makers = _HeadMaker(first, device)
        if not makers.has_linear_head:
            return {n: _alone(spec, n, report) for n, spec in specs.items()}
        heads = {n: makers.make(n, spec, report) for n, spec in specs.items()}
        most = STACKED_CUDA if device.type == "cuda" else STACKED_CPU
        with one_thread():
            for group in _groups(list(heads.values()), most):
                _train_together(group)
        return {n: head.outcome for n, head in heads.items()}


class _HeadMaker:
    """Builds heads on one trunk, with the random values that each would draw alone."""

    def __init__(self, spec: Spec, device: torch.device) -> None:
        self._device = device
        with seeded(spec.train.seed, device):
            random_trunk(spec.model)
            self._random = torch.get_rng_state()
        with seeded(spec.train.seed, device):
            whole = build_recognizer(spec)
        self.has_linear_head = isinstance(whole.embedder, LinearHead)
        self._weights = whole.weights
        self._trunk = whole.trunk.to(device)
        self._trunk = self._trunk.to(memory_format=image_layout(whole, device))
        self._use_bf16 = wants_bf16(spec.train.precision, device)
        self._data: dict[str, FeatureData] = {}
        self._first: RecognitionModule | None = None

    def make(self, number: int, spec: Spec, report: HeadReport) -> _Head:
        """Build a head, its data loaded."""
        data = self._data_of(spec)
        with seeded(spec.train.seed, self._device):
            torch.set_rng_state(self._random)
            model = add_head(self._trunk, spec.model).to(self._device)
            model.weights = self._weights
            module = RecognitionModule(
                spec,
                model,
                num_classes=data.num_classes,
                num_batches=data.num_batches,
                takes_features=True,
            )
        if self._first is None:
            self._first = module
        module.share_fixed_state(self._first)
        prepare_head(module, data, spec, use_bf16=self._use_bf16)
        return _Head(number, spec, module, data, report, use_bf16=self._use_bf16)

    def _data_of(self, spec: Spec) -> FeatureData:
        """The features and batches of a head, shared by those with the same."""
        facts = [spec_to_dict(spec)["dataset"], spec.train.batch_size, spec.train.seed]
        key = json.dumps(facts, sort_keys=True)
        if key not in self._data:
            data = build_feature_data(spec, self._device, share=Share())
            data.load(FeatureSource(spec, self._trunk, use_bf16=self._use_bf16))
            self._data[key] = data
        return self._data[key]


class _Head:
    """One head in training."""

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
        self.outcome: dict[str, Any] | TrainerError = SpecError("was not trained")
        self._began = time.perf_counter()
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
        self.together: _Together | None = None
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
        return build_receipt(self.module, self._loop, self.data, self.spec, first_epoch=0)

    def begin(self) -> None:
        """Start status file and clock."""
        self.module.train()
        self.reporter.replay()
        self.reporter.begin()

    def end_epoch(self) -> bool:
        """Validate and report; False when the head has ended, well or not."""
        try:
            goes_on = self.reporter.end_epoch(self.module)
        except TrainerError as error:
            self.end(error)
            return False
        if goes_on and self.module.progress.epoch < self.spec.train.num_epochs:
            return True
        self.end()
        return False

    def end(self, error: BaseException | None = None) -> None:
        """Write the checkpoints, and keep the outcome.

        Raises:
            BaseException: the error, if it is none of the trainer's.
        """
        try:
            with self.reporter.closing():
                if error is not None:
                    raise error
        except TrainerError as caught:
            self.outcome = caught
        else:
            facts = outcome_of(self.spec, self.module, self.reporter)
            seconds = time.perf_counter() - self._began
            self.outcome = self._receipt() | facts | {"seconds": seconds}


def _groups(heads: list[_Head], most: int) -> Iterator[list[_Head]]:
    """Heads that train in one stack, those of like sizes together."""
    ordered = sorted(heads, key=lambda head: (head.group_key, head.size))
    for _, same in itertools.groupby(ordered, key=lambda head: head.group_key):
        own = list(same)
        num_stacks = math.ceil(len(own) / most)
        size = math.ceil(len(own) / num_stacks)
        yield from (own[start : start + size] for start in range(0, len(own), size))


def _train_together(heads: list[_Head]) -> None:
    for head in heads:
        head.begin()
    active, together = list(heads), None
    try:
        while active:
            together = together or _Together(active)
            left = [head for head in together.train_epoch() if head.end_epoch()]
            together = together if len(left) == len(active) else None
            active = left
    except BaseException as error:
        for head in active:
            with contextlib.suppress(type(error)):
                head.end(error)
        raise


class _Together:
    """Heads that take their steps together until one of them ends."""

    def __init__(self, heads: list[_Head]) -> None:
        self._heads = heads
        first = heads[0]
        self._stack = Stack(
            [head.module for head in heads], first.spec.train.loss.name, use_bf16=first.use_bf16
        )
        self._embeddings: dict[tuple[int, Split, bool], NDArray[Any]] = {}
        for head in heads:
            head.together = self
        self._optimizer = _joined([head.module.optimizer for head in heads])

    def train_epoch(self) -> list[_Head]:
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
            if is_last or not sum_H.is_cuda or number % _CHECK_EVERY == 0:
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

    def embedded(self, head: _Head, split: Split, *, is_mirrored: bool) -> NDArray[Any]:
        """A head's embeddings of a split; those of all heads with its data are made at once."""
        key, size = (id(head.data), split, is_mirrored), head.spec.train.val_batch_size
        if key not in self._embeddings:
            batches = head.data.eval_batches(split, size, is_mirrored=is_mirrored)
            num_pictures = len(needed(getattr(head.data, split), split).labels)
            if len(self._heads) * num_pictures * head.module.model.embedding_size > _MOST_KEPT:
                return embed(head.module.validated, batches, use_bf16=head.use_bf16)
            parts = [self._stack.embed(feat_NF).cpu() for feat_NF in batches]
            self._embeddings[key] = torch.cat(parts, dim=1).numpy()
        own_ND: NDArray[Any] = self._embeddings[key][self._heads.index(head)]
        return own_ND[:, : head.module.model.embedding_size]

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


def _diverged(head: _Head, loss_sum: Tensor, number: int) -> None:
    """End a head whose loss is not finite, in the words of a run alone."""
    head.module.loss_sum.copy_(loss_sum)
    head.module.progress.batch = number - 1
    try:
        head.module.check_loss()
    except DivergedError as error:
        head.end(error)


def _batches(heads: list[_Head], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
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
