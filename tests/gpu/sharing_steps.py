"""Steps in which several processes share a card."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

from tests.gpu.data import train_spec
from tests.gpu.smoke import Context, Skip

SHARE = 0.5


def sharing(context: Context) -> dict[str, Any]:
    """Several trials at once against one after the other: images per second in all.

    Each trial is a process that reports when its first epoch is done; the clock runs over the
    epochs after it, so imports, decoding and warm-up are not in the figures.
    """
    from trainer.session import TRAINER

    trials, epochs = (2, 2) if context.tiny else (4, 4)
    specs = [
        train_spec(
            context, f"sharing_{number}", "resnet_50", 224, 32,
            train__num_epochs=epochs, train__seed=number,
        )
        for number in range(trials)
    ]  # fmt: skip
    TRAINER.prepare(specs[0])
    alone, _ = _run_together(specs[:1])
    together, receipts = _run_together(specs)
    return {
        "images/s, one trial alone": round(alone, 1),
        f"images/s, {trials} at once": round(together, 1),
        "MiB each": round(max(receipt["peak_memory_mib"] for receipt in receipts)),
        "precision": receipts[0]["precision"],
        "device": receipts[0]["device"],
    }


def _trial(spec: dict[str, Any], gate: Any, results: Any) -> None:
    """Train; after the first epoch wait until all others are there too."""
    from trainer.session import TRAINER

    began = []

    def report(epoch: Any) -> bool:
        if epoch["epoch"] == 1:
            gate.wait()
            began.append(time.time())
        return True

    receipt = TRAINER.fit(spec, report)
    images = receipt["steps_per_epoch"] * spec["train.batch_size"] * (spec["train.num_epochs"] - 1)
    results.put((began[0], time.time(), images, receipt))


def _run_together(specs: list[dict[str, Any]]) -> tuple[float, list[dict[str, Any]]]:
    found = _run_processes(_trial, [(spec,) for spec in specs])
    seconds = max(row[1] for row in found) - min(row[0] for row in found)
    return sum(row[2] for row in found) / seconds, [row[3] for row in found]


def _run_processes(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run a function in as many processes, which meet at a gate; return what each put.

    They are forked from one that has imported the trainer and has not touched a card.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.training"])
    gate, results = context.Barrier(len(arguments)), context.Queue()
    processes = [context.Process(target=work, args=(*own, gate, results)) for own in arguments]
    for process in processes:
        process.start()
    found: list[Any] = []
    while len(found) < len(processes):
        if any(process.exitcode for process in processes):
            for process in processes:
                process.terminate()
            raise RuntimeError("a process failed, see the log")
        if not results.empty():
            found.append(results.get())
        time.sleep(0.02)
    for process in processes:
        process.join()
    return found


def shares(context: Context) -> dict[str, Any]:
    """Two processes with half a card each: one asks for too much, the other must not notice."""
    import torch

    if not torch.cuda.is_available() and not context.tiny:
        raise Skip("a GPU is needed")
    found = {row[0]: row[1:] for row in _run_processes(_hold, [(0.35,), (0.6,)])}
    if torch.cuda.is_available() and (found[0.35][0], found[0.6][0]) != ("held", "out of memory"):
        raise AssertionError(f"the limit did not keep them apart: {found}")
    return {f"asked for {asked:.0%}": how for asked, (how, _) in sorted(found.items())} | {
        "limit MiB": found[0.6][1] and round(found[0.6][1])
    }


def _hold(asked: float, gate: Any, results: Any) -> None:
    """Hold so much of the card while the other does the same; say how it went."""
    import torch

    from trainer.devices import memory_limit_mib, pick_device
    from trainer.session import TRAINER

    TRAINER.limit_memory(SHARE)
    device = pick_device(0)
    total = 2**20
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    gate.wait()
    held, how = None, "held"
    try:
        held = torch.empty(int(asked * total), dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:
        how = "out of memory"
    gate.wait()
    ones = torch.ones(64, 64, device=device)  # works on while the other has failed
    assert float((ones @ ones)[0, 0]) == 64.0
    results.put((asked, how, memory_limit_mib(device)))
    del held
