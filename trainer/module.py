"""The Lightning module of a run: training step, optimizer, schedule and running mean of weights.

What happens between epochs (validation, checkpoints, reports) is `trainer.epochs`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainer.devices import image_layout
from trainer.distributed import gathered
from trainer.errors import DivergedError, SpecError
from trainer.lightning import pl
from trainer.losses import build_loss
from trainer.masked_losses import MaskedLoss
from trainer.models.trunk import batch_norms
from trainer.optim import build_optimizer, build_schedule, schedule_optimizer, top_groups

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.batches import RecognitionData
    from trainer.features.data import FeatureData
    from trainer.models.recognizer import Recognizer

_CHECK_EVERY_CUDA = 16
"""Steps between two looks at the loss on a GPU, where each look waits for the device."""

_EMA_RAMP = 10

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(slots=True)
class Progress:
    """Where a run stands."""

    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Batches done in the current epoch."""
    num_batches: int = 0
    """Batches of the current epoch."""
    step: int = 0
    """Optimizer steps since the start of the run, where all of it has batches of one size."""
    head_epochs: int = 0
    """Epochs that the head trained alone before."""
    class_start: str = "random"
    """What the loss's class vectors started from."""
    head_from: str = ""
    """Checkpoint whose head the run began with (`train.head_checkpoint`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """What the first training batch really was."""

    shape: tuple[int, ...]
    """N, C, H, W; or N, F of features."""
    num_classes: int
    images_per_class: tuple[int, int]
    """Least and greatest count of a class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchFacts:
    """What the queries of a validation really were compared with."""

    matching: str
    """Of the entries that they were compared with."""
    num_views: int
    """Embeddings of each picture."""


