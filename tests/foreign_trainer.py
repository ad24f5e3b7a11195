"""A trainer that knows nothing of this project: a command line, a spec file, `status.json`, a log.

`net train -e spec.yaml` writes a checkpoint per epoch and, as `tell.where` asks, its metric to
`status.json` (per epoch, behind the checkpoint or `status first`), to the log (at the end), or
nowhere. `tell.fail` names a way to fail.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import yaml

METRIC = "val accuracy"


def value_at(lr: float, epoch: int) -> float:
    """The known surface: best at a rate of 1e-2, rising over the epochs."""
    return math.exp(-((math.log10(lr) + 2.0) ** 2) / 4) * (1 - math.exp(-epoch / 3))


def train(spec: dict) -> int:
    folder, tell = Path(spec["results_dir"]), spec["tell"]
    settings, length = spec["train"], spec["train"]["num_epochs"]
    (folder / "train").mkdir(parents=True, exist_ok=True)
    with (folder / "started.txt").open("a") as stream:
        stream.write(f"{os.getpid()} {length}\n")
    if tell["fail"] == "at start":
        print("RuntimeError: CUDA error: out of memory")
        return 1
    first = 0
    if settings.get("resume_training_checkpoint_path"):
        first = json.loads(Path(settings["resume_training_checkpoint_path"]).read_text())["epoch"]
    value = 0.0
    for epoch in range(first + 1, length + 1):
        time.sleep(tell["sleep"])
        value = value_at(settings["lr"], epoch)
        print(f"epoch {epoch} loss={1 - value:.4f}", flush=True)
        writers = [partial(write_checkpoint, folder, epoch, settings["lr"])]
        if tell["where"] in ("status", "status first"):
            writers.append(partial(write_status, folder, epoch, value))
        if tell["where"] == "status first":
            writers = [writers[1], partial(time.sleep, 0.4), writers[0]]
        for write in writers:
            write()
        if tell["fail"] == "killed" and epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    if tell["where"] == "log":
        print(f"{METRIC}: {value:.6f}")
    if tell["fail"] == "by status":
        line = {"status": "FAILURE", "message": "CUDA error: out of memory"}
        with (folder / "train" / "status.json").open("a") as stream:
            stream.write(json.dumps(line) + "\n")
    return 0


def write_checkpoint(folder: Path, epoch: int, lr: float) -> None:
    file = folder / "train" / f"model_epoch_{epoch:03d}.pth"
    file.write_text(json.dumps({"epoch": epoch, "lr": lr}))


def write_status(folder: Path, epoch: int, value: float) -> None:
    line = {"status": "RUNNING", "epoch": epoch, "kpi": {METRIC: value, "other": 1.0}}
    with (folder / "train" / "status.json").open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def export(spec: dict) -> int:
    model = json.loads(Path(spec["export"]["checkpoint"]).read_text())
    Path(spec["export"]["onnx_file"]).write_text(json.dumps(model))
    return 0


def evaluate(spec: dict) -> int:
    model = json.loads(Path(spec["evaluate"]["checkpoint"]).read_text())
    print(f"{METRIC}: {value_at(model['lr'], model['epoch']):.6f}")
    return 0


if __name__ == "__main__":
    action, _, file = sys.argv[1:4]
    sys.exit(
        {"train": train, "evaluate": evaluate, "export": export}[action](
            yaml.safe_load(Path(file).read_text())
        )
    )
