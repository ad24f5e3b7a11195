"""Writes the weights that a training starts from, so that they can be evaluated."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trainer.data.splits import scan_splits
from trainer.data.value_range import resolved
from trainer.devices import pick_device
from trainer.durable_files import write_atomically
from trainer.isolation import isolated
from trainer.models.recognizer import build_recognizer
from trainer.spec import spec_to_dict
from trainer.training import checked_spec

if TYPE_CHECKING:
    from trainer.config.root import Spec


def save_start(spec: Spec, path: Path) -> None:
    """Write a train spec's start weights to `path`, as `evaluate.checkpoint` takes them.

    They are those of the named weight files, and random by `train.seed` where none are named: the
    same that `trainer.training.fit` starts from.

    Raises:
        TrainerError: as `fit`, for wrong specs and weight files.
        InfrastructureError: when the disk refuses the file.
    """
    checked = checked_spec(spec)
    checked = resolved(checked, scan_splits(checked))
    with isolated(checked, pick_device(checked.train.gpu_ids[0])):
        model = build_recognizer(checked)
    payload = {"state_dict": model.state_dict(), "spec": spec_to_dict(checked)}
    write_atomically(path, partial(torch.save, payload))
