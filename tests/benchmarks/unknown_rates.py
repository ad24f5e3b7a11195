"""A program, not a test: how many unknown pictures a whole network accepts, calibrated and not.

    python tests/benchmarks/unknown_rates.py --data PHOTOS --choices 0 1 2 3 4

PHOTOS holds train, reference, val and test (folders of classes). For each choice a quarter of the
classes, drawn by its seed, is kept out of training and gallery; the network trains as a pretrained
start does, is exported, and calibrated by `hpo gallery --calibrate-unknown`'s trainings. Pictures
of the classes that were kept out, and of the others, are those of the test split.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from trainer.actions.predict import describe_threshold, embed_readable, open_export
from trainer.config.files import spec_text
from trainer.config.shape import unflatten
from trainer.session import TRAINER
from trainer.start import RECIPE

RATE = 0.05
KEPT_OUT = 14 / 54


def main() -> None:
    """Measure every choice and print a row for each as it comes."""
    args = _parse()
    rows = []
    print(
        "choice  P@1  AUROC  accepted: plain, calibrated  refused: plain, calibrated  minutes: "
        "training, calibration"
    )
    for choice in args.choices:
        with tempfile.TemporaryDirectory(dir=args.work) as folder:
            rows.append(_measure(args, choice, Path(folder)))
        print(f"{choice:6}", *(f"{value:.3f}" for value in rows[-1]), flush=True)
    print("  mean", *(f"{value:.3f}" for value in np.mean(rows, axis=0)))


def _measure(args: argparse.Namespace, choice: int, folder: Path) -> list[float]:
    names = sorted(path.name for path in (args.data / "train").iterdir())
    order = np.random.default_rng(choice).permutation(len(names))
    unknown = {names[place] for place in order[: round(KEPT_OUT * len(names))]}
    for split in ("train", "reference", "val"):
        (folder / split).mkdir()
        for name in set(names) - unknown:
            (folder / split / name).symlink_to((args.data / split / name).resolve())
    began = time.perf_counter()
    best = _train(args, folder)
    between = time.perf_counter()
    pictures = sorted((args.data / "test").glob("*/*"))
    is_unknown = np.array([path.parent.name in unknown for path in pictures])
    plain = _judged(best, pictures, is_unknown)
    trained = time.perf_counter()
    TRAINER.calibrate_unknowns(best, folder / "work", args.trainings, lambda *_: None)
    minutes = ((between - began) / 60, (time.perf_counter() - trained) / 60)
    calibrated = _judged(best, pictures, is_unknown)
    pairs = zip(plain[2:], calibrated[2:], strict=True)
    return [*plain[:2], *(value for pair in pairs for value in pair), *minutes]


def _train(args: argparse.Namespace, folder: Path) -> Path:
    """Train and export as a search does; returns the export's folder."""
    spec: dict[str, Any] = dict(RECIPE) | {
        "results_dir": str(folder / "run"),
        "dataset.train_dataset": str(folder / "train"),
        "dataset.val_dataset.reference": str(folder / "reference"),
        "dataset.val_dataset.query": str(folder / "val"),
        "dataset.first_size": args.first_size,
        "model.backbone": f"timm/tf_efficientnet_{args.weights}",
        "model.pretrained_trunk_path": args.weights,
        "model.input_height": args.size,
        "model.input_width": args.size,
        "train.num_epochs": args.epochs,
    }
    TRAINER.fit(spec, lambda epoch: True)
    best = folder / "best"
    best.mkdir()
    (folder / "run" / "ckpt" / "best.ckpt").rename(best / "model.ckpt")
    files = {"checkpoint": str(best / "model.ckpt"), "onnx_file": str(best / "model.onnx")}
    TRAINER.export(spec | {f"export.{key}": file for key, file in files.items()})
    (best / "spec.yaml").write_text(spec_text(unflatten(spec)))
    return best


def _judged(best: Path, pictures: list[Path], is_unknown: Any) -> list[float]:
    """P@1 of known pictures, AUROC, share of unknown ones accepted, of known ones refused."""
    model, gallery = open_export(best)
    emb_ND = np.concatenate([part[1] for part in embed_readable(model, pictures, {})])
    scores = gallery.score_unknown(emb_ND)
    told = gallery.names_of(gallery.nearest_classes(emb_ND, 1)[0])[:, 0]
    own = np.array([path.parent.name for path in pictures])
    known = np.unique(own[~is_unknown])
    precision = np.mean([(told[own == name] == name).mean() for name in known])
    gaps = scores[is_unknown][:, None] - scores[~is_unknown]
    auroc = float((gaps > 0).mean() + 0.5 * (gaps == 0).mean())
    limit = describe_threshold(best, RATE)["limit"]
    accepted, refused = (scores[is_unknown] <= limit).mean(), (scores[~is_unknown] > limit).mean()
    return [float(precision), auroc, float(accepted), float(refused)]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--first-size", type=float, default=0.5)
    parser.add_argument("--weights", choices=("lite0", "lite1", "lite2"), default="lite2")
    parser.add_argument("--trainings", type=int, default=2)
    parser.add_argument("--choices", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--work", type=Path, help="folder for what is trained")
    return parser.parse_args()


if __name__ == "__main__":
    main()
