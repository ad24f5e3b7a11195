"""`hpo ui`: what it refuses at once, and one page from start to Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib import request

import pytest

from hpo.cli.main import main
from hpo.run.create_run import create_run


@pytest.fixture
def out(tmp_path):
    """A run root with one run, and no MLflow data."""

    def fill(folder):
        (folder / "study.yaml").write_text("schema_version: 1\nname: shelf\n")
        (folder / "plan.json").write_text('{"study_uuid": "u"}')

    create_run(tmp_path / "runs", "shelf", fill)
    return tmp_path / "runs"


def ui(out, capsys, *words):
    code = main(["ui", "--out", str(out), *words])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return code, lines[0]


def test_a_public_address_needs_consent(out, capsys):
    code, line = ui(out, capsys, "--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert code == 2
    assert "no password" in line
    assert "--yes-expose" in line


@pytest.mark.parametrize(
    ("switch", "why"),
    [("on", "a search writes them once it has begun"), ("no", "HPO_MLFLOW keeps searches from")],
)
def test_a_root_without_mlflow_data_is_told(out, capsys, monkeypatch, switch, why):
    monkeypatch.setenv("HPO_MLFLOW", switch)
    code, line = ui(out, capsys)
    assert code == 2
    assert f"{out}/mlflow.db: no MLflow data yet; {why}" in line


def test_a_taken_port_is_told(out, capsys):
    (out / "mlflow.db").touch()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, line = ui(out, capsys, "--port", str(port))
    assert code == 2
    assert f"127.0.0.1 port {port}: Address already in use" in line


def test_an_unknown_run_is_told(out, capsys):
    code, line = ui(out, capsys, "nowhere")
    assert code == 2
    assert "no run 'nowhere'" in line


def test_a_server_that_is_away_is_told_without_its_password(out, capsys, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
        code, line = ui(out, capsys)
        for flag in ("--port=0", "--host=localhost", "--yes-expose"):
            said = f"{flag.partition('=')[0]}: not used, as MLFLOW_TRACKING_URI names"
            assert said in ui(out, capsys, flag)[1]
    assert code == 2
    assert f"MLflow at http://127.0.0.1:{port} does not answer" in line
    assert "secret" not in line


@pytest.mark.slow
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP] * 2])
def test_a_page_from_start_to_its_end(signals, tmp_path, sighup_as_in_a_terminal):
    from tests.hpo.tracking.scripted import Script

    script = Script(tmp_path / "runs").open()
    script.start(0, lr=0.1)
    script.epochs(0, 0.5, 0.6, 0.7)
    script.end(0)
    script.close()
    command = [sys.executable, "-m", "hpo.cli.main", "ui", "shelf", "--json"]
    page = subprocess.Popen(
        [*command, "--out", str(tmp_path / "runs"), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    links = json.loads(page.stdout.readline())
    assert list(links) == ["trials", "charts", "search"]
    base = links["trials"].split("/#")[0]
    with request.urlopen(base, timeout=60) as answer:  # noqa: S310 - our own server
        assert "MLflow" in answer.read().decode()
    workers = _group_of(page.pid)
    for number in signals:
        page.send_signal(number)
    out, err = page.communicate(timeout=60)
    assert (page.returncode, out, err) == (0, "", "")
    assert workers
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def _group_of(parent):
    """The server that `parent` has started, and its workers."""
    servers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    processes = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    found = []
    for pid in processes:
        try:
            if str(os.getpgid(pid)) in servers:
                found.append(pid)
        except ProcessLookupError:
            continue
    return found


def test_an_address_that_cannot_work_is_told(out, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///srv/mlruns")
    code, line = ui(out, capsys)
    assert code == 2
    assert "MLflow at file:///srv/mlruns: names a folder" in line
    assert "set MLFLOW_TRACKING_URI" in line
