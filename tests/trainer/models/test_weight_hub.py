"""Fetching by URL from a server on this machine; hosts that never answer."""

import hashlib
import http.server
import threading
import time

import pytest

from trainer.errors import CheckpointError
from trainer.models import weight_hub
from trainer.models.weight_hub import fetch_first, fetch_url

CONTENT = b"weights " * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The address of a server that has CONTENT under every name but `missing`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            self.send_response(404 if "missing" in self.path else 200)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_fetched_once_and_checked(served, tmp_path):
    name = f"model-{DIGEST[:8]}.pth"
    left = tmp_path / "torch" / "hub" / "checkpoints" / f".{name}.7.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of one that was killed")
    path = fetch_url(f"{served}/{name}", "here://x", lambda: "nothing")
    assert not left.exists()
    assert path == tmp_path / "torch" / "hub" / "checkpoints" / name
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"kept")
    assert fetch_url(f"{served}/{name}", "here://x", lambda: "nothing").read_bytes() == b"kept"


def test_a_damaged_file_is_not_kept(served, tmp_path):
    with pytest.raises(
        CheckpointError, match=f"must begin with 0123abcd, and begins with {DIGEST[:8]}"
    ):
        fetch_url(f"{served}/model-0123abcd.pth", "here://x", lambda: "nothing")
    left = (tmp_path / "torch" / "hub" / "checkpoints").iterdir()
    assert [file.name for file in left] == [".model-0123abcd.pth.lock"]


def test_a_missing_file_is_one_line(served):
    with pytest.raises(CheckpointError, match=r"here://x could not be fetched: HTTP Error 404"):
        fetch_url(f"{served}/missing.pth", "here://x", lambda: "nothing")


def test_a_host_that_takes_calls_and_never_answers_is_given_up_soon(monkeypatch, tmp_path):
    import socket

    from huggingface_hub import constants

    monkeypatch.setattr(weight_hub, "_PATIENCE_S", 0.2)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(CheckpointError, match=f"{host} does not answer.*at hand .a, b."):
            fetch_url(f"http://{host}/x.pth", "here://x", lambda: "a, b")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://{host}")
        with pytest.raises(CheckpointError, match=f"{host} does not answer"):
            fetch_first("a/b", ("model.safetensors",), "hf-hub:a/b", lambda: "nothing")
        assert time.monotonic() - began < 5
