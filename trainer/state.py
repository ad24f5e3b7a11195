"""Captures a run's state for a checkpoint, and restores it."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainer import checkpoints
from trainer.durable_files import link_or_copy, write_atomically
from trainer.errors import CheckpointError
from trainer.module import RecognitionModule
from trainer.spec import spec_to_dict

if TYPE_CHECKING:
    from trainer.config.root import Spec


logger = logging.getLogger(__name__)


def capture(
    module: RecognitionModule,
    history: list[dict[str, Any]],
    spec: Spec,
    class_names: tuple[str, ...],
) -> checkpoints.Payload:
    """Copy everything that resuming and evaluation need to plain containers on the CPU."""
    has_mean = module.running_mean is not None
    payload: checkpoints.Payload = checkpoints.snapshot(
        {
            "format": checkpoints.FORMAT,
            "version": checkpoints.VERSION,
            "state_dict": module.changing_state(module.evaluated),
            "raw_state_dict": module.changing_state(module.model) if has_mean else None,
            "loss_state": dict(module.loss.state_dict()),
            "optimizer_name": type(module.optimizer).__name__,
            "optimizer": module.optimizer.state_dict(),
            "progress": {
                **asdict(module.progress),
                "loss_sum": module.loss_sum,
                "nonzero_steps": module.nonzero_steps,
            },
            "random": _random_state(),
            "history": history,
            "spec": spec_to_dict(spec),
            "class_names": list(class_names),
            "torch_version": str(torch.__version__),
        }
    )
    for name in ("state_dict", "raw_state_dict"):
        if payload[name] is not None:
            payload[name] = {**module.fixed_state, **payload[name]}
    return payload


def checkpoint_bytes(module: RecognitionModule) -> int:
    """What the tensors of a checkpoint take: nearly all of it."""
    raw = module.model.state_dict() if module.running_mean is not None else {}
    parts = (module.evaluated.state_dict(), raw, module.loss.state_dict())
    tensors = [value for part in parts for value in part.values()]
    tensors += [v for state in module.optimizer.state.values() for v in state.values()]
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))


def restore(module: RecognitionModule, payload: checkpoints.Payload, path: Path) -> None:
    """Put a captured state back; hyperparameters stay those of the module's own spec.

    Raises:
        CheckpointError: when model, loss or optimizer are of another kind than the captured ones.
    """
    name = type(module.optimizer).__name__
    if payload["optimizer_name"] != name:
        raise CheckpointError(
            f"{path}: train.optim.name must be {payload['optimizer_name']} to resume from it, "
            f"got {name}; give it as model.pretrained_model_path to start from its weights"
        )
    try:
        module.model.load_state_dict(payload["raw_state_dict"] or payload["state_dict"])
        module.loss.load_state_dict(payload["loss_state"])
        if module.running_mean is not None:
            module.running_mean.model.load_state_dict(payload["state_dict"])
        _restore_optimizer(module.optimizer, payload["optimizer"])
    except (RuntimeError, ValueError) as e:
        first_lines = " ".join(str(e).split())[:400]
        raise CheckpointError(f"{path}: does not fit the model of this spec: {first_lines}") from e
    progress = payload["progress"]
    # Checkpoints of earlier releases lack some.
    held = {key: progress[key] for key in asdict(module.progress) if key in progress}
    module.progress = replace(module.progress, **held)
    module.loss_sum.copy_(progress["loss_sum"])
    module.nonzero_steps.copy_(progress["nonzero_steps"])
    module.stand_where_left()


def best_entry(history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the entry whose weights `best.ckpt` holds: the highest value, earliest of equals."""
    kept = [entry for entry in history if entry["checkpoint"] == checkpoints.BEST]
    return kept[-1] if kept else None


def adopt_best(payload: checkpoints.Payload, path: Path, folder: Path) -> bool:
    """Let `best.ckpt` of the folder that a run goes on in be of the epoch that its history names.

    Where no such checkpoint is there or beside the one that is resumed, the next validated epoch
    takes its place; one of another epoch or run is removed. One of a later epoch of this very run
    has been reported, and stays until then.

    Returns:
        Whether it is such a one.
    """
    target, best = folder / checkpoints.BEST, best_entry(payload["history"])
    if _is_ahead(target, payload["history"]):
        return True
    for source in (target, path, path.with_name(target.name)) if best else ():
        if source.is_file() and _is_end_of(source, best):
            if source != target:
                write_atomically(target, partial(link_or_copy, source))
            return False
    target.unlink(missing_ok=True)
    if best:
        logger.warning(
            "%s: the best epoch (%d) of the run before is not beside it; best.ckpt starts anew",
            path,
            best["epoch"],
        )
    return False


def _is_ahead(path: Path, history: list[dict[str, Any]]) -> bool:
    """Whether a checkpoint was written when this run had gone beyond these epochs."""
    try:
        held = checkpoints.load(path)["history"] if path.is_file() and history else []
    except CheckpointError:
        return False
    return len(held) > len(history) and held[: len(history)] == history


def _is_end_of(path: Path, entry: dict[str, Any] | None) -> bool:
    """Whether a checkpoint was written when this epoch of this very run had ended."""
    try:
        payload = checkpoints.load(path)
    except CheckpointError:
        return False
    return payload["history"][-1:] == [entry] and not payload["progress"].get("batch", 0)


def restore_random(payload: checkpoints.Payload) -> None:
    """Put torch's random state back, so that dropout goes on where it stood."""
    torch.set_rng_state(payload["random"]["cpu"])
    if torch.cuda.is_available() and payload["random"]["cuda"] is not None:
        torch.cuda.set_rng_state(payload["random"]["cuda"])


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the moments, and keep the rates, decays and momenta that this run was asked for."""
    asked = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, hyperparameters in zip(optimizer.param_groups, asked, strict=True):
        group.update(hyperparameters)
