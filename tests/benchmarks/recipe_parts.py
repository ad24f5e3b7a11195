"""A program, not a test: what decides the accuracy of a pretrained start, by trainings of one length.

    python tests/benchmarks/recipe_parts.py heads --data PHOTOS --size 96 --epochs 4 --heads 20
    python tests/benchmarks/recipe_parts.py parts --data PHOTOS --size 96 --epochs 4 --seeds 0 1 2

PHOTOS holds train, reference and val (folders or .tar.gz); figures are Precision@1 of the validation pictures,
best epoch. `heads` draws heads at random, trains each on the frozen trunk and then the whole network from it,
and prints Spearman's rank correlation of the two, with a 95 % interval of a bootstrap over the heads. `parts`
changes one part of the recipe at a time and prints its difference to the recipe over the seeds. Rows are kept
in --json as they come, and those that are there are not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from trainer.stages import HEAD_RECIPE, HEAD_SPEC, LOSS, LOSSES, RANGES, WITH_PARENT
from trainer.start import RECIPE
from trainer.training import fit

BACKBONES = {f"lite{n}": f"timm/tf_efficientnet_lite{n}" for n in range(3)}
PARTS: Mapping[str, Mapping[str, Any]] = {
    "recipe": {},
    "random head": {"train.head_epochs": 0},
    "batch norm updated": {"train.batch_norm": "update"},
    "crops from .08": {"dataset.crop_scale.least": 0.08},
    "crops from .8": {"dataset.crop_scale.least": 0.8},
    "cosine": {"train.optim.schedule": "cosine"},
    "steps": {"train.optim.schedule": "steps"},
    "all pixels from the start": {"dataset.first_size": 1.0},
}


class Trainings:
    """Trainings of one length; results are kept by name."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._file: Path | None = args.json
        self.values: dict[str, float] = {}
        if self._file and self._file.is_file():
            self.values = json.loads(self._file.read_text())
        data: Path = args.data

        def of(name: str) -> str:
            return str(data / name if (data / name).is_dir() else data / f"{name}.tar.gz")

        self._spec = dict(RECIPE) | {
            "dataset.train_dataset": of("train"),
            "dataset.val_dataset.reference": of("reference"),
            "dataset.val_dataset.query": of("val"),
            "model.backbone": BACKBONES[args.weights],
            "model.pretrained_trunk_path": args.weights,
            "model.input_height": args.size,
            "model.input_width": args.size,
            "train.num_epochs": args.epochs,
        }

    def train(self, name: str, changes: Mapping[str, Any], folder: Path) -> float:
        """Train once, unless it was; return the best Precision@1."""
        if name not in self.values:
            began = time.perf_counter()
            curve: list[float] = []
            spec = self._spec | dict(changes) | {"results_dir": str(folder)}
            fit(spec, lambda epoch: curve.append(epoch["value"]) or True)
            self.values[name] = max(curve)
            print(f"{name:40} {max(curve):.4f}  {time.perf_counter() - began:.0f} s", flush=True)
            if self._file:
                self._file.write_text(json.dumps(self.values, indent=1) + "\n")
        return self.values[name]


def _draw_head(rng: random.Random) -> dict[str, Any]:
    """A head as a search draws it: a loss, and its values and rates within their ranges."""
    loss = rng.choice(LOSSES)
    head: dict[str, Any] = {LOSS: loss}
    for name, (low, high, is_log) in RANGES.items():
        bounds = (math.log(low), math.log(high)) if is_log else (low, high)
        value = rng.uniform(*bounds)
        value = math.exp(value) if is_log else value
        of_loss = name.startswith("train.loss.") and name.count(".") == 3
        if of_loss and name.split(".")[2] != loss:
            continue
        if name == "train.loss.label_smoothing" and loss == "proxy_anchor":
            continue
        head[name] = round(value) if name == "model.feat_dim" else value
    return head


def correlate_heads(trainings: Trainings, args: argparse.Namespace) -> None:
    """Train heads and whole networks from them."""
    rng = random.Random(args.seeds[0])
    pairs = []
    for number in range(args.heads):
        head = _draw_head(rng)
        carried = {n: v for n, v in head.items() if "optim" not in n and n != "train.loss.base_lr"}
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            changes = dict(HEAD_SPEC) | HEAD_RECIPE | head
            if f"whole {number}" not in trainings.values:  # which begins with the head's file
                trainings.values.pop(f"head {number}", None)
            frozen = trainings.train(f"head {number}", changes, folder / "head")
            best = folder / "head" / "ckpt" / "best.ckpt"
            grown = dict(WITH_PARENT) | carried | {"train.head_checkpoint": str(best)}
            whole = trainings.train(f"whole {number}", grown, folder / "whole")
        pairs.append((frozen, whole))
        print(f"{number:>3} {head[LOSS]:20} head {frozen:.4f} whole {whole:.4f}", flush=True)
    found = np.array(pairs)
    draws = np.random.default_rng(0).integers(len(found), size=(2000, len(found)))
    low, high = np.nanquantile([spearmanr(*found[d].T).statistic for d in draws], [0.025, 0.975])
    rank = spearmanr(*found.T)
    print(f"Spearman {rank.statistic:.3f} ({low:.3f} to {high:.3f}) over {len(found)} heads")


def take_apart(trainings: Trainings, args: argparse.Namespace) -> None:
    """Change one part of the recipe at a time."""
    for seed in args.seeds:
        for part, changes in PARTS.items():
            with tempfile.TemporaryDirectory() as folder:
                seeded = {**changes, "train.seed": seed}
                trainings.train(f"{part}, seed {seed}", seeded, Path(folder))
    for part in PARTS:
        values = [trainings.train(f"{part}, seed {seed}", {}, Path()) for seed in args.seeds]
        base = [trainings.train(f"recipe, seed {seed}", {}, Path()) for seed in args.seeds]
        gaps = [value - other for value, other in zip(values, base, strict=True)]
        error = statistics.stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
        print(
            f"{part:28} {statistics.mean(values):.4f}  difference {statistics.mean(gaps):+.4f} "
            f"+- {error:.4f}"
        )


def main() -> None:
    """Run one of the two comparisons."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("heads", "parts"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", choices=tuple(BACKBONES), default="lite0")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    {"heads": correlate_heads, "parts": take_apart}[args.what](Trainings(args), args)


if __name__ == "__main__":
    main()
