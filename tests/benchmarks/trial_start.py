"""Seconds from the call of `fit` to the end of the first training step, trial after trial in one process.

    python tests/benchmarks/trial_start.py --images FOLDER --trunk timm/test_resnet --size 64 --trials 6

The first trial also pays for imports and decoding; a warm worker pays what the later ones do. FOLDER
holds train, reference and val. Memory of the process is printed too, so that growth would show.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from trainer.module import RecognitionModule
from trainer.session import TRAINER


class FirstStepDone(Exception):
    """Ends a trial after its first step."""


def main() -> None:
    """Start trials and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--trunk", default="timm/test_resnet")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--trials", type=int, default=6)
    args = parser.parse_args()
    take_step = RecognitionModule.optimizer_step

    def step_and_end(self: RecognitionModule, *step_args: Any, **kwargs: Any) -> None:
        take_step(self, *step_args, **kwargs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        raise FirstStepDone

    RecognitionModule.optimizer_step = step_and_end
    rows = []
    for trial in range(args.trials):
        with tempfile.TemporaryDirectory() as folder:
            spec = {
                "results_dir": folder,
                "dataset.train_dataset": str(args.images / "train"),
                "dataset.val_dataset.reference": str(args.images / "reference"),
                "dataset.val_dataset.query": str(args.images / "val"),
                "model.backbone": args.trunk,
                "model.input_height": args.size,
                "model.input_width": args.size,
                "train.seed": trial,
            }
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                TRAINER.fit(spec, lambda _: True)
            except FirstStepDone:
                rows.append((time.perf_counter() - wall, time.process_time() - cpu))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        held = torch.cuda.memory_reserved() / 2**20 if torch.cuda.is_available() else 0.0
        print(
            f"trial {trial}: {rows[-1][0]:6.3f} s, {rows[-1][1]:6.3f} cpu s, "
            f"{memory:6.0f} MiB peak, {held:5.0f} MiB held on the GPU",
            flush=True,
        )
    warm = rows[1:]
    print(
        f"warm: median {statistics.median(w for w, _ in warm):.3f} s, "
        f"{statistics.median(c for _, c in warm):.3f} cpu s"
    )


if __name__ == "__main__":
    main()
