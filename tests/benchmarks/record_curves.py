"""Record learning curves of the real trainer, for comparing search policies without training.

    python tests/benchmarks/record_curves.py record --images omniglot/known_classes --work /tmp/rec
    python tests/benchmarks/record_curves.py pack --work /tmp/rec --out studies/recorded/omniglot28.json.gz

`record` may be killed and started again at any time, and several may run beside each other
(`--part 0/2`, `--part 1/2`): each finished run is one line of `curves.jsonl`. Two hundred
configurations are trained once with the same seed (as in a search), and twenty of them with other
seeds. Where they come from, in blocks of ten: six uniform in the compiled space, three within a
decade of the default, one uniform in the schema's raw ranges; number 0 is the default.
"""

import argparse
import gzip
import json
import os
import platform
import random
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hpo.core.seeds import derive_seed
from tests.benchmarks.surfaces import compiled, draw_raw
from trainer.session import TRAINER

NUM_CONFIGS = 200
NUM_EPOCHS = 27
NUM_CLASSES = 40
NUM_TRAIN = 7
"""Training pictures of each class; the others are queries, so that P@1 is less coarse."""
NUM_QUERIES = 10
SEED = 1
REPEATED = 20
OTHER_SEEDS = (2, 3, 4)
METRICS = ("train_loss",)


