"""Reads and writes a run's checkpoint files.

A file is a dict that `torch.load(weights_only=True)` reads: `state_dict` holds the weights that
were validated (the running mean when `train.ema_decay` is on), the rest is what resuming needs.
`last.ckpt` is the newest, `best.ckpt` the epoch with the highest monitored value; nothing else is
kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from trainer.data.names import name_key
from trainer.durable_files import link_or_copy, write_atomically
from trainer.errors import CheckpointError, InfrastructureError
from trainer.models.unpickle import CodeInFileError, load_restricted

FORMAT = "ml_recog.checkpoint"
VERSION = 1

LAST = "ckpt/last.ckpt"
BEST = "ckpt/best.ckpt"

logger = logging.getLogger(__name__)

Payload = dict[str, Any]


def snapshot(tree: Any) -> Any:
    """Copy a tree of dicts, lists and tensors to the CPU, to be written while training goes on."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: snapshot(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(snapshot(value) for value in tree)
    return tree


def save(payload: Payload, paths: list[Path]) -> None:
    """Write one checkpoint under one or more names, each complete at any instant.

    Raises:
        InfrastructureError: when the disk refuses it.
    """
    first, *others = paths
    try:
        first.parent.mkdir(exist_ok=True)  # not what is above: a folder that was moved stays away
        write_atomically(first, lambda temporary: torch.save(payload, temporary))
        for other in others:
            write_atomically(other, lambda temporary: link_or_copy(first, temporary))
    except (OSError, RuntimeError) as e:
        raise InfrastructureError(f"{first}: cannot write the checkpoint: {e}") from e


def load(path: Path) -> Payload:
    """Read a checkpoint of this trainer to resume from.

    Raises:
        CheckpointError: when it is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint; give the path of a last.ckpt or best.ckpt"
        )
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # noqa: BLE001 - torch raises whatever a damaged file leads to
        _refuse_foreign(path, e)
        payload = None
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: must be a last.ckpt or best.ckpt of this trainer, and holds weights but no "
            "training state of it; give it as model.pretrained_model_path to start from its weights"
        )
    if payload["version"] != VERSION:
        raise CheckpointError(
            f"{path}: version {VERSION} must hold, got {payload['version']}; "
            "it was written by another release of the trainer"
        )
    return payload


def demand_classes(payload: Payload, class_names: Sequence[str], where: str) -> None:
    """Refuse a checkpoint whose class vectors or memory stand for other classes.

    Args:
        payload: the checkpoint.
        class_names: what is trained on, by number.
        where: what the message begins with.

    Raises:
        CheckpointError: it is of other classes, or of another order.
    """
    held = list(payload["class_names"])
    if list(map(name_key, held)) == list(map(name_key, class_names)):
        return
    pairs = enumerate(zip(held, class_names, strict=False), start=1)
    unlike = ((n, old, new) for n, (old, new) in pairs if name_key(old) != name_key(new))
    shown = "".join(f" (number {n} was {old}, is {new})" for n, old, new in islice(unlike, 1))
    raise CheckpointError(
        f"{where}: must be of the {len(class_names)} classes that are trained on, in the same "
        f"order, and is of {len(held)} others{shown}; begin without it"
    )


def _refuse_foreign(path: Path, problem: Exception) -> None:
    """Say what is wrong with a file of more than plain data, unless it is another program's.

    Raises:
        CheckpointError: it is damaged, holds code, or is one of ours that was tampered with.
    """
    try:
        content, _ = load_restricted(path)
    except CodeInFileError as e:
        raise CheckpointError(
            f"{path}: must hold tensors and plain data, and holds code that would run on opening "
            f"({e}); refused"
        ) from e
    except Exception as e:
        raise CheckpointError(
            f"{path}: must be a checkpoint, and is damaged or something else "
            f"({type(problem).__name__}); give the path of a last.ckpt or best.ckpt"
        ) from e
    if isinstance(content, dict) and content.get("format") == FORMAT:
        raise CheckpointError(
            f"{path}: must hold tensors and plain data, and holds other objects, which this "
            "trainer never writes; refused"
        )


class CheckpointWriter:
    """Writes checkpoints in a thread, one at a time and in order.

    `submit` returns at once, `wait` when nothing is pending. An error of a write is raised by the
    next call of either.

    Args:
        interval_s: least time between two writes. Above 0 a checkpoint takes the place of one that
            still waits to be written under the same name; at 0 `submit` first waits for the write
            before it.
    """

    def __init__(self, interval_s: float = 0.0) -> None:
        self._interval_s = interval_s
        self._due = 0.0
        self._condition = threading.Condition()
        self._pending: dict[Path, Payload] = {}
        self._is_hurried = False
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def submit(self, payloads: Mapping[Path, Payload]) -> None:
        """Begin to write already copied payloads (see `snapshot`), each under its names."""
        if not self._interval_s:
            self.wait()
        self._raise_error()
        with self._condition:
            for path, payload in payloads.items():
                # Behind what was submitted before, so that files appear in order.
                self._pending.pop(path, None)
                self._pending[path] = payload
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoint-writer")
                self._thread.start()

    def wait(self) -> None:
        """Wait until what was submitted is durable.

        Raises:
            InfrastructureError: when a write failed.
        """
        with self._condition:
            thread, self._is_hurried = self._thread, True
            self._condition.notify_all()
        if thread is not None:
            thread.join()
        self._is_hurried = False
        self._raise_error()

    def settle(self) -> None:
        """Wait for the pending write while another error is on its way; its own is logged."""
        try:
            self.wait()
        except InfrastructureError as e:
            logger.warning("%s", e)

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(
                    lambda: self._is_hurried, timeout=max(self._due - time.monotonic(), 0.0)
                )
                pending, self._pending = self._pending, {}
                if not pending or self._error is not None:
                    self._thread = None
                    return
            self._due = time.monotonic() + self._interval_s
            try:
                for payload, paths in _by_payload(pending):
                    save(payload, paths)
            except Exception as e:  # noqa: BLE001 - handed to the training thread by `wait`
                self._error = e


def _by_payload(pending: dict[Path, Payload]) -> list[tuple[Payload, list[Path]]]:
    """Each payload once, with its names, in the order in which they were submitted."""
    groups: dict[int, tuple[Payload, list[Path]]] = {}
    for path, payload in pending.items():
        groups.setdefault(id(payload), (payload, []))[1].append(path)
    return list(groups.values())
