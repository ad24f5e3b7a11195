"""Trains the head before the whole network: from another run's or from means, then head epochs.

The trunk is asked once for the features of all training pictures as evaluation sees them; what is
done here costs little beside that. A head that fits the features keeps them intact when the whole
network trains on from it ("LP-FT", Kumar et al. 2022, arXiv:2202.10054).
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from trainer import checkpoints
from trainer.config.loss import WEIGHTED_LOSSES
from trainer.data.batches import make_sampler
from trainer.data.image_bank import ImageBank
from trainer.data.splits import scan_splits
from trainer.data.value_range import with_value_range
from trainer.distributed import Rank
from trainer.embedding import embed, needed
from trainer.errors import CheckpointError, DivergedError
from trainer.features import begins_with_head, starts_from_means
from trainer.features.loop import one_thread
from trainer.features.source import FeatureSource
from trainer.losses import start_from_means
from trainer.optim import build_optimizer, build_schedule, schedule_optimizer

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.batches import RecognitionData
    from trainer.data.decoding import Progress
    from trainer.features.data import FeatureData
    from trainer.module import RecognitionModule

logger = logging.getLogger(__name__)


def prepare_head(
    module: RecognitionModule,
    data: RecognitionData | FeatureData,
    spec: Spec,
    progress: Progress | None = None,
    *,
    use_bf16: bool,
) -> None:
    """Do to a fresh module what `train.head_checkpoint`, `loss.start` and `head_epochs` ask for.

    Every process of a run does the same; nothing is drawn from torch's global generator.

    Raises:
        CheckpointError: the given head is missing or does not fit.
        DivergedError: a loss is not finite.
    """
    train = spec.train
    if train.head_checkpoint:
        classes = needed(data.train, "train_dataset").class_names
        take_head(module, Path(train.head_checkpoint), train.loss.name, classes)
    if not begins_with_head(spec):
        _take_into_mean(module)
        return
    began = time.perf_counter()
    device = next(module.parameters()).device
    read = with_value_range(spec, data.framing.value_range)
    source = FeatureSource(read, module.model.trunk, use_bf16=use_bf16, progress=progress)
    found = source.clean(scan_splits(spec)["train"]).features_VNF[0]
    features = ImageBank(found, device)
    labels_N = torch.from_numpy(needed(data.train, "train_dataset").labels).to(device)
    if starts_from_means(spec):
        rows = np.array_split(np.arange(len(found)), math.ceil(len(found) / train.val_batch_size))
        batches = (features.take(part).to(device) for part in rows)
        emb_ND = torch.from_numpy(embed(module.model.embedder, batches)).to(device)
        with torch.no_grad():
            start_from_means(module.loss, emb_ND, labels_N)
        module.progress.class_start = "class_means"
    if train.head_epochs:
        with one_thread():
            train_head(module, spec, features, labels_N, train.head_epochs, progress)
        module.progress.head_epochs = train.head_epochs
    _take_into_mean(module)
    logger.info("head made ready in %.1f s", time.perf_counter() - began)


def take_head(module: RecognitionModule, path: Path, loss: str, class_names: Sequence[str]) -> None:
    """Begin with embedder and class vectors of another run's checkpoint.

    Raises:
        CheckpointError: it is missing, or of another loss, other classes or another size.
    """
    payload, where = checkpoints.load(path), f"train.head_checkpoint: {path}"
    found = payload["spec"]["train"]["loss"]["name"]
    if found != loss:
        raise CheckpointError(f"{where}: must be of the {loss} loss, and is of the {found} loss")
    checkpoints.demand_classes(payload, class_names, where)
    start, weights = "embedder.", payload["state_dict"].items()
    try:
        module.model.embedder.load_state_dict(
            {name.removeprefix(start): value for name, value in weights if name.startswith(start)}
        )
        if loss in WEIGHTED_LOSSES:  # others hold embeddings of the trunk that is left aside
            module.loss.load_state_dict(payload["loss_state"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{where}: does not fit the head of this spec: {reason}") from error
    module.progress.head_from = str(path)


def _take_into_mean(module: RecognitionModule) -> None:
    """Let a running mean start from the head as it is now."""
    if module.running_mean is not None:
        module.running_mean.model.load_state_dict(module.model.state_dict())


def train_head(
    module: RecognitionModule,
    spec: Spec,
    features: ImageBank,
    labels_N: Tensor,
    num_epochs: int,
    progress: Progress | None = None,
) -> None:
    """Train embedder and class vectors on the features, under a schedule of their own.

    Raises:
        DataError: there are too few classes, or pictures, for a batch.
        DivergedError: a loss is not finite.
    """
    train = spec.train
    optim = dataclasses.replace(train.optim, layer_decay=1.0)  # of the trunk, which has no part
    own = dataclasses.replace(train, num_epochs=num_epochs, optim=optim)
    optimizer = build_optimizer(
        dataclasses.replace(spec, train=own), nn.Module(), module.model.embedder, module.loss
    )
    # Of one process, so that every process does the same.
    sampler = make_sampler(spec, labels_N.cpu().numpy(), train.seed, Rank())
    num_steps = math.ceil(len(sampler) / train.accumulate_grad_batches)
    scheduler = schedule_optimizer(optimizer, build_schedule(own, num_steps))
    for epoch in range(num_epochs):
        # The run's own epochs are numbered from 0: these draw other batches.
        drawn = sampler.batches(train.num_epochs + epoch)
        for number, indices in enumerate(drawn, start=1):
            rows = torch.from_numpy(indices).to(labels_N.device)
            taken_BF = features.take(indices).to(labels_N.device, non_blocking=True)
            loss = module.loss_of(module.model.embedder(taken_BF), labels_N[rows])
            if not torch.isfinite(loss):
                raise DivergedError(
                    f"train.head_epochs: the loss of head epoch {epoch + 1} must be finite, but is "
                    "not; lower train.optim.embedder.base_lr or train.loss.base_lr"
                )
            torch.autograd.backward(loss / train.accumulate_grad_batches)
            if number % train.accumulate_grad_batches == 0 or number == len(sampler):
                module.configure_gradient_clipping(optimizer)
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
        if progress is not None:
            progress("head epochs", epoch + 1, num_epochs)