def main() -> None:
    """Record, or pack what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    record = verbs.add_parser("record")
    record.add_argument("--images", type=Path, required=True)
    record.add_argument("--part", default="0/1")
    pack = verbs.add_parser("pack")
    pack.add_argument("--out", type=Path, required=True)
    for verb in (record, pack):
        verb.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    if args.verb == "record":
        run_recorder(args)
    else:
        pack_curves(args.work, args.out)


def run_recorder(args: argparse.Namespace) -> None:
    """Train what this part has to do and is not in the file yet."""
    os.environ.setdefault("HPO_CACHE_DIR", str(args.work / f"cache-{args.part.replace('/', '-')}"))
    import torch

    torch.set_num_threads(1)
    share, of = map(int, args.part.split("/"))
    base = base_spec(make_data(args.images, args.work))
    configs = draw_configs(base)
    path = args.work / "curves.jsonl"
    (args.work / "base.json").write_text(json.dumps(header(base)))
    while (todo := next_run(path, share, of, len(configs))) is not None:
        index, seed = todo
        line = train(base, configs[index], index, seed, args.work / f"out-{share}")
        with path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def make_data(images: Path, work: Path) -> dict[str, str]:
    """Choose classes and pictures: links below the working folder."""
    source, data = work / "images", work / "data"
    if not data.exists():
        for split in ("train", "reference", "val"):
            shutil.unpack_archive(images / f"{split}.tar.gz", source)
        names = sorted(p.name for p in (source / "train").iterdir())
        draft = work / f"data-{os.getpid()}"
        for name in (names[i * len(names) // NUM_CLASSES] for i in range(NUM_CLASSES)):
            train = sorted((source / "train" / name).iterdir())
            rest = [*sorted((source / "val" / name).iterdir()), *train[NUM_TRAIN:]]
            parts = {
                "train": train[:NUM_TRAIN],
                "reference": sorted((source / "reference" / name).iterdir()),
                "query": rest[:NUM_QUERIES],
            }
            for part, files in parts.items():
                folder = draft / part / name
                folder.mkdir(parents=True)
                for file in files:
                    (folder / file.name).symlink_to(file.resolve())
        draft.rename(data)
    return {part: str(data / part) for part in ("train", "reference", "query")}


def base_spec(sources: dict[str, str]) -> dict[str, Any]:
    """28 px, one channel, a trunk of 0.37 M parameters; no colours to change, no mirror images."""
    own = {
        "model.backbone": "timm/test_resnet",
        "model.input_width": 28,
        "model.input_height": 28,
        "model.input_channels": 1,
        "model.feat_dim": 64,
        "dataset.pixel_mean": [0.5],
        "dataset.pixel_std": [0.25],
        "dataset.gaussian_blur.enabled": False,
        "dataset.color_augmentation.enabled": False,
        "dataset.prob": 0.0,
        "dataset.re_prob": 0.0,
        "train.num_epochs": NUM_EPOCHS,
        "train.checkpoint_interval": NUM_EPOCHS,
    }
    return TRAINER.validate(own | TRAINER.data_overrides(sources))


def draw_configs(base: dict[str, Any]) -> list[dict[str, Any]]:
    """All configurations in the order in which they are recorded: [{"source", "params"}]."""
    space = compiled(base, TRAINER.limits(base))
    near = compiled(base, TRAINER.limits(base), num_trials=4).for_trial(0)
    configs = [{"source": "default", "params": space.default()}]
    for index in range(1, NUM_CONFIGS):
        rng = random.Random(derive_seed("recorded", index))
        if index % 10 in (3, 6, 9):
            configs.append({"source": "near", "params": near.sample(rng)})
        elif index % 10 == 5:
            configs.append({"source": "raw", "params": draw_raw(space, rng)})
        else:
            configs.append({"source": "compiled", "params": space.sample(rng)})
    return configs


def next_run(path: Path, share: int, of: int, num_configs: int) -> tuple[int, int] | None:
    """The next (configuration, seed) of this part that nobody has recorded."""
    lines = read_lines(path)
    done = {(line["index"], line["seed"]) for line in lines}
    first = [(index, SEED) for index in range(num_configs)]
    half = [run for run in first[: num_configs // 2] if run not in done]
    wanted = half or [*repeats(lines), *first[num_configs // 2 :]]
    left = [run for run in wanted if run not in done]
    own = [run for run in left if (run[0] + run[1]) % of == share]
    return own[0] if own else left[-1] if left else None


def repeats(lines: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Which runs to repeat: twenty of the first hundred, evenly over the better half."""
    first = {n["index"]: max(n["value"], default=0.0) for n in lines if n["seed"] == SEED}
    order = sorted((i for i in first if i < NUM_CONFIGS // 2), key=lambda i: (-first[i], i))
    chosen = sorted({0, *order[: 2 * REPEATED : 2]})[: REPEATED + 1]
    return [(index, seed) for seed in OTHER_SEEDS for index in chosen]


def train(
    base: dict[str, Any], config: dict[str, Any], index: int, seed: int, folder: Path
) -> dict[str, Any]:
    """Train one configuration once: its curve, or how it failed."""
    from hpo.core.spec_dicts import merged

    spec = merged(base, config["params"], {"train.seed": seed, "results_dir": str(folder)})
    curve: dict[str, list[float]] = {"value": [], "train_loss": [], "cpu_s": [], "seconds": []}
    last = time.process_time()

    def report(epoch: Any) -> bool:
        nonlocal last
        now = time.process_time()
        curve["value"].append(round(epoch["value"], 5))
        curve["train_loss"].append(round(epoch["metrics"]["train_loss"], 5))
        curve["seconds"].append(round(epoch["seconds"], 4))
        curve["cpu_s"].append(round(now - last, 4))
        last = now
        return True

    failure = None
    try:
        TRAINER.fit(spec, report)
    except Exception as error:
        kind = getattr(error, "kind", None)
        if kind != "diverged":
            raise
        failure = {"kind": kind, "message": str(error).splitlines()[0]}
    return {"index": index, "seed": seed, **config, **curve, "failure": failure}


def header(base: dict[str, Any]) -> dict[str, Any]:
    """What the curves were recorded with."""
    import torch

    kept = {k: v for k, v in base.items() if k in {"model", "dataset", "train"}}
    return {
        "spec": kept,
        "limits": TRAINER.limits(base),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread per run",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every finished run; a line cut off by a kill is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def pack_curves(work: Path, out: Path) -> None:
    """Write all curves as one compressed JSON file."""
    head = json.loads((work / "base.json").read_text())
    for section in ("train_dataset", "val_dataset"):
        head["spec"]["dataset"].pop(section, None)
    runs = {(line["index"], line["seed"]): line for line in read_lines(work / "curves.jsonl")}
    write_recording(
        {**head, "num_epochs": NUM_EPOCHS, "runs": [runs[key] for key in sorted(runs)]}, out
    )


def write_recording(data: Mapping[str, Any], out: Path) -> None:
    """Write a recording, the same bytes for the same data."""
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, separators=(",", ":"))
    out.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(data['runs'])} runs, {out.stat().st_size / 1024:.0f} KiB: {out}")


if __name__ == "__main__":
    main()
