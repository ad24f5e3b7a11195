"""Cache and augmentation alone: seconds to decode and open, milliseconds per augmented batch.

    python tests/benchmarks/data_path.py --json result.json [--device cuda] [--threads 1]

Beside ours stands the usual way (torchvision on PIL images, one by one, in this process),
interleaved in the same run; processor time is given too, as machines are often shared.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from tests.decoded import open_cache
from trainer.config.root import Spec
from trainer.data.augment import BatchAugment
from trainer.data.cached_sets import clear_caches
from trainer.data.decode import ImageSize
from trainer.data.demo import make_demo_data
from trainer.data.folder import scan_folder

BATCH = 32
SIZES = (64, 112, 224)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HPO_CACHE_DIR"] = folder
        started = time.monotonic()
        train = Path(make_demo_data(Path(folder), 1)["train"])
        result: dict[str, Any] = {"machine": machine(args), "demo_s": time.monotonic() - started}
        result["cache"] = cache_figures(train)
        for size in SIZES:
            result[f"augment@{size}"] = augment_figures(train, size, args.device, args.rounds)
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """What it ran on."""
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu"
    return {
        "cores": len(os.sched_getaffinity(0)),
        "threads": args.threads,
        "device": device,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_1min": os.getloadavg()[0],
    }


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def cache_figures(train: Path) -> dict[str, float]:
    """Images per second when building, by threads, and milliseconds to open again."""
    folder, size = scan_folder(train), ImageSize(height=128, width=128)
    figures = {"images": float(len(folder.paths))}
    for workers in sorted({1, len(os.sched_getaffinity(0))}):
        clear_caches()
        wall, cpu = timed(lambda n=workers: open_cache(folder, size, workers=n))
        figures[f"build_per_s_{workers}"] = len(folder.paths) / wall
        figures[f"build_cpu_ms_{workers}"] = 1e3 * cpu / len(folder.paths)
    reopened = [timed(lambda: open_cache(scan_folder(train), size))[0] for _ in range(5)]
    figures["scan_and_open_ms"] = 1e3 * min(reopened)
    return figures


def augment_figures(train: Path, size: int, device: str, rounds: int) -> dict[str, float]:
    """Per batch of 32: ours on decoded images, and torchvision on files."""
    spec = Spec()
    model = dataclasses.replace(spec.model, input_height=size, input_width=size)
    augment = BatchAugment(dataclasses.replace(spec, model=model), 1, device)
    stored = open_cache(scan_folder(train), ImageSize(height=2 * size, width=2 * size))
    paths = sorted(train.rglob("*.jpg"))
    rng = np.random.default_rng(0)
    slow = published_transforms(spec, size)
    ours, theirs = [], []
    for _ in range(rounds + 1):
        chosen = rng.integers(0, len(stored), BATCH)
        ours.append(timed(lambda c=chosen: augment(torch.from_numpy(np.asarray(stored[c])))))
        theirs.append(timed(lambda c=chosen: [slow(Image.open(paths[i])) for i in c]))
    return {
        "ours_ms": 1e3 * statistics.median(wall for wall, _ in ours[1:]),
        "ours_cpu_ms": 1e3 * statistics.median(cpu for _, cpu in ours[1:]),
        "torchvision_ms": 1e3 * statistics.median(wall for wall, _ in theirs[1:]),
        "torchvision_cpu_ms": 1e3 * statistics.median(cpu for _, cpu in theirs[1:]),
    }


def published_transforms(spec: Spec, size: int) -> transforms.Compose:
    """The same changes, image by image."""
    data, color = spec.dataset, spec.dataset.color_augmentation
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(data.prob),
            transforms.GaussianBlur(data.gaussian_blur.kernel, data.gaussian_blur.sigma),
            transforms.ColorJitter(color.brightness, color.contrast, color.saturation, color.hue),
            transforms.ToTensor(),
            transforms.Normalize(data.pixel_mean, data.pixel_std),
            transforms.RandomErasing(data.re_prob),
        ]
    )


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    print(f"machine: {result['machine']}")
    print(f"demonstration data drawn in {result['demo_s']:.1f} s")
    print("cache: " + ", ".join(f"{k} {v:.1f}" for k, v in result["cache"].items()))
    print(f"{'':14}{'ours ms':>10}{'cpu ms':>10}{'torchvision ms':>16}{'cpu ms':>10}")
    for size in SIZES:
        row = result[f"augment@{size}"]
        print(
            f"augment@{size:<6}{row['ours_ms']:10.1f}{row['ours_cpu_ms']:10.1f}"
            f"{row['torchvision_ms']:16.1f}{row['torchvision_cpu_ms']:10.1f}"
        )


if __name__ == "__main__":
    main()
