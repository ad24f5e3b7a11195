"""Write a checkpoint that fits and one that does not, on a disk of 2 MiB; say what came of it.

    python -m tests.trainer.full_disk FOLDER

A process of its own: what it forks to mount the disk could not use the threads that torch has
started in a process that has computed before.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from tests.crashes.driver import on_small_disk
from trainer import checkpoints
from trainer.errors import InfrastructureError


def payload(*, count: int, value: float) -> dict[str, object]:
    """A checkpoint of so many equal weights."""
    state = {"w": torch.full((count,), value)}
    return {"format": checkpoints.FORMAT, "version": checkpoints.VERSION, "state_dict": state}


def write_both(path: Path) -> str:
    """Return the error of the second, what lies there then, and the first weight of it."""
    checkpoints.save(payload(count=3, value=1.0), [path])
    said = ""
    try:
        checkpoints.save(payload(count=1_000_000, value=0.0), [path])
    except InfrastructureError as error:
        said = str(error)
    left = [p.name for p in path.parent.iterdir()]
    return json.dumps([said, left, float(checkpoints.load(path)["state_dict"]["w"][0])])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(on_small_disk(folder, 2, lambda: write_both(folder / "ckpt" / "last.ckpt")))
