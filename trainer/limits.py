"""Limits of searched ranges that a spec and the number of its pictures set."""

from __future__ import annotations

import math

from trainer.config.loss import MINED_LOSSES
from trainer.config.root import Spec
from trainer.errors import TrainerError

Limits = dict[str, tuple[float | None, float | None]]


def limits(checked: Spec) -> Limits:
    """Return parameter -> (low, high); see `RecognitionTrainer.limits`."""
    instances = checked.dataset.num_instance
    least = 2 * instances if checked.train.loss.name in MINED_LOSSES else None
    size = _training_size(checked)
    if size is None:
        return {} if least is None else {"train.batch_size": (least, None)}
    num_images, num_classes = size
    half = max(num_steps(checked, num_images) // 2, 1)
    most = most_in_batch(checked, num_images, num_classes)
    return {
        "train.batch_size": (least if least is None else min(least, most), most),
        "train.optim.warmup_iters": (None, half),
    }


def most_in_batch(spec: Spec, num_images: int, num_classes: int) -> int:
    """Return the largest batch that so many pictures and classes fill under `dataset.sampling`."""
    data = spec.dataset
    return num_classes * data.num_instance if data.sampling == "classes" else num_images


def _training_size(spec: Spec) -> tuple[int, int] | None:
    """Return the number of training pictures and classes, or None while they cannot be counted.

    Local archives are unpacked into the cache for it, as training would; remote ones are not
    fetched.
    """
    uri = spec.dataset.train_dataset
    if not uri:
        return None
    from trainer.data.sources import open_source
    from trainer.data.staging import is_remote

    if is_remote(uri):
        return None
    try:
        folder = open_source(uri, "train")
    except TrainerError:
        return None  # `inspect_data` says what is wrong with the data
    return len(folder.labels), len(folder.classes)


def num_steps(spec: Spec, num_images: int) -> int:
    """Return the optimizer steps of a whole run."""
    train = spec.train
    batches = max(1, num_images // (train.batch_size * train.num_gpus * train.num_nodes))
    return train.num_epochs * math.ceil(batches / train.accumulate_grad_batches)
