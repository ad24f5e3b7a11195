"""Whether speed changed anything but time: our batches against torchvision's transforms, image by image.

    python tests/benchmarks/same_accuracy.py --images FOLDER --seeds 0 1 2 --epochs 8 --json out.json

FOLDER holds train, reference and val. Both sides train the same spec by the same loop with the same
batches of the same files; on the slow side each image is opened, transformed by torchvision and
stacked. Printed are the best and the last Precision@1 of each run, and the difference of the means
with its standard error.
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tests.benchmarks.data_path import published_transforms
from trainer import training
from trainer.config.root import Spec
from trainer.data.batches import RecognitionData
from trainer.data.splits import load_splits
from trainer.distributed import Rank
from trainer.embedding import needed


class SlowData(RecognitionData):
    """The same batches, each image from its file through torchvision."""

    def __init__(self, spec: Spec, device: torch.device) -> None:
        super().__init__(spec, device, load_splits(spec), Rank())
        self._seed_of_run = spec.train.seed
        self._transforms = published_transforms(spec, spec.model.input_height)

    def train_batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches as `RecognitionData` does."""
        split, sampler = needed(self.train, "train_dataset"), needed(self._sampler, "train_dataset")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * self._seed_of_run + epoch)
            state = torch.get_rng_state()
        for indices in sampler.batches(epoch):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                images = [
                    self._transforms(Image.open(split.paths[i]).convert("RGB")) for i in indices
                ]
                state = torch.get_rng_state()
            batch = torch.stack(images).contiguous(memory_format=torch.channels_last)
            yield batch.to(self._device), torch.from_numpy(split.labels[indices]).to(self._device)


def run(args: argparse.Namespace, seed: int, *, is_slow: bool, folder: Path) -> list[float]:
    """Train once; return Precision@1 after each epoch."""
    images = Path(args.images)
    spec: dict[str, Any] = {
        "results_dir": str(folder),
        "dataset.train_dataset": str(images / "train"),
        "dataset.val_dataset.reference": str(images / "reference"),
        "dataset.val_dataset.query": str(images / "val"),
        "model.backbone": args.trunk,
        "model.input_height": args.size,
        "model.input_width": args.size,
        "model.feat_dim": 64,
        "train.num_epochs": args.epochs,
        "train.optim.trunk.base_lr": args.lr,
        "train.optim.embedder.base_lr": args.lr,
        "train.seed": seed,
        "train.checkpoint_interval": args.epochs,
    }
    values: list[float] = []
    build = training.build_data
    if is_slow:
        training.build_data = lambda spec, device, **_: SlowData(spec, device)
    try:
        training.fit(spec, lambda epoch: values.append(epoch["value"]) or True)
    finally:
        training.build_data = build
    return values


def main() -> None:
    """Train every seed both ways, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--trunk", default="timm/test_resnet")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    curves: dict[str, list[list[float]]] = {"ours": [], "torchvision": []}
    for seed in args.seeds:
        for name, found in curves.items():
            with tempfile.TemporaryDirectory() as folder:
                found.append(run(args, seed, is_slow=name == "torchvision", folder=Path(folder)))
            print(f"seed {seed} {name:12} " + " ".join(f"{v:.4f}" for v in found[-1]), flush=True)
            if args.json:
                args.json.write_text(json.dumps(curves, indent=1) + "\n")
    for what, pick in (("best", max), ("last", lambda curve: curve[-1])):
        ours, theirs = ([pick(curve) for curve in curves[name]] for name in curves)
        gap = statistics.mean(ours) - statistics.mean(theirs)
        if len(args.seeds) > 1:
            variance = (statistics.variance(ours) + statistics.variance(theirs)) / len(ours)
            error = f" +- {math.sqrt(variance):.4f}"
        else:
            error = ""
        print(
            f"{what}: ours {statistics.mean(ours):.4f}, torchvision {statistics.mean(theirs):.4f}, "
            f"difference {gap:+.4f}{error}"
        )


if __name__ == "__main__":
    main()
