"""How fast the trainer is against its model alone, and against the usual recipe; all in one run.

    python tests/benchmarks/trainer_throughput.py --json out.json [--images FOLDER] [--trunks T@SIZE ...]

Per trunk and size, in small slices by turns, in images per second:

- floor A: forward, loss and miner, backward, optimizer step on one fixed batch;
- floor B: forward and backward on it;
- ours: the training epoch of `trainer` inside Lightning's loop, drawing and augmenting included;
- recipe: the published way, written anew: torchvision's transforms image by image in loader
  workers, one optimizer group per tensor, a plain loop (Lightning would slow it further).

Then the seconds of one validation against its forward passes alone, and of a validation with the
full set of metrics. Ratios are medians over rounds, with a 95 % interval. The clock is the wall's
on a GPU or an idle machine; on a CPU that others use it is the processor seconds of this process
and its loader workers (`--clock` decides). Loader workers stand still while it is not their turn.
FOLDER holds train, reference and val; by default the demonstration pictures are drawn.
"""

import argparse
import itertools
import json
import logging
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from tests.benchmarks.published_recipe import PublishedRecipe, full_metrics
from trainer.config.root import Spec
from trainer.data.batches import RecognitionData, build_data
from trainer.data.demo import make_demo_data
from trainer.devices import pick_device, training_devices, wants_bf16
from trainer.epochs import validate
from trainer.isolation import isolated
from trainer.module import RecognitionModule
from trainer.proposals import has_faiss
from trainer.receipt import device_name, peak_memory_mib
from trainer.spec import parse_spec
from trainer.training import build_module

CPU_CASES = ("timm/resnet18@64", "timm/resnet18@112", "timm/test_resnet@64")
CUDA_CASES = ("resnet_50@224", "timm/resnet18@112")
Slice = Callable[[int], None]


class Clock:
    """Wall seconds, or processor seconds of this process (a recipe adds its workers')."""

    def __init__(self, kind: str, device: torch.device) -> None:
        self.kind, self._device = kind, device

    def __call__(self) -> float:
        """Now, when everything begun on the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() if self.kind == "wall" else time.process_time()


def chosen_clock(asked: str, device: torch.device) -> str:
    """`auto`: the wall clock, except on a CPU that others are using."""
    if asked != "auto":
        return asked
    is_busy = os.getloadavg()[0] > 0.5 * len(os.sched_getaffinity(0))
    return "cpu" if device.type == "cpu" and is_busy else "wall"


def floors(
    spec: Spec, data: Any, device: torch.device, batch: tuple[torch.Tensor, torch.Tensor]
) -> tuple[Slice, Slice]:
    """The two floors as functions of a number of steps."""
    module = build_module(spec, data, device)
    use_bf16 = wants_bf16(spec.train.precision, device)
    images, labels = batch[0].contiguous(memory_format=module.layout), batch[1]

    def embeddings() -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bf16):
            return module.model(images).float()

    def floor_a(steps: int) -> None:
        for _ in range(steps):
            module.optimizer.zero_grad()
            emb_ND = embeddings()
            pairs = None if module.miner is None else module.miner(emb_ND, labels)
            module.loss(emb_ND, labels, pairs).backward()
            module.optimizer.step()

    def floor_b(steps: int) -> None:
        for _ in range(steps):
            module.optimizer.zero_grad()
            embeddings().square().mean().backward()

    return floor_a, floor_b


class Turns:
    """Batches for Lightning's loop that give way to the other contestants after every slice.

    Ours is timed from leaving this iterator to coming back to it for the next slice.
    """

    def __init__(
        self,
        data: RecognitionData,
        others: dict[str, Any],
        clock: Clock,
        steps: int,
        seconds: float,
    ) -> None:
        self._data, self._others, self._clock = data, others, clock
        self._steps, self._seconds = steps, seconds
        self.times: dict[str, list[float]] = {name: [] for name in ("ours", *others)}

    def __iter__(self) -> Iterator[Any]:
        for other in self._others.values():  # warm-up
            other(2)
        epochs = (self._data.train_batches(epoch) for epoch in itertools.count())
        end, began = None, None
        for drawn, batch in enumerate(itertools.chain.from_iterable(epochs)):
            if drawn and drawn % self._steps == 0:
                if began is not None:
                    self.times["ours"].append(self._clock() - began)
                    self._turn()
                end = end or time.monotonic() + self._seconds
                if time.monotonic() > end and len(self.times["ours"]) >= 3:
                    return
                began = self._clock()
            yield batch

    def _turn(self) -> None:
        for name, other in self._others.items():
            began = self._clock()
            extra = other(self._steps)
            self.times[name].append(self._clock() - began + (extra or 0.0))


def measure_training(
    module: RecognitionModule, spec: Spec, turns: Turns, *, use_bf16: bool
) -> dict[str, list[float]]:
    """Run Lightning's loop as `trainer.training` sets it up, until the turns are over."""
    accelerator, devices = training_devices(spec.train)
    pl.Trainer(
        accelerator=accelerator, devices=devices, max_epochs=1, limit_val_batches=0,
        precision="bf16-mixed" if use_bf16 else "32-true", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, default_root_dir=spec.results_dir,
    ).fit(module, turns)  # fmt: skip
    return turns.times


