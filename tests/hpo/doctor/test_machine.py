"""Checks of the machine against what this process can see for itself, and against servers made here."""

import http.server
import os
import resource
import stat
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from hpo.doctor import machine
from tests.quick_trainer import TRAINER


def named(checks, name):
    return next(check for check in checks if check.name == name)


def test_packages_are_those_that_are_installed():
    check = machine._packages()
    assert check.status == "ok"
    assert f"optuna {version('optuna')}" in check.text


def test_a_missing_package_is_an_error_with_the_way_out(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("optuna", "no-such-package"))
    check = machine._packages()
    assert (check.status, check.text) == ("error", "not installed: no-such-package")
    assert "pip install" in check.advice


def fake_smi(folder, *lines):
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_gpus_are_judged_by_their_memory(tmp_path, monkeypatch):
    fake_smi(
        tmp_path,
        "NVIDIA H200, 570.1, 143771, 143000",
        "NVIDIA T4, 570.1, 15360, 15000",
        "NVIDIA A100, 570.1, 81920, 4000",
        "NVIDIA GB10, 580.1, [N/A], [N/A]",
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    checks = machine._gpus()
    assert [check.status for check in checks] == ["ok", "warning", "warning", "ok"]
    assert "under 16 GB" in checks[1].advice
    assert "another process" in checks[2].advice
    assert checks[0].text == "0: NVIDIA H200, driver 570.1, 143000 of 143771 MiB free"


def test_no_gpu_is_no_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [check.status for check in machine._gpus()] == ["info"]


def test_open_files_are_counted():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    check = machine._open_files()
    assert check.text.startswith(str(soft))
    assert check.status == ("ok" if soft >= machine.LEAST_FILES else "warning")


def test_a_broken_torch_is_told_in_its_own_words(monkeypatch):
    monkeypatch.setattr(machine, "_TORCH", "raise ImportError('libcudart.so.13: not found')")
    check = machine._torch()
    assert check.status == "error"
    assert check.text == "cannot be used: ImportError: libcudart.so.13: not found"


@pytest.fixture
def mlflow_server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_tracking_server_is_asked(mlflow_server, monkeypatch, tmp_path):
    monkeypatch.delenv("HPO_MLFLOW", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert machine._mlflow(tmp_path).status == "ok"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    check = machine._mlflow(tmp_path)
    assert check.status == "warning"
    assert "does not answer" in check.text
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert str(tmp_path) in machine._mlflow(tmp_path).text


@pytest.mark.parametrize("word", ["off", "0"])
def test_mlflow_that_is_switched_off_is_said_to_be_so(monkeypatch, tmp_path, word):
    for uri in ("", "http://127.0.0.1:9", "gopher://x"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("HPO_MLFLOW", word)
        check = machine._mlflow(tmp_path)
        assert check.status == "info"
        assert check.text == "switched off by HPO_MLFLOW: runs are not mirrored"
    monkeypatch.setenv("HPO_MLFLOW", "on")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert machine._mlflow(tmp_path).text == "not installed: runs are not mirrored"


def test_every_check_has_its_say(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_TORCH", 'print(\'{"cuda": false, "built_for": null}\')')
    checks = list(machine.examine_machine(tmp_path, TRAINER))
    names = [check.name for check in checks]
    assert names[:2] == ["python", "packages"]
    assert {"gpu", "torch", "memory", "runs", "cache", "temporary"} <= set(names)
    assert {"shared", "files", "mlflow"} <= set(names)
    assert named(checks, "torch").text == "runs on CPU (built without CUDA, no device to use)"
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in named(checks, "python").text
    assert all(check.advice for check in checks if check.status in ("warning", "error"))
    assert Path(tmp_path).exists()
