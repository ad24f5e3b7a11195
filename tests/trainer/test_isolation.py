import ast
import gc
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer.errors import DeviceMemoryError, SpecError
from trainer.isolation import (
    cudnn_switches,
    memory_errors_named,
    plain_interrupts,
    quiet_lightning,
    released,
    seeded,
    without_nvml,
)
from trainer.spec import parse_spec

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


def test_every_seed_that_a_spec_takes_is_one_for_torch():
    with pytest.raises(SpecError, match=r"train\.seed: must be .*got 9223372036854775808$"):
        parse_spec({"train.seed": 2**63}, "train", is_complete=False)
    spec = parse_spec({"train.seed": 2**63 - 1}, "train", is_complete=False)
    with seeded(spec.train.seed, CPU):
        assert torch.initial_seed() == spec.train.seed


def test_a_seed_holds_inside_only():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with seeded(1, CPU):
        first = torch.rand(2)
    with seeded(1, CPU):
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.rand(3), expected)


def test_switches_are_put_back():
    before = (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)
    with cudnn_switches(benchmark=not before[0], deterministic=not before[1]):
        inside = (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)
        assert inside == (not before[0], not before[1])
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == before


@pytest.mark.parametrize("before", ["1", None])
def test_a_step_on_a_cpu_does_not_ask_nvml(monkeypatch, before):
    switch = "PYTORCH_NVML_BASED_CUDA_CHECK"
    monkeypatch.delenv(switch, raising=False)
    if before is not None:
        monkeypatch.setenv(switch, before)
    with without_nvml(CPU):
        assert not torch.cuda._nvml_based_avail()
    assert os.environ.get(switch) == before
    with without_nvml(torch.device("cuda", 0)):
        assert os.environ.get(switch) == before


def test_lightning_is_quiet_inside_only():
    logger = logging.getLogger("pytorch_lightning")
    logger.setLevel(logging.INFO)
    with quiet_lightning():
        assert not logger.isEnabledFor(logging.INFO)
    assert logger.level == logging.INFO


def test_an_interrupt_stays_one_and_the_signal_is_heard_again():
    handler = signal.getsignal(signal.SIGINT)

    def interrupted():
        raise KeyboardInterrupt

    def like_lightning():
        try:
            interrupted()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise SystemExit(1) from None

    with pytest.raises(KeyboardInterrupt), plain_interrupts():
        like_lightning()
    assert signal.getsignal(signal.SIGINT) is handler
    with pytest.raises(SystemExit), plain_interrupts():
        raise SystemExit(3)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_lack_of_memory_gets_its_kind_and_one_line(error):
    named = memory_errors_named("train.batch_size 64")
    one_line = r"^train\.batch_size 64: not enough"
    with pytest.raises(DeviceMemoryError, match=one_line) as caught, named:
        raise error
    assert caught.value.kind == "out_of_memory"
    assert "\n" not in str(caught.value)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), memory_errors_named("x"):
        raise RuntimeError("shapes do not match")


def test_collected_objects_are_handed_back_but_those_of_others():
    for before in (gc.unfreeze, gc.freeze):  # the second as `tests/conftest.py` leaves them
        before()
        was = gc.get_freeze_count()
        with released(CPU):
            assert gc.get_freeze_count() > 0
        assert (gc.get_freeze_count() > 0) == (was > 0)


def test_onnxruntime_keeps_no_reports_of_use(tmp_path):
    kept = {k: v for k, v in os.environ.items() if k not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    kept |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    # Whichever module of the package is first, the package itself is before it.
    script = "import trainer.onnx_model as m, onnxruntime as o; print(o.get_available_providers())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept, capture_output=True, text=True, check=True
    )
    assert "CPUExecutionProvider" in done.stdout
    assert not list(tmp_path.rglob("*onnxruntime*"))


def test_who_wants_them_sent_is_left_alone():
    script = "import os, trainer; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert found.stdout == "0\n"


def loaded_with(module):
    """Modules of the trainer, and packages, that a module's top level imports."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            own = [
                name
                for name in names
                if ROOT.joinpath(*name.split(".")).with_suffix(".py").is_file()
            ]
            yield from own or [node.module]


@pytest.mark.parametrize("action", ["evaluate", "inference", "export", "explain", "engine"])
def test_what_follows_training_does_not_load_lightning_which_takes_seconds(action):
    seen, open_ = set(), [f"trainer.actions.{action}"]
    while open_:
        if (module := open_.pop()) not in seen:
            seen.add(module)
            open_ += loaded_with(module) if module.partition(".")[0] == "trainer" else ()
    assert {"torch", "trainer.encoders"} <= seen
    assert not {name.partition(".")[0] for name in seen} & {"pytorch_lightning", "lightning_fabric"}