def measure_validation(
    module: RecognitionModule, data: Any, spec: Spec, clock: Clock, *, seconds: float
) -> dict[str, float]:
    """Seconds of a validation, of its forward passes on ready batches, and of the full metrics."""
    device = next(module.parameters()).device
    use_bf16 = wants_bf16(spec.train.precision, device)
    size = spec.train.val_batch_size
    ready = [b for name in ("reference", "query") for b in data.eval_batches(name, size)]
    model = module.evaluated.eval()

    @torch.inference_mode()
    def forward_alone() -> None:
        for images in ready:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bf16):
                model(images)

    contestants: dict[str, Callable[[], object]] = {
        "val_forward_s": forward_alone,
        "val_s": lambda: validate(module, data, spec, use_bf16=use_bf16),
    }
    if has_faiss():  # the recipe's metrics cannot do without it
        contestants["recipe_metrics_s"] = lambda: full_metrics(data, device)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times["val_s"]) < 3:
        for name, work in contestants.items():
            began = clock()
            work()
            times[name].append(clock() - began)
    ratios = [v / f for v, f in zip(times["val_s"], times["val_forward_s"], strict=True)]
    figures = {name: statistics.median(values) for name, values in times.items()}
    return figures | {"val_over_forward": statistics.median(ratios)}


def measure(case: str, args: argparse.Namespace, images: dict[str, str]) -> dict[str, float]:
    """All figures of one trunk and size."""
    trunk, size = case.rsplit("@", 1)
    spec = case_spec(trunk, int(size), args, images)
    device = pick_device(0)
    use_bf16 = wants_bf16(spec.train.precision, device)
    clock = Clock(args.clock, device)
    with isolated(spec, device):
        data = build_data(spec, device)
        module = build_module(spec, data, device)
        floor_a, floor_b = floors(spec, data, device, next(iter(data.train_batches(0))))
        recipe = PublishedRecipe(spec, data, device, counts_workers=args.clock == "cpu")
        others = {"floor_a": floor_a, "floor_b": floor_b, "recipe": recipe}
        turns = Turns(data, others, clock, args.steps, args.seconds)
        try:
            times = measure_training(module, spec, turns, use_bf16=use_bf16)
        finally:
            recipe.close()
        peak_mib = peak_memory_mib(device)
        validation = measure_validation(module, data, spec, clock, seconds=args.seconds / 3)
    num = args.steps * spec.train.batch_size
    figures = {name: num / statistics.median(values) for name, values in times.items()}
    for other in ("floor_a", "recipe"):
        ratios = [theirs / ours for ours, theirs in zip(times["ours"], times[other], strict=True)]
        figures[f"ours_over_{other}"] = statistics.median(ratios)
        figures[f"ours_over_{other}_low"], figures[f"ours_over_{other}_high"] = interval(ratios)
    return figures | validation | {"peak_mib": peak_mib, "rounds": len(times["ours"])}


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median over rounds."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


