"""A program, not a test: whether `hpo screen` orders networks as training does, and what it costs beside that.

    python tests/benchmarks/screen_order.py --data PHOTOS --sizes 64 96 --epochs 4 --json order.json

PHOTOS holds train, reference and val (folders or .tar.gz). Screened and trained are EfficientNet-Lite0 to
Lite2 from their pretrained weights, and two networks from random weights, at each size: a pretrained one by
the recipe of a search, a random one by the trainer's own defaults. Printed are the screened and the trained
Precision@1 of the validation pictures (best epoch), Spearman's rank correlation over all and over the
pretrained ones, and the processor seconds of all screens (whole commands, with an empty cache) as a share
of those of all trainings. Rows are kept in --json as they come; those that are there are not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from trainer.start import RECIPE
from trainer.training import fit

RANDOM = ("timm/tf_efficientnet_lite0", "timm/resnet18")
Row = dict[str, Any]


def main() -> None:
    """Screen all, train all, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    data = {name: str(next(args.data.glob(f"{name}*"))) for name in ("train", "reference", "val")}
    kept: dict[str, Any] = json.loads(args.json.read_text()) if args.json.is_file() else {}
    if not kept:
        rows = [*_screen(data, args.sizes, ["--weights", "lite0", "lite1", "lite2"])]
        rows += _screen(data, args.sizes, ["--weights", "none", "--trunks", *RANDOM])
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        kept = {"screen_seconds": usage.ru_utime + usage.ru_stime, "rows": rows}
    for row in kept["rows"]:
        if "trained" not in row:
            row.update(_train(row["spec"], data, args.epochs))
            args.json.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"{row['name']:44} {row['screened']:.4f} {row['trained']:.4f}", flush=True)
    rows = kept["rows"]
    for name, some in (
        ("all", rows),
        ("pretrained", [r for r in rows if _is_pretrained(r["spec"])]),
    ):
        rank = spearmanr([r["screened"] for r in some], [r["trained"] for r in some])
        print(f"{name}: Spearman {rank.statistic:.2f} over {len(some)}")
    trained = sum(row["training_seconds"] for row in rows)
    print(f"screens {kept['screen_seconds']:.0f} s, trainings {trained:.0f} s of a processor")


def _is_pretrained(spec: Row) -> bool:
    return bool(spec["model.pretrained_trunk_path"] != "none")


def _screen(data: dict[str, str], sizes: list[int], candidates: list[str]) -> list[Row]:
    start = [sys.executable, "-c", "import hpo_recognition; hpo_recognition.hpo()"]
    pictures = ["--reference", data["reference"], "--query", data["val"]]
    command = [*start, "screen", "--json", *candidates, *pictures, "--sizes", *map(str, sizes)]
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            check=True,
            env=os.environ | {"HPO_CACHE_DIR": cache},
        )
    return [
        {
            "name": row["name"],
            "spec": {"model.backbone": row["trunk"]} | row["spec"],
            "screened": row["value"],
        }
        for row in json.loads(done.stdout)["candidates"]
    ]


def _train(spec: Row, data: dict[str, str], epochs: int) -> Row:
    """The best Precision@1 of one training, and its processor seconds."""
    given = dict(RECIPE) | spec if _is_pretrained(spec) else dict(spec)
    if not _is_pretrained(spec):
        given["model.pretrained_trunk_path"] = None
    curve: list[float] = []
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        given |= {
            "dataset.train_dataset": data["train"],
            "dataset.val_dataset.reference": data["reference"],
            "dataset.val_dataset.query": data["val"],
            "train.num_epochs": epochs,
            "results_dir": folder,
        }
        fit(given, lambda epoch: curve.append(epoch["value"]) or True)
    return {"trained": max(curve), "training_seconds": time.process_time() - began}


if __name__ == "__main__":
    main()
