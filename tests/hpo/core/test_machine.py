import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpo.core import control_groups
from hpo.core.machine import bound_threads, count_cpus, count_gpus, free_memory_mib

TOOLS = Path(__file__).parents[2] / "fake_tools"


def test_cores_are_no_more_than_the_process_may_use():
    assert 1 <= count_cpus() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "given", "told", "torchs"),
    [("300000", None, "3", 3), ("300000", "7", "7", 48), ("max", None, None, 48)],
)
def test_a_quota_bounds_the_threads_of_libraries(monkeypatch, tmp_path, quota, given, told, torchs):
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    monkeypatch.setattr(control_groups, "ROOT", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    monkeypatch.setenv("OMP_NUM_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    seen = [48]
    torch = SimpleNamespace(get_num_threads=lambda: seen[-1], set_num_threads=seen.append)
    monkeypatch.setitem(sys.modules, "torch", torch)
    bound_threads()
    assert (os.environ.get("OMP_NUM_THREADS"), seen[-1]) == (told, torchs)


def test_what_only_linux_has_is_not_needed_to_begin():
    """macOS has no such error number, affinity or allocation."""
    lacking = (
        "import errno, os\n"
        "del errno.EREMOTEIO, os.sched_getaffinity, os.posix_fallocate\n"
        "import hpo.run.disk_errors, trainer.machine_faults\n"
        "from hpo.core.machine import count_cpus\n"
        "from trainer.cores import usable_cores\n"
        "print(0 < count_cpus() <= os.cpu_count(), 0 < usable_cores() <= os.cpu_count())\n"
    )
    command = [sys.executable, "-c", lacking]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True True\n", "")


@pytest.mark.parametrize(
    ("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,2", 2), ("0, ", 1)]
)
def test_visible_devices_are_counted(monkeypatch, visible, count):
    monkeypatch.setenv("PATH", f"{TOOLS}:/bin:/usr/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == count


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="there is a GPU here")
def test_a_variable_makes_no_gpu_where_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert count_gpus() == 0


def fake_tool(folder, body):
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("echo 'GPU 0: H200 (UUID: x)'; echo '  MIG 1g'; echo 'GPU 1: H200 (UUID: y)'", 2),
        ("echo 'No devices were found'; exit 6", 0),
    ],
)
def test_the_driver_is_asked_where_nothing_is_set(monkeypatch, tmp_path, body, count):
    fake_tool(tmp_path, body)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert count_gpus() == count


def test_no_driver_no_gpu(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert count_gpus() == 0


def test_free_memory_is_below_the_total():
    if not Path("/proc/meminfo").exists():
        assert free_memory_mib() is None
        return
    total = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) // 1024
    assert 0 < free_memory_mib() <= total
