"""A program, not a test: pictures a second through predict, against decoding and onnxruntime by hand.

    python tests/benchmarks/predict_throughput.py --export runs/retail/.../best --photos PHOTOS

PHOTOS is a folder of pictures, copied until there are as many as asked; some copies are cut short.
By hand means: threads that decode and resize by Pillow, and onnxruntime beside them. Both work on
the same blocks of pictures in turns, so that what else the machine does falls on both alike.
Processor time a picture is told beside it, which other programs on the machine change less.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from trainer.actions.predict import label_pictures, open_model

BATCH = 32


def main(argv: Sequence[str] | None = None) -> None:
    """Print pictures a second of both ways, their ratio, and the memory along the way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--export", type=Path, required=True, help="model.onnx and gallery.npz")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--broken", type=int, default=50)
    parser.add_argument("--block", type=int, default=500, help="pictures before the ways change")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        files = _copies(args.photos, Path(scratch), args.pictures, args.broken)
        _compare(args.export, files, args.block)


def _copies(photos: Path, folder: Path, count: int, broken: int) -> list[Path]:
    """Copy pictures under new names until there are enough, and cut some of them short."""
    endings = {".jpg", ".jpeg", ".png"}
    given = sorted(path for path in photos.rglob("*") if path.suffix.lower() in endings)
    made = []
    for number, source in zip(range(count), itertools.cycle(given), strict=False):
        target = folder / f"{number:06d}{source.suffix}"
        shutil.copyfile(source, target)
        made.append(target)
    for target in random.Random(0).sample(made, broken):
        os.truncate(target, 100)
    return made


def _compare(export: Path, files: list[Path], size: int) -> None:
    by_hand = _ByHand(export)
    list(label_pictures(export, files[:BATCH], 5))
    by_hand.label(files[:BATCH])
    seconds: dict[str, list[float]] = {"predict": [], "by hand": []}
    cpu: dict[str, list[float]] = {"predict": [], "by hand": []}
    memory, labelled, failed = [_resident_mib()], 0, 0
    for start in range(0, len(files), size):
        block = files[start : start + size]
        began, computed = time.perf_counter(), time.process_time()
        rows = list(label_pictures(export, block, 5))
        seconds["predict"].append((time.perf_counter() - began) / len(block))
        cpu["predict"].append((time.process_time() - computed) / len(block))
        failed += sum("error" in row for row in rows)
        labelled += len(rows)
        memory.append(_resident_mib())
        began, computed = time.perf_counter(), time.process_time()
        by_hand.label(block)
        seconds["by hand"].append((time.perf_counter() - began) / len(block))
        cpu["by hand"].append((time.process_time() - computed) / len(block))
    for name, own in seconds.items():
        spent = 1000 * statistics.mean(cpu[name])
        print(f"{name:<8} {1 / statistics.mean(own):.1f} pictures/s, {spent:.2f} ms of CPU each")
    pairs = [h / p for p, h in zip(seconds["predict"], seconds["by hand"], strict=True)]
    ratio = statistics.mean(seconds["by hand"]) / statistics.mean(seconds["predict"])
    print(f"ratio    {ratio:.2f} (blocks {min(pairs):.2f} to {max(pairs):.2f})")
    print(f"rows     {labelled}, {failed} of them errors; load {os.getloadavg()[0]:.1f}")
    marks = memory[:: max(1, len(memory) // 8)]
    print("memory   " + ", ".join(f"{mark:.0f}" for mark in marks) + " MiB")


class _ByHand:
    """Threads that decode, and onnxruntime: what a person would write in an hour."""

    def __init__(self, export: Path) -> None:
        self._model, _ = open_model(export)
        facts: Any = self._model.facts
        self._size = (int(facts["input_width"]), int(facts["input_height"]))
        self._share = float(facts.get("crop_share", 1.0) or 1.0)
        self._mean = np.array(facts["pixel_mean"], dtype=np.float32)[:, None, None] * 255
        self._std = np.array(facts["pixel_std"], dtype=np.float32)[:, None, None] * 255

    def label(self, files: Sequence[Path]) -> int:
        """Embed all pictures that can be read; return how many those are."""
        count = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for part in _parts(pool.map(self._decode, files), BATCH):
                batch = np.stack([p for p in part if p is not None]).transpose(0, 3, 1, 2)
                batch = (batch.astype(np.float32) - self._mean) / self._std
                count += len(self._model.run(batch))
        return count

    def _decode(self, file: Path) -> np.ndarray[Any, Any] | None:
        try:
            with Image.open(file) as opened:
                image = opened.convert("RGB")
        except OSError:
            return None
        width, height = image.size
        side = min(width, height) * self._share
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.resize(self._size, Image.Resampling.BICUBIC, box))


def _parts(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while part := list(itertools.islice(items, size)):
        yield part


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
