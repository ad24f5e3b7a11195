"""Steps that train: whether a step waits, throughput, memory, features, two devices."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch

from tests.benchmarks import trainer_throughput
from tests.gpu.data import as_one_folder, train_spec
from tests.gpu.smoke import Context, Skip
from tests.trainer.waits import count_waits
from trainer.config.loss import LOSSES
from trainer.data.batches import build_data
from trainer.devices import pick_device
from trainer.errors import DeviceMemoryError
from trainer.masked_losses import MaskedLoss
from trainer.module import RecognitionModule
from trainer.session import TRAINER
from trainer.spec import parse_spec
from trainer.training import build_module

_TIMED_STEPS = 30


def waits(context: Context) -> dict[str, Any]:
    """Count for what a step waits, by loss, and time it with masks and with lists of pairs."""
    device, counts, times = pick_device(0), {}, {}
    for name in LOSSES:
        given = train_spec(context, "waits", "timm/resnet18", 112, 64, train__loss__name=name)
        spec = parse_spec(given, "train")
        data = build_data(spec, device)
        module = build_module(spec, data, device)
        masked = MaskedLoss(name, module.loss, module.miner, module.model.embedding_size)
        batch = next(data.train_batches(0))
        seconds = {}
        for way, computed in (("lists", None), ("masks", masked)):
            module.masked = computed
            seconds[way] = _seconds_of_steps(module, batch, 1 if context.tiny else _TIMED_STEPS)
        times[name] = f"{1000 * seconds['masks']:.2f} / {1000 * seconds['lists']:.2f}"
        counts[name] = _waits_of(lambda m=module, b=batch: _step(m, b), device)
    same = _are_same(data.train_batches(1), data._augmented(1))
    if any(counts.values()) or not same:
        raise AssertionError(json.dumps({"waits": counts, "batches are the same": same, **times}))
    return {"waits a step": 0, "ms a step by masks / by lists": times, "own stream": "same batches"}


def _step(module: RecognitionModule, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    images = batch[0].contiguous(memory_format=module.layout)
    module.optimizer.zero_grad()
    emb_ND = module.model(images).float()
    torch.autograd.backward(module.loss_of(emb_ND, batch[1]))
    module.configure_gradient_clipping(module.optimizer)
    module.optimizer.step()


def _seconds_of_steps(module: RecognitionModule, batch: Any, count: int) -> float:
    def run(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            _step(module, batch)
        if batch[0].is_cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / steps

    run(3 if batch[0].is_cuda else 1)
    return run(count)


def _waits_of(work: Callable[[], None], device: torch.device) -> int:
    """How often the CPU waits for the device, as CUDA tells; on a CPU, as operations tell."""
    if device.type == "cpu":
        with count_waits() as counted:
            work()
        return counted.total()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(w.message) for w in caught)


def _are_same(batches: Any, others: Any) -> bool:
    # One after the other: all epochs of one data set draw from one generator.
    first, second = list(islice(batches, 3)), list(islice(others, 3))
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for one, two in pairs for a, b in zip(one, two, strict=True))


def resnet_50(context: Context) -> dict[str, Any]:
    """Throughput at 224 px in bf16."""
    return _throughput(context, "resnet_50@224", "timm/test_resnet@32")


def lite0(context: Context) -> dict[str, Any]:
    """Throughput of the small pretrained network's trunk."""
    return _throughput(context, "timm/tf_efficientnet_lite0@224", "timm/test_efficientnet@32")


def vit_small(context: Context) -> dict[str, Any]:
    """Throughput of a vision transformer."""
    return _throughput(context, "timm/vit_small_patch16_224@224", "timm/test_vit@64")


def _throughput(context: Context, case: str, tiny_case: str) -> dict[str, Any]:
    case, file = tiny_case if context.tiny else case, context.scratch / "throughput.json"
    words = ["--images", str(as_one_folder(context)), "--json", str(file), "--trunks", case]
    words += ["--clock", "wall"]
    if context.tiny:
        words += ["--batch", "16", "--steps", "1", "--seconds", "0.1", "--workers", "1"]
    else:
        words += ["--batch", "64", "--seconds", "25"]
    trainer_throughput.main(words)
    row = json.loads(file.read_text())[case]
    return {
        "images/s": round(row["ours"], 1),
        "floor A": round(row["floor_a"], 1),
        "floor B": round(row["floor_b"], 1),
        "ours / floor A": round(row["ours_over_floor_a"], 3),
        "ours / recipe": round(row["ours_over_recipe"], 2),
        "validation / forward": round(row["val_over_forward"], 3),
        "MiB": round(row["peak_mib"]),
    }


def out_of_memory(context: Context) -> dict[str, Any]:
    """Ask for more memory than there is; the same process must train on afterwards."""
    fitting = train_spec(context, "fits", "timm/resnet18", 64, 16, train__num_epochs=1)
    if context.tiny:
        too_large = fitting | {"model.feat_dim": 2_000_000_000}
    else:
        too_large = train_spec(context, "too_large", "resnet_50", 224, 256, train__num_epochs=1)
    TRAINER.limit_memory(0.03)
    try:
        TRAINER.fit(too_large, lambda _: True)
    except DeviceMemoryError as e:
        message = str(e)
    else:
        raise AssertionError("a run beyond the memory was not refused")
    TRAINER.limit_memory(1.0)
    receipt = TRAINER.fit(fitting, lambda _: True)
    return {"refused": message[:120], "then trained": receipt["epochs"]} | _device(receipt)


def frozen_features(context: Context) -> dict[str, Any]:
    """Heads on the cached features of a frozen trunk, alone and many together."""
    num_heads, epochs = (2, 1) if context.tiny else (16, 10)
    spec = train_spec(
        context, "frozen", "timm/tf_efficientnet_lite0", 224, 64,
        train__train_trunk=False, train__num_epochs=epochs, train__loss__name="normalized_softmax",
    )  # fmt: skip
    seconds: list[float] = []
    receipt = TRAINER.fit(spec, lambda epoch: seconds.append(epoch["seconds"]) is None)
    heads = [
        spec | {"results_dir": f"{spec['results_dir']}_{number}", "train.seed": number}
        for number in range(num_heads)
    ]
    began = time.perf_counter()
    ended = TRAINER.fit_heads(heads, lambda number, epoch: True)
    broken = [error for error in ended if isinstance(error, Exception)]
    if broken:
        raise broken[0]
    together_s = (time.perf_counter() - began) / num_heads
    return {
        "s an epoch": round(min(seconds), 3),
        "s a head alone": round(sum(seconds), 2),
        "s a head of many together": round(together_s, 2),
        "features from": receipt["features"] is not None,
    } | _device(receipt)


def two_devices(context: Context) -> dict[str, Any]:
    """Train in two processes, on two cards where there are two."""
    count = torch.cuda.device_count()
    if count < 2 and not context.tiny:
        raise Skip(f"two cards are needed, there is {count}")
    spec = train_spec(
        context, "two", "timm/resnet18", 112, 64, train__num_gpus=2, train__num_epochs=2
    )
    epochs: list[float] = []
    receipt = TRAINER.fit(spec, lambda epoch: epochs.append(epoch["seconds"]) is None)
    return {
        "processes": receipt["applied"]["train.num_gpus"],
        "s an epoch": round(epochs[-1], 2),
    } | _device(receipt)


def _device(receipt: dict[str, Any]) -> dict[str, Any]:
    return {"device": receipt["device"], "MiB": round(receipt["peak_memory_mib"])}