class RunningMean:
    """Exponential moving average of weights; the decay is ramped up over the first steps.

    Args:
        model: whose weights are followed.
        decay: share of the mean that is kept in a step.
        fixed: beginning of the names that never change, such as `trunk.`; they cost no time.
    """

    def __init__(self, model: nn.Module, decay: float, *, fixed: str = "") -> None:
        self.model = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
        self.decay = decay
        self._fixed = fixed

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the weights after optimizer step number `step` (counted from 1)."""
        decay = min(self.decay, step / (_EMA_RAMP + step))
        source, means = model.state_dict(keep_vars=True), self.model.state_dict(keep_vars=True)
        # The layer of a `LinearHead` has two names, and moves once.
        for name in {id(mean): name for name, mean in means.items()}.values():
            if self._fixed and name.startswith(self._fixed):
                continue
            if means[name].is_floating_point():
                means[name].lerp_(source[name], 1.0 - decay)
            else:
                means[name].copy_(source[name])


class RecognitionModule(pl.LightningModule):
    """A recognizer in training: automatic optimization of one optimizer with parameter groups.

    Args:
        spec: the whole spec.
        model: the recognizer, already on its device.
        num_classes: classes in training.
        num_batches: batches per epoch.
        takes_features: whether batches hold the trunk's features in place of images: the trunk is
            then not run, and must be frozen.
    """

    def __init__(
        self,
        spec: Spec,
        model: Recognizer,
        *,
        num_classes: int,
        num_batches: int,
        takes_features: bool = False,
    ) -> None:
        super().__init__()
        train = spec.train
        self.model = model
        self.frozen = _freeze(model, trunk=not train.train_trunk, embedder=not train.train_embedder)
        if train.batch_norm == "keep" and train.train_trunk:
            self.frozen += _kept_norms(model, spec.model.backbone)
        device = next(model.parameters()).device
        self.layout = image_layout(model, device)
        self.loss, self.miner = build_loss(spec, num_classes, model.embedding_size)
        self.loss.to(device)
        masked = MaskedLoss(train.loss.name, self.loss, self.miner, model.embedding_size)
        # Lists of pairs are quicker where nothing has to be waited for.
        self.masked = masked if device.type == "cuda" else None
        self.clip_norm = train.clip_grad_norm
        self.accumulate = train.accumulate_grad_batches
        steps_per_epoch = math.ceil(num_batches / self.accumulate)
        self.optimizer = build_optimizer(spec, model.trunk, model.embedder, self.loss)
        self.schedule = build_schedule(train, steps_per_epoch)
        self.scheduler = schedule_optimizer(self.optimizer, self.schedule)
        self.running_mean = None
        if train.ema_decay > 0:
            fixed = "trunk." if takes_features else ""
            self.running_mean = RunningMean(model, train.ema_decay, fixed=fixed)
        self._num_batches = num_batches
        self.progress = Progress(num_batches=num_batches)
        self.batch_facts: BatchFacts | None = None
        self.match_facts: MatchFacts | None = None
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.nonzero_steps = torch.zeros((), dtype=torch.int64, device=device)
        self.takes_features = takes_features
        part = self._input_part(model)
        runs: Callable[[torch.Tensor], Any] = part
        if train.compile:
            _forget_other_networks(f"{spec.model.backbone} {type(part).__name__}")
            runs = torch.compile(part)
        # In a tuple, since a module set as an attribute would be registered a second time.
        self._runs = (runs,)
        self.train()

    def share_fixed_state(self, other: RecognitionModule) -> None:
        """Use the copies of another module that has the same trunk."""
        vars(self)["fixed_state"] = other.fixed_state

    @property
    def is_compiled(self) -> bool:
        """Whether the forward pass in training is compiled."""
        return self._runs[0] is not self._input_part(self.model)

    @property
    def evaluated(self) -> nn.Module:
        """The model whose weights are validated and exported."""
        return self.model if self.running_mean is None else self.running_mean.model

    @cached_property
    def fixed_state(self) -> dict[str, torch.Tensor]:
        """Copies of the weights that no step of this run changes, by their names in the model."""
        if not self.takes_features:
            return {}
        return {
            f"trunk.{name}": value.detach().to("cpu", copy=True)
            for name, value in self.model.trunk.state_dict().items()
        }

    def changing_state(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """The other weights of `model`, which is this module's own or its running mean."""
        prefix = "embedder." if self.takes_features else ""
        return dict(self._input_part(model).state_dict(prefix=prefix))

    @property
    def validated(self) -> nn.Module:
        """The part of `evaluated` that the data's batches go through."""
        return self._input_part(self.evaluated)

    def _input_part(self, model: nn.Module) -> nn.Module:
        if not self.takes_features:
            return model
        head: nn.Module = model.get_submodule("embedder")
        return head

    def train(self, mode: bool = True) -> RecognitionModule:
        """Set training mode; frozen parts stay in evaluation mode, so their statistics stay too."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        if self.running_mean is not None:
            self.running_mean.model.eval()
        return self

    def configure_optimizers(self) -> Any:
        """Hand Lightning the optimizer and the schedule, which steps with every optimizer step."""
        return {
            "optimizer": self.optimizer,
            "lr_scheduler": {"scheduler": self.scheduler, "interval": "step"},
        }

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:  # noqa: ARG002 - a hook
        """Return the loss of one batch.

        Raises:
            DivergedError: when the loss is not finite.
        """
        images, labels = batch
        self.note_batch(images, labels)
        if not self.takes_features:
            images = images.contiguous(memory_format=self.layout)
        emb_ND, labels = gathered(self._runs[0](images).float(), labels)
        # Distances in bfloat16 would round away what tells the hard pairs apart.
        with torch.autocast(emb_ND.device.type, enabled=False):
            loss = self.loss_of(emb_ND, labels)
        value = loss.detach()
        self.loss_sum += value
        self.nonzero_steps += value > 0
        self._check_finite(value)
        self.progress.batch += 1
        return loss

    def note_batch(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Keep what the first training batch is."""
        if self.batch_facts is None:
            self.batch_facts = _facts_of(images, labels)

    def loss_of(self, emb_ND: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of embeddings, on the pairs that the miner selects where there is one."""
        if self.masked is not None:
            return self.masked(emb_ND, labels)
        pairs = None if self.miner is None else self.miner(emb_ND, labels)
        loss: torch.Tensor = self.loss(emb_ND, labels, pairs)
        return loss

    def _check_finite(self, value: torch.Tensor) -> None:
        """NaN and infinity stay in the sum, so that a GPU need not be waited for at every step."""
        if value.is_cuda and self.progress.batch % _CHECK_EVERY_CUDA:
            return
        self.check_loss()

    def check_loss(self) -> None:
        """Raise when any loss of this epoch so far was not finite."""
        if not math.isfinite(self.loss_sum.item()):
            raise DivergedError(
                f"epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}: the loss must "
                "be finite, but is not; lower the learning rates or set train.clip_grad_norm"
            )

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,  # noqa: ARG002 - a hook
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002 - a hook
    ) -> None:
        """Clip the norm over all groups by `train.clip_grad_norm`; 0 does not clip."""
        if self.clip_norm > 0:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step and count it."""
        super().optimizer_step(*args, **kwargs)
        self.count_step()

    def count_step(self) -> None:
        """Count an optimizer step that was taken, and move the running mean."""
        self.progress.step += 1
        if self.running_mean is not None:
            self.running_mean.update(self.model, self.progress.step)

    def stand_where_left(self) -> None:
        """Go on from the progress that was restored, also where an epoch had other batches then.

        The schedule counts steps of this run's batches: whole epochs are so many of them as they
        are here, and one that was begun with others begins again.
        """
        progress, per_epoch = self.progress, self.schedule.steps_per_epoch
        least, most = progress.batch // self.accumulate, math.ceil(progress.batch / self.accumulate)
        is_same = progress.num_batches == self._num_batches
        progress.num_batches = self._num_batches
        steps = progress.step - progress.epoch * per_epoch
        if not (is_same and least <= steps <= most <= per_epoch):
            progress.batch, progress.step = 0, progress.epoch * per_epoch
            self.loss_sum.zero_()
            self.nonzero_steps.zero_()
        self.stand_at_step()

    def stand_at_step(self) -> None:
        """Set rates and schedule to where they are after so many steps, without taking them."""
        step = self.progress.step
        self.scheduler.last_epoch, factor = step, self.schedule.factor(step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def end_epoch(self) -> dict[str, float]:
        """Count the epoch; return its mean loss and the share of batches with a loss above 0."""
        self.check_loss()
        batches = max(self.progress.batch, 1)
        result = {
            "train_loss": self.loss_sum.item() / batches,
            "nonzero_loss_steps": self.nonzero_steps.item() / batches,
        }
        self.loss_sum.zero_()
        self.nonzero_steps.zero_()
        self.progress.epoch += 1
        self.progress.batch = 0
        return result

    def learning_rates(self) -> dict[str, float]:
        """Return the rate of the next step by group; of a trunk in layers, the top layer's."""
        return {f"lr_{n}": float(group["lr"]) for n, group in top_groups(self.optimizer).items()}


_compiled_last: list[str] = []


def _forget_other_networks(name: str) -> None:
    """Drop what was compiled for another network in this process.

    Networks of one family share their code, and torch compiles one piece of code at most eight
    times: the ninth architecture of a search would silently run uncompiled.
    """
    if _compiled_last and _compiled_last != [name]:
        torch.compiler.reset()
    _compiled_last[:] = [name]


class EpochBatches:
    """The training batches of the epoch that a module stands in, as Lightning's loader.

    It has no length, so that the first epoch after a resume may start in the middle.
    """

    def __init__(self, data: RecognitionData | FeatureData, module: RecognitionModule) -> None:
        self._data = data
        self._module = module

    def __iter__(self) -> Iterator[Batch]:
        """Draw the epoch; batches that were already trained on are drawn and dropped."""
        skipped = self._module.progress.batch
        for number, batch in enumerate(self._data.train_batches(self._module.progress.epoch)):
            if number >= skipped:
                yield batch


def _freeze(model: Recognizer, *, trunk: bool, embedder: bool) -> list[nn.Module]:
    parts = [(trunk, model.trunk), (embedder, model.embedder)]
    frozen = [part for is_frozen, part in parts if is_frozen]
    for part in frozen:
        part.requires_grad_(requires_grad=False)
    return frozen


def _kept_norms(model: Recognizer, backbone: str) -> list[nn.Module]:
    norms = batch_norms(model.trunk)
    if not norms:
        raise SpecError(f"train.batch_norm: must be update for {backbone}, which has no batch norm")
    return norms


def _facts_of(images: torch.Tensor, labels: torch.Tensor) -> BatchFacts:
    counts = torch.unique(labels, return_counts=True)[1].tolist()
    return BatchFacts(
        shape=tuple(images.shape),
        num_classes=len(counts),
        images_per_class=(min(counts), max(counts)),
    )
