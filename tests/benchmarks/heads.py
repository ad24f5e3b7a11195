"""A program, not a test: how much faster many heads train together than one by one.

    python tests/benchmarks/heads.py --data PHOTOS --heads 64

PHOTOS holds train, reference and val (folders or .tar.gz). Features are computed before the clock
starts. Heads differ in rate and temperature; with `--drawn` in loss and length too, as those of the
first stage of a search do. Times are of this process and of the wall.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from trainer.session import TRAINER
from trainer.stages import LOSSES, RANGES
from trainer.start import FROZEN_RECIPE


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each length of the embedding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--heads", type=int, default=64)
    parser.add_argument("--alone", type=int, default=4, help="heads that are timed one by one")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures")
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--drawn", action="store_true", help="losses and lengths of a search")
    args = parser.parse_args(argv)
    args.dims = [None] if args.drawn else args.dims
    print(f"{os.cpu_count()} cores, {args.epochs} epochs, load {os.getloadavg()[0]:.1f}")
    for dim in args.dims:
        with tempfile.TemporaryDirectory() as scratch:
            _measure(args, dim, Path(scratch))


def _measure(args: argparse.Namespace, dim: int | None, scratch: Path) -> None:
    def specs(count: int, name: str, epochs: int) -> list[dict[str, Any]]:
        return [
            _pictures(args.data)
            | FROZEN_RECIPE
            | {
                "results_dir": str(scratch / name / str(number)),
                "model.pretrained_trunk_path": "lite0",
                "model.input_height": args.size,
                "model.input_width": args.size,
                "train.train_trunk": False,
                "train.num_epochs": epochs,
                "train.optim.embedder.base_lr": 1e-3 * 1.02**number,
                "train.loss.normalized_softmax.temperature": 0.1 * 0.99**number,
            }
            | (_drawn(number) if dim is None else {"model.feat_dim": dim})
            for number in range(count)
        ]

    TRAINER.fit(specs(1, "warm", 1)[0], lambda _: True)
    TRAINER.fit_heads(specs(2, "warm", 1), lambda *_: True)
    alone = _per_head(
        args.alone,
        lambda: [TRAINER.fit(s, lambda _: True) for s in specs(args.alone, "alone", args.epochs)],
    )
    together = _per_head(
        args.heads,
        lambda: TRAINER.fit_heads(specs(args.heads, "together", args.epochs), lambda *_: True),
    )
    print(
        f"embedding of {dim or 'any length'}: a head alone {alone[0]:.2f} s ({alone[1]:.2f} of the processor), "
        f"one of {args.heads} together {together[0]:.2f} s ({together[1]:.2f}): "
        f"{alone[0] / together[0]:.1f} times the throughput",
        flush=True,
    )


def _drawn(number: int) -> dict[str, Any]:
    low, high, _ = RANGES["model.feat_dim"]
    length = low * (high / low) ** random.Random(number).random()
    return {"model.feat_dim": round(length), "train.loss.name": LOSSES[number % len(LOSSES)]}


def _pictures(folder: Path) -> dict[str, str]:
    def find(name: str) -> str:
        packed = folder / f"{name}.tar.gz"
        return str(packed if packed.exists() else folder / name)

    return {
        "dataset.train_dataset": find("train"),
        "dataset.val_dataset.reference": find("reference"),
        "dataset.val_dataset.query": find("val"),
    }


def _per_head(count: int, work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the wall and of the processor that each of some heads takes."""
    wall, own = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) / count, (time.process_time() - own) / count


if __name__ == "__main__":
    main()
