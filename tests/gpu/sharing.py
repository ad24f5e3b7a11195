"""Four trials at once on one card against the same four one after the other: images per second in all.

    python tests/gpu/sharing.py --json sharing.json [--trunk resnet_50] [--size 224] [--epochs 3]

Each trial is a process that reports when its first epoch is done; the clock runs over the epochs
after it, so imports, decoding and warm-up are not in the figures.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

TRIALS = 4


def trial(spec, gate, results):
    """Train; after the first epoch wait until all others are there too."""
    from trainer.session import TRAINER

    began = []

    def report(epoch):
        if epoch["epoch"] == 1:
            gate.wait()
            began.append(time.time())
        return True

    receipt = TRAINER.fit(spec, report)
    images = receipt["steps_per_epoch"] * spec["train.batch_size"] * (spec["train.num_epochs"] - 1)
    results.put((began[0], time.time(), images, receipt["peak_memory_mib"], receipt["precision"]))


def run_together(specs):
    """Run trials at once; return images per second in all, the greatest peak in MiB, precision."""
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(len(specs)), context.Queue()
    processes = [context.Process(target=trial, args=(spec, gate, results)) for spec in specs]
    for process in processes:
        process.start()
    found = []
    while len(found) < len(processes):
        if any(process.exitcode for process in processes):
            for process in processes:
                process.terminate()
            sys.exit("sharing.py: a trial failed, see above")
        if not results.empty():
            found.append(results.get())
        time.sleep(0.05)
    for process in processes:
        process.join()
    seconds = max(row[1] for row in found) - min(row[0] for row in found)
    return sum(row[2] for row in found) / seconds, max(row[3] for row in found), found[0][4]


def main():
    """Measure both ways and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trunk", default="resnet_50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    from trainer.session import TRAINER

    with tempfile.TemporaryDirectory() as scratch:
        sources = TRAINER.demo_data(Path(scratch), 1)
        specs = [
            {
                **TRAINER.data_overrides(sources),
                "results_dir": f"{scratch}/{number}",
                "model.backbone": args.trunk,
                "model.input_height": args.size,
                "model.input_width": args.size,
                "train.batch_size": args.batch,
                "train.num_epochs": args.epochs,
                "train.seed": number,
                "train.validation_interval": 1,
            }
            for number in range(TRIALS)
        ]
        TRAINER.prepare(specs[0])
        serial = [run_together([spec]) for spec in specs[:2]]
        together = run_together(specs)
    result = {
        "one_at_a_time_images_per_s": sum(row[0] for row in serial) / len(serial),
        "four_at_once_images_per_s": together[0],
        "peak_mib_each": together[1],
        "precision": together[2],
        "trunk": args.trunk,
        "size": args.size,
        "batch": args.batch,
    }
    print(
        f"{args.trunk}@{args.size} batch {args.batch} {together[2]}, epochs with validation: "
        f"one at a time {result['one_at_a_time_images_per_s']:.0f} images/s, "
        f"four at once {together[0]:.0f} images/s in all, {together[1]:.0f} MiB each"
    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
