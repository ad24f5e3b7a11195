"""Two processes on one card, each with half of it: one asks for too much, the other must not notice.

python tests/gpu/neighbours.py
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

SHARE = 0.5


def work(asked, gate, results):
    """Hold `asked` of the card's memory while the other does the same; say how it went."""
    import torch

    from trainer.devices import memory_limit_mib
    from trainer.session import TRAINER

    TRAINER.limit_memory(SHARE)
    total = torch.cuda.get_device_properties(0).total_memory
    limit = memory_limit_mib(torch.device("cuda", 0))
    gate.wait()
    held, how = None, "held"
    try:
        held = torch.empty(int(asked * total), dtype=torch.uint8, device="cuda")
    except torch.OutOfMemoryError:
        how = "out of memory"
    gate.wait()
    ones = torch.ones(1024, 1024, device="cuda")  # works on while the other has failed
    assert float((ones @ ones)[0, 0]) == 1024.0
    results.put((asked, how, limit, 0 if held is None else held.numel() / 2**20))


def main():
    """Run both and compare with what must come."""
    import torch

    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=work, args=(a, gate, results)) for a in (0.35, 0.6)]
    for process in processes:
        process.start()
    found = {row[0]: row[1:] for row in (results.get(timeout=300) for _ in processes)}
    for process in processes:
        process.join()
    total = torch.cuda.get_device_properties(0).total_memory / 2**20
    for asked, (how, limit, held) in sorted(found.items()):
        print(
            f"asked for {asked:.0%} of {total:.0f} MiB under a limit of {limit:.0f}: {how}, {held:.0f} MiB"
        )
    if (found[0.35][0], found[0.6][0]) != ("held", "out of memory"):
        sys.exit("neighbours.py: the limit did not keep them apart")


if __name__ == "__main__":
    main()
