"""Steps that ask the machine: what is there, nearest neighbours, engines, whole searches."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.gpu.data import sources, train_spec
from tests.gpu.smoke import ROOT, Context, Skip

PACKAGES = (
    "torch", "torchvision", "pytorch-lightning", "pytorch-metric-learning", "timm", "faiss-gpu",
    "onnx", "onnxruntime", "tensorrt", "optuna", "ray",
)  # fmt: skip


def machine(context: Context) -> dict[str, Any]:
    """Tell device, memory and packages; without a GPU nothing else is worth running."""
    import torch

    if not torch.cuda.is_available() and not context.tiny:
        raise AssertionError("torch sees no CUDA GPU here")
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "-"
    if torch.cuda.is_available():
        own = torch.cuda.get_device_properties(0)
        found |= {"device": f"{torch.cuda.device_count()} x {own.name}"}
        found |= {"MiB": str(own.total_memory >> 20), "CUDA": str(torch.version.cuda)}
    return found


def neighbours(context: Context) -> dict[str, Any]:
    """Seconds of every backend that is there, whose answers must be those of numpy."""
    import numpy as np
    import torch

    from trainer.proposals import has_faiss, has_faiss_gpu
    from trainer.retrieval import search

    device = "cuda" if torch.cuda.is_available() else "cpu"
    ways = ["matmul", "torch", *["faiss"] * has_faiss(), *["faiss-gpu"] * has_faiss_gpu()]
    figures = {}
    for count in (300,) if context.tiny else (10_000, 50_000):
        rng = np.random.default_rng(0)
        drawn = {
            "spread": rng.normal(size=(2, count, 64)),
            "collapsed": 1.0 + 1e-7 * rng.normal(size=(2, count // 5, 64)),
        }
        for kind, (query, gallery) in drawn.items():
            expected = None
            for way in ways:
                search(query[:9], gallery[:900], 5, backend=way, device=device)  # loads it
                began = time.perf_counter()
                found = search(query, gallery, 5, backend=way, device=device)
                seconds = time.perf_counter() - began
                expected = expected or found
                if not all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True)):
                    raise AssertionError(f"{way} differs from {ways[0]} ({kind}, {count})")
                figures[f"{len(query)}² {kind}, {way}"] = f"{seconds:.2f} s"
    return figures | {"faiss on the GPU": "used" if "faiss-gpu" in ways else "not there"}


def engine(context: Context) -> dict[str, Any]:
    """Export, build engines of three kinds of arithmetic, and evaluate each."""
    for name in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    from trainer.session import TRAINER

    spec = train_spec(context, "engine", "timm/resnet18", 112, 32, train__num_epochs=1)
    TRAINER.fit(spec, lambda _: True)
    kept = {k: v for k, v in spec.items() if not k.startswith("train.")}
    kept |= {"results_dir": str(context.scratch / "runs" / "engine")}
    checkpoint = Path(spec["results_dir"]) / "ckpt" / "best.ckpt"
    onnx_file = context.scratch / "engine.onnx"
    TRAINER.export(
        kept | {"export.checkpoint": str(checkpoint), "export.onnx_file": str(onnx_file)}
    )
    figures: dict[str, Any] = {}
    for arithmetic in ("FP32", "FP16", "INT8"):
        file = context.scratch / f"{arithmetic.lower()}.engine"
        built = TRAINER.gen_trt_engine(kept | _build_keys(context, onnx_file, file, arithmetic))
        began = time.perf_counter()
        scored = TRAINER.evaluate(
            kept | {"evaluate.trt_engine": str(file), "evaluate.batch_size": 16}
        )
        seconds = time.perf_counter() - began
        value = scored["metrics"]["val_precision_at_1"]
        figures[f"{arithmetic} ({built['kind']})"] = (
            f"P@1 {value:.4f}, evaluated in {seconds:.1f} s"
        )
    return figures


def _build_keys(context: Context, onnx_file: Path, file: Path, arithmetic: str) -> dict[str, Any]:
    prefix = "gen_trt_engine.tensorrt"
    return {
        "gen_trt_engine.onnx_file": str(onnx_file),
        "gen_trt_engine.trt_engine": str(file),
        f"{prefix}.data_type": arithmetic,
        f"{prefix}.opt_batch_size": 16,
        f"{prefix}.max_batch_size": 16,
        f"{prefix}.calibration.cal_image_dir": [sources(context)["train"]],
        f"{prefix}.calibration.cal_cache_file": str(file.with_suffix(".ranges")),
        f"{prefix}.calibration.cal_batch_size": 8,
        f"{prefix}.calibration.cal_batches": 1 if context.tiny else 16,
        f"{prefix}.calibration.method": "minmax" if context.tiny else "auto",
        f"{prefix}.calibration.max_drop": 1.0 if context.tiny else 0.005,
    }


def search_runs(context: Context) -> dict[str, Any]:
    """Two searches at once on the card, in a process each; receipts name the device."""
    _need("optuna")
    folder = context.scratch / "searches"

    def words(seed: int) -> list[str]:
        return ["--in-process", "--seed", str(seed), "--name", f"smoke-{seed}"]

    count = 1 if context.tiny else 2
    budget = "1" if context.tiny else "4"
    _search(context, folder, [[*words(seed), "--budget", budget] for seed in range(count)])
    return _receipts(folder, int(budget) * count)


def packed_search(context: Context) -> dict[str, Any]:
    """A search with as many trials on a card as fit by what one takes."""
    _need("optuna")
    _need("ray")
    if context.tiny:
        raise Skip("without a GPU there is nothing to share; tests/hpo/executors show the sharing")
    folder = context.scratch / "packed"
    _search(context, folder, [["--budget", "8", "--trials-per-gpu", "auto", "--name", "packed"]])
    return _receipts(folder, 8)


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise Skip(f"{package} is not installed")


def _search(context: Context, folder: Path, searches: list[list[str]]) -> None:
    """Run searches at the same time and wait for all."""
    spec = train_spec(context, "search", "resnet_50", 128, 32, train__num_epochs=3)
    spec |= {"train.num_epochs": 1} if context.tiny else {"train.precision": "bf16"}
    del spec["results_dir"]
    given = {
        name: spec.pop(key)
        for name, key in (
            ("--train", "dataset.train_dataset"),
            ("--reference", "dataset.val_dataset.reference"),
            ("--query", "dataset.val_dataset.query"),
        )
    }
    common = [word for pair in given.items() for word in pair]
    common += [word for key, value in spec.items() for word in ("--set", f"{key}={value}")]
    common += ["--yes", "--no-report"]
    commands = [
        [sys.executable, "-m", "hpo.cli.main", "search", *words, *common, "--out", str(folder)]
        for words in searches
    ]
    running = [subprocess.Popen(command, cwd=ROOT) for command in commands]
    if any(process.wait() for process in running):
        raise RuntimeError("a search failed, see the log")


def _receipts(folder: Path, expected: int) -> dict[str, Any]:
    """Summarise the receipts of all trials below a folder."""
    from hpo.run.ledger import Ledger
    from hpo.run.run_dir import list_runs

    trials = []
    for run in list_runs(folder):
        ledger = Ledger.open(run.ledger_file)
        trials += ledger.trials()
        ledger.close()
    if len(trials) < expected:
        raise AssertionError(f"expected {expected} trials, found {len(trials)}")
    receipts = [trial.receipt for trial in trials if trial.receipt]
    shown: Callable[[str], list[str]] = lambda key: sorted({str(r.get(key)) for r in receipts})  # noqa: E731
    return {
        "trials": len(trials),
        "s an epoch": round(sum(t.seconds for t in trials) / sum(t.epochs for t in trials), 2),
        "devices": shown("device"),
        "cards": shown("visible_devices"),
        "precision": shown("precision"),
        "MiB": round(max(receipt["peak_memory_mib"] for receipt in receipts)),
        "limit MiB": shown("memory_limit_mib"),
    }