def case_spec(trunk: str, size: int, args: argparse.Namespace, images: dict[str, str]) -> Spec:
    """The defaults, with this trunk and these pictures."""
    return parse_spec(
        {
            "results_dir": images["scratch"],
            "dataset.train_dataset": images["train"],
            "dataset.val_dataset.reference": images["reference"],
            "dataset.val_dataset.query": images["query"],
            "model.backbone": trunk,
            "model.input_height": size,
            "model.input_width": size,
            "train.batch_size": args.batch,
            "train.num_epochs": 1,
            "train.compile": args.compile,
            "dataset.workers": args.workers,
        },
        "train",
    )


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """What it ran on, and how it was timed."""
    return {
        "device": device_name(pick_device(0)),
        "cores": len(os.sched_getaffinity(0)),
        "threads": args.threads,
        "clock": args.clock,
        "load_1min": os.getloadavg()[0],
        "batch": args.batch,
        "steps_per_slice": args.steps,
        "recipe_workers": args.workers,
        "compile": args.compile,
        "faiss": has_faiss(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def parse(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--images", type=Path, help="folder with train, reference and val")
    parser.add_argument("--trunks", nargs="+", metavar="TRUNK@SIZE")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="steps per slice")
    parser.add_argument("--seconds", type=float, default=50.0, help="per trunk and size")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--clock", choices=("auto", "wall", "cpu"), default="auto")
    parser.add_argument("--compile", action="store_true", help="train.compile for ours")
    args = parser.parse_args(words)
    device = pick_device(0)
    args.trunks = args.trunks or (CUDA_CASES if device.type == "cuda" else CPU_CASES)
    args.clock = chosen_clock(args.clock, device)
    return args


def sources(args: argparse.Namespace, scratch: Path) -> dict[str, str]:
    """Folders of pictures by split."""
    if args.images is None:
        found = make_demo_data(scratch / "demo", 1)
    else:
        found = {"train": "train", "reference": "reference", "query": "val"}
        found = {name: str(args.images / folder) for name, folder in found.items()}
    return {"scratch": str(scratch), **found}


def show_header(facts: dict[str, Any]) -> None:
    """The first lines of the table."""
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(
        f"{'images/s':24}{'floor A':>9}{'floor B':>9}{'ours':>9}{'recipe':>9}{'ours/A':>8}{'95 %':>13}"
        f"{'ours/rec':>9}{'val s':>8}{'forward':>9}{'ratio':>7}{'MiB':>7}",
        flush=True,
    )


def show(case: str, row: dict[str, float]) -> None:
    """A line for people, as soon as it is known."""
    print(
        f"{case:24}{row['floor_a']:9.1f}{row['floor_b']:9.1f}{row['ours']:9.1f}"
        f"{row['recipe']:9.1f}{row['ours_over_floor_a']:8.3f}"
        f"  {row['ours_over_floor_a_low']:.3f}-{row['ours_over_floor_a_high']:.3f}"
        f"{row['ours_over_recipe']:9.2f}"
        f"{row['val_s']:8.2f}{row['val_forward_s']:9.2f}{row['val_over_forward']:7.3f}"
        f"{row['peak_mib']:7.0f}",
        flush=True,
    )


def main(words: list[str] | None = None) -> None:
    """Measure, print a table, write JSON."""
    args = parse(words)
    logging.getLogger("trainer").setLevel(logging.ERROR)  # random weights are meant
    torch.set_num_threads(args.threads)
    result: dict[str, Any] = {"machine": machine(args)}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("HPO_CACHE_DIR", f"{scratch}/cache")
        images = sources(args, Path(scratch))
        show_header(result["machine"])
        for case in args.trunks:
            result[case] = measure(case, args, images)
            show(case, result[case])
            if args.json:
                args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
