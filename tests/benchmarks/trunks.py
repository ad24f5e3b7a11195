"""Images a second, forward and backward, of trunks on this machine's processor.

    python tests/benchmarks/trunks.py --trunks timm/resnet10t fan_tiny --sizes 64 --json out.json

`--norms keep` leaves the statistics of batch norms as they are, `folded` computes such norms within
the convolutions before them (`trainer/models/folded_norms.py`).

Each figure is the best of several repeats after a warm-up. On a machine shared with others the
wall clock says little: `per cpu s` counts this process's own processor seconds, all threads
together, and is the figure to compare with one thread.
"""

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import timm
import torch

from trainer.host_memory import keep_freed_blocks
from trainer.models.folded_norms import find_foldable, fold_norms
from trainer.models.trunk import create_trunk

SMALL_TRUNKS = [
    "timm/test_resnet",
    "timm/test_convnext",
    "timm/mobilenetv4_conv_small_035",
    "timm/mobilenetv4_conv_small",
    "timm/efficientvit_b0",
    "timm/resnet10t",
    "timm/repvit_m0_9",
    "timm/resnet14t",
    "timm/resnet18",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trunk at one size, batch and number of threads."""

    trunk: str
    parameters_million: float
    features: int
    size: int
    batch: int
    threads: int
    channels_last: bool
    images_per_second: float
    images_per_cpu_second: float


def measure(trunk_name: str, size: int, threads: int, options: argparse.Namespace) -> Row:
    """Time training steps of `trunk_name` without an optimizer, after a warm-up."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    keep_freed_blocks()  # as in training
    batch = options.batch
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    trunk = create_trunk(trunk_name, image_size=(size, size)).train().to(memory_format=layout)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=layout)
    if options.norms == "folded":
        fold_norms(trunk, find_foldable(trunk, (3, size, size)))
    for norm in trunk.modules() if options.norms != "update" else ():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.eval()

    def step() -> None:
        trunk.zero_grad(set_to_none=True)
        trunk(images).square().mean().backward()

    for _ in range(2):
        step()
    walls, cpus = [], []
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end or len(walls) < 3:
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Row(
        trunk=trunk_name,
        parameters_million=sum(p.numel() for p in trunk.parameters()) / 1e6,
        features=int(trunk.num_features),
        size=size,
        batch=batch,
        threads=threads,
        channels_last=options.channels_last,
        images_per_second=batch / min(walls),
        images_per_cpu_second=batch / min(cpus),
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trunks", nargs="+", default=SMALL_TRUNKS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--channels-last", action="store_true", help="memory layout of images")
    parser.add_argument("--norms", choices=("update", "keep", "folded"), default="update")
    parser.add_argument("--seconds", type=float, default=2.0, help="per row, after the warm-up")
    parser.add_argument("--json", type=Path, help="write the rows and the machine here")
    return parser.parse_args()


def main() -> None:
    """Measure every combination and print one line for each as it comes."""
    options = parse()
    rows = []
    print(
        f"{'trunk':36} {'M par':>6} {'feat':>5} {'px':>4} {'thr':>3} {'img/s':>7} {'per cpu s':>9}"
    )
    for name in options.trunks:
        for size in options.sizes:
            for threads in options.threads:
                row = measure(name, size, threads, options)
                rows.append(row)
                print(
                    f"{name:36} {row.parameters_million:6.2f} {row.features:5d} {size:4d} "
                    f"{threads:3d} {row.images_per_second:7.0f} {row.images_per_cpu_second:9.0f}",
                    flush=True,
                )
    if options.json:
        machine = {"machine": platform.machine(), "torch": torch.__version__}
        machine |= {"timm": timm.__version__, "python": platform.python_version()}
        content = {"machine": machine, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
