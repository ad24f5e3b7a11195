"""Precision@1 of the default configuration under several losses, on real photographs and drawings.

    python tests/benchmarks/loss_table.py --grocery DIR --omniglot DIR --out DIR [--epochs 20]

DIR holds `train`, `reference`, `val` and, for grocery, `test` below it; for omniglot the same below
`known` and `reference`, `test` below `unknown` (classes that training never sees). One JSON file per
run is kept in OUT and not computed again, so the script may be stopped and started at will. Nothing
but trunk, image size, length, loss and seed differs from the defaults; every figure is of the last
epoch, so no run is chosen by what it is scored on.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from trainer.actions.evaluate import evaluate
from trainer.config.loss import LOSSES
from trainer.spec import parse_spec
from trainer.training import fit

MEANS = ("class_mean", "query_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """A set: where it is trained and looked up, at which size, and what it is scored on."""

    name: str
    side: int
    train: Path
    reference: Path
    query: Path
    scored: dict[str, tuple[Path, Path]]
    """What is scored -> reference and query."""


def sets(options: argparse.Namespace) -> Iterator[Pictures]:
    """Yield the sets whose folder was given."""
    if options.grocery:
        root = options.grocery
        yield Pictures(
            name="grocery", side=options.grocery_side, train=root / "train",
            reference=root / "reference", query=root / "val",
            scored={"known": (root / "reference", root / "test")},
        )  # fmt: skip
    if options.omniglot:
        known, unknown = options.omniglot / "known", options.omniglot / "unknown"
        scored = {
            "known": (known / "reference", known / "val"),
            "unknown": (unknown / "reference", unknown / "test"),
        }
        yield Pictures(
            name="omniglot", side=28, train=known / "train", reference=known / "reference",
            query=known / "val", scored=scored,
        )  # fmt: skip


def run(pictures: Pictures, loss: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train once and score the last epoch."""
    folder = options.out / run_name(pictures.name, loss, seed, options)
    common = {
        "model.backbone": options.trunk,
        "model.input_width": pictures.side,
        "model.input_height": pictures.side,
    }
    spec = common | {
        "results_dir": str(folder),
        "dataset.train_dataset": str(pictures.train),
        "dataset.val_dataset.reference": str(pictures.reference),
        "dataset.val_dataset.query": str(pictures.query),
        "train.num_epochs": options.epochs,
        "train.validation_interval": options.epochs,
        "train.loss.name": loss,
        "train.seed": seed,
    }
    began = time.perf_counter()
    receipt = fit(spec, lambda _: True)
    seconds = time.perf_counter() - began
    scores = {}
    for name, (reference, query) in pictures.scored.items():
        asked = common | {
            "results_dir": str(folder / name),
            "dataset.val_dataset.reference": str(reference),
            "dataset.val_dataset.query": str(query),
            "evaluate.checkpoint": str(folder / "ckpt" / "last.ckpt"),
        }
        metrics = evaluate(parse_spec(asked, "evaluate"))["metrics"]
        scores[name] = {mean: metrics[f"val_precision_at_1_{mean}"] for mean in MEANS}
    return {"scores": scores, "seconds": seconds, "applied": receipt["applied"]}


def run_name(pictures: str, loss: str, seed: int, options: argparse.Namespace) -> str:
    """Return the name of one run's folder and, with .json behind it, of its figures."""
    return f"{pictures}-{_short(options.trunk)}-{options.epochs}-{loss}-{seed}"


def _short(trunk: str) -> str:
    return trunk.removeprefix("timm/")


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield Markdown: mean and standard deviation over seeds, a line per set, trunk and loss."""
    yield "| set | trunk, size | epochs | loss | classes | class mean | query mean | seeds |"
    yield "|---|---|---|---|---|---|---|---|"
    groups: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for row in rows:
        for name, scores in row["scores"].items():
            place = f"{row['trunk']}, {row['side']} px"
            key = (row["set"], place, str(row["epochs"]), row["loss"], name)
            groups.setdefault(key, []).append(scores)
    for key, found in sorted(groups.items()):
        cells = [_spread([scores[mean] for scores in found]) for mean in MEANS]
        yield f"| {' | '.join((*key, *cells, str(len(found))))} |"


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grocery", type=Path)
    parser.add_argument("--omniglot", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trunk", default="timm/test_resnet")
    parser.add_argument("--grocery-side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    losses = ["triplet", "normalized_softmax", "multi_similarity"]
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=losses)
    return parser.parse_args()


def main() -> None:
    """Run what is missing, seed by seed, and print the table of all runs in OUT."""
    options = parse()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed, pictures, loss in product(options.seeds, list(sets(options)), options.losses):
        name = f"{run_name(pictures.name, loss, seed, options)}.json"
        if (options.out / name).is_file():
            continue
        facts = {
            "set": pictures.name, "side": pictures.side, "trunk": _short(options.trunk),
            "epochs": options.epochs, "loss": loss, "seed": seed, "machine": platform.machine(),
            "torch": str(torch.__version__),
        }  # fmt: skip
        row = facts | run(pictures, loss, seed, options)
        (options.out / name).write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
        print(name, row["scores"], f"{row['seconds']:.0f} s", flush=True)
    rows = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(options.out.glob("*.json"))]
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
