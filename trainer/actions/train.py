"""The action `train`: one run in its own folder, one line per epoch."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import checkpoints
from trainer.errors import SpecError
from trainer.spec import action_dir
from trainer.wandb_mirror import Mirror, start_mirror

if TYPE_CHECKING:
    from trainer.config.root import Spec

logger = logging.getLogger(__name__)


def train(spec: Spec) -> dict[str, Any]:
    """Train a spec below `train.results_dir`, or `<results_dir>/train`.

    With several devices this is called in every process; those behind the first leave with exit
    code 0 instead of returning.

    Returns:
        `best_value` (val Precision at Rank 1), `best_epoch`, `epochs`, `folder`, `best` and `last`
        (checkpoints), `seconds`.

    Raises:
        SpecError: the folder already holds a run that this one would overwrite.
        TrainerError: as `trainer.training.fit`.
    """
    from trainer.distributed import find_place
    from trainer.training import fit

    folder = action_dir(spec, "train")
    resume = spec.train.resume_training_checkpoint_path
    held = [name for name in (checkpoints.LAST, checkpoints.BEST) if (folder / name).exists()]
    if held and not resume:
        raise SpecError(
            f"{folder / held[0]}: this folder already holds a run; to go on, set "
            "train.resume_training_checkpoint_path to it; to start anew, another results_dir"
        )
    placed = dataclasses.replace(spec, results_dir=str(folder))
    if not find_place(spec.train).is_first:
        fit(placed, lambda _: True)
        raise SystemExit(0)  # one of the processes speaks for all
    logger.info("writing to %s", folder)
    mirror, finish = start_mirror(spec, folder)
    try:
        receipt = fit(placed, _EpochLines(spec, mirror))
    finally:
        finish()
    best = receipt["best"]
    return {
        "best_value": best["value"],
        "best_epoch": best["epoch"],
        "epochs": receipt["epochs"],
        "folder": str(folder),
        **{name: str(folder / Path(path)) for name, path in receipt["checkpoints"].items()},
        "seconds": receipt["seconds"],
    }


class _EpochLines:
    """Logs each validated epoch in one line, and mirrors it."""

    def __init__(self, spec: Spec, mirror: Mirror) -> None:
        self._mirror = mirror
        self._num_epochs = spec.train.num_epochs
        self._best = 0.0

    def __call__(self, epoch: Mapping[str, Any]) -> bool:
        """Log an epoch; training always goes on."""
        self._best = max(self._best, epoch["value"])
        if epoch["replayed"]:
            return True
        self._mirror(epoch)
        logger.info(
            "epoch %d/%d  val Precision at Rank 1: %.4f  best %.4f  loss %.4f  %.1f s",
            epoch["epoch"],
            self._num_epochs,
            epoch["value"],
            self._best,
            epoch["metrics"]["train_loss"],
            epoch["seconds"],
        )
        return True
