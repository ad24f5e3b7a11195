"""Checks a machine for what would stop or slow a search."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hpo.core.machine import count_cpus, free_memory_mib
from hpo.core.process import children
from hpo.core.protocols import Trainer
from hpo.core.switches import is_switched_off
from hpo.core.text import count_of
from hpo.doctor.check import Check, Status
from hpo.doctor.names import check_names
from hpo.doctor.places import check_cache, check_runs, check_temporary
from hpo.tracking.address import why_useless
from hpo.tracking.listener import SWITCH
from hpo.tracking.store import display_uri

PACKAGES = (
    *("optuna", "ray", "mlflow", "torch", "torchvision", "pytorch-lightning"),
    *("pytorch-metric-learning", "timm", "onnx", "onnxruntime"),
)
_TESTED_WITH = {"optuna": 5, "ray": 2, "mlflow": 3, "torch": 2, "pytorch-lightning": 2}
"""Major versions that the code is tested with."""
_GPU_MIB = 16 * 1024
"""Below this the larger backbones do not fit at their usual batch."""
_LEAST_MEMORY_MIB = 4 * 1024
LEAST_FILES = 4096
ANSWER_S = 5.0

_TORCH = """
import json, torch, torchvision
found = {"cuda": torch.cuda.is_available(), "built_for": torch.version.cuda}
if found["cuda"]:
    found["devices"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found["bf16"] = torch.cuda.is_bf16_supported(including_emulation=False)
    torch.ones(8, device="cuda").sum().item()
print(json.dumps(found))
"""


def examine_machine(out: Path, trainer: Trainer | None) -> Iterator[Check]:
    """Look at everything but the pictures, the quickest first.

    Args:
        out: the folder that runs will lie in.
        trainer: whose cache folder to look at; None where it cannot be imported.
    """
    yield _python()
    yield _packages()
    yield from check_names()
    yield from _gpus()
    yield _torch()
    yield _memory()
    yield check_runs(out)
    if trainer is not None:
        yield check_cache(trainer)
    yield check_temporary()
    yield _shared_memory()
    yield _open_files()
    yield _mlflow(out)


def _python() -> Check:
    text = f"Python {platform.python_version()}, {count_of(count_cpus(), 'core')} to use"
    return Check("python", "ok", text)


def _packages() -> Check:
    found, missing, untested = [], [], []
    for name in PACKAGES:
        try:
            number = version(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        found.append(f"{name} {number}")
        if name in _TESTED_WITH and int(number.split(".")[0]) != _TESTED_WITH[name]:
            untested.append(f"{name} {number}")
    if missing:
        return Check(
            "packages",
            "error",
            f"not installed: {', '.join(missing)}",
            "pip install -c constraints.txt -e '.[all]'",
        )
    if untested:
        return Check(
            "packages",
            "warning",
            f"other major versions than tested: {', '.join(untested)}",
            "install with -c constraints.txt",
        )
    return Check("packages", "ok", ", ".join(found))


def _gpus() -> list[Check]:
    fields = "name,driver_version,memory.total,memory.free"
    try:
        listing = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=20, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        listing = ""
    checks = []
    for number, line in enumerate(filter(None, listing.splitlines())):
        name, driver, total, free = (part.strip() for part in line.split(","))
        text = f"{number}: {name}, driver {driver}, {free} of {total} MiB free"
        advice = ""
        if _number(total) < _GPU_MIB:
            advice = "under 16 GB: choose a smaller batch, input or backbone"
        elif _number(free) < 0.5 * _number(total):
            advice = "another process holds most of it; trials may run out of memory"
        status: Status = "warning" if advice else "ok"
        checks.append(Check("gpu", status, text, advice))
    return checks or [Check("gpu", "info", "none; trials will run on CPU cores")]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # "[N/A]" where memory is shared with the host
        return float("inf")


def _torch() -> Check:
    """In a process of its own: a broken CUDA installation may end the process."""
    advice = "install torch and torchvision from one source, with -c constraints.txt"
    if importlib.util.find_spec("torch") is None:
        return Check("torch", "error", "is not installed", advice)
    environment = {**children.environment(), "PYTHONWARNINGS": "ignore"}
    try:
        process = subprocess.run(
            children.python("-c", _TORCH),
            capture_output=True, text=True, timeout=120, check=False, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        hangs = "run `python -c 'import torch'` to see where it hangs"
        return Check("torch", "error", "does not answer in 120 s", hangs)
    if process.returncode != 0:
        last = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        return Check("torch", "error", f"cannot be used: {last}", advice)
    found = json.loads(process.stdout.strip().splitlines()[-1])
    if found["cuda"]:
        precision = "bf16" if found["bf16"] else "no bf16"
        return Check("torch", "ok", f"sees {', '.join(found['devices'])}, {precision}")
    built = f"built for CUDA {found['built_for']}" if found["built_for"] else "built without CUDA"
    return Check("torch", "ok", f"runs on CPU ({built}, no device to use)")


def _memory() -> Check:
    free = free_memory_mib()
    if free is None:
        return Check("memory", "info", "the system does not tell how much is free")
    text = f"{free / 1024:.1f} GiB free"
    if free < _LEAST_MEMORY_MIB:
        advice = "a trial takes 1 to 3 GiB; close other programs or run fewer at a time"
        return Check("memory", "warning", text, advice)
    return Check("memory", "ok", text)


def _shared_memory() -> Check:
    folder = Path("/dev/shm")  # noqa: S108 - Ray's, looked at and not written
    if not folder.is_dir():
        return Check("shared", "info", "no /dev/shm; Ray uses the disk instead")
    free = shutil.disk_usage(folder).free / 1024**3
    if free < 1:
        advice = "in a container: start it with --shm-size=2g"
        text = f"{free:.2f} GiB of shared memory"
        return Check("shared", "warning", text, advice)
    return Check("shared", "ok", f"{free:.1f} GiB of shared memory")


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < LEAST_FILES:
        text = f"{soft} may be open at a time (it can be raised to {hard})"
        return Check("files", "warning", text, f"ulimit -n {LEAST_FILES}")
    return Check("files", "ok", f"{soft} may be open at a time")


def _mlflow(out: Path) -> Check:
    if is_switched_off(SWITCH):
        return Check("mlflow", "info", f"switched off by {SWITCH}: runs are not mirrored")
    if importlib.util.find_spec("mlflow") is None:
        return Check("mlflow", "info", "not installed: runs are not mirrored")
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if uri and (why := why_useless(uri)):
        text, _, advice = why.partition("; ")
        return Check("mlflow", "warning", f"{display_uri(uri)} {text}", advice)
    if not uri.startswith(("http://", "https://")):
        where = display_uri(uri) or f"{out}/mlflow.db"
        return Check("mlflow", "ok", f"runs are mirrored to {where}")
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_S) as answer:  # noqa: S310 - http
            status = int(answer.status)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return Check(
            "mlflow",
            "warning",
            f"{display_uri(uri)} does not answer: {reason}",
            "a search goes on without it and catches up when it is back",
        )
    return Check("mlflow", "ok", f"{display_uri(uri)} answers ({status})")
