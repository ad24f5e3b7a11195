"""Seconds of searches for nearest neighbours: many by many, one query in a gallery made ready, collapsed embeddings.

    python tests/benchmarks/neighbours.py [--count 100000] [--gallery 200000] [--threads 2]

The wall's seconds and processor seconds of this process. `search` of 100,000 by 100,000 takes the fastest way that is
installed (`trainer.proposals`).
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from trainer.retrieval import UnitGallery, search


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Measure and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="queries and entries, of 64")
    parser.add_argument("--gallery", type=int, default=200_000, help="entries of 256, one query")
    parser.add_argument("--collapsed", type=int, default=8_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)

    gallery = UnitGallery.of(rng.normal(size=(args.gallery, 256)).astype(np.float32))
    query = rng.normal(size=(1, 256)).astype(np.float32)
    first, *later = [timed(lambda: search(query, gallery, 5)) for _ in range(21)]
    middle = sorted(later)[len(later) // 2]
    print(
        f"one query on {args.gallery} x 256: first {1000 * first[0]:.1f} ms, then "
        f"{1000 * middle[0]:.1f} ms ({1000 * sorted(s for _, s in later)[10]:.1f} ms of processor)"
    )
    for name, spread in (("spread", 1.0), ("collapsed", 1e-7)):
        rows = (1.0 + spread * rng.normal(size=(args.collapsed, 64))).astype(np.float32)
        wall, processor = timed(lambda rows=rows: search(rows, rows, 1))
        print(f"{args.collapsed} squared, {name}: {wall:.2f} s ({processor:.2f} s of processor)")
    rows = rng.normal(size=(args.count, 64)).astype(np.float32)
    search(rows[:9], rows[:900], 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processor = timed(lambda: search(rows, rows, 1))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    print(f"{args.count} squared: {wall:.1f} s ({processor:.1f} s of processor), +{grown:.0f} MiB")


if __name__ == "__main__":
    main()
