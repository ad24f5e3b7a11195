"""A finished run whose model is the mean colour of a picture, and its server."""

import io
import shutil
import socket
import threading
import time

import numpy as np
import pytest
import requests
from PIL import Image

from hpo.core.budget import parse_budget
from hpo.searching.session import SearchSettings, start_search
from tests.hpo.tracking.test_registry import COLORS, write_model
from tests.quick_runs import quick_study

WEB = requests.Session()
TOKEN = "a-token-of-the-tests"


def picture(color, size=16, kind="PNG"):
    """The bytes of a plain picture."""
    Image.new("RGB", (size, size), color).save(data := io.BytesIO(), kind)
    return data.getvalue()


@pytest.fixture
def run(tmp_path):
    """A finished run, its export replaced by a model that the real trainer can use."""
    study = quick_study(budget=parse_budget("1"))
    run = start_search(study, tmp_path / "runs", SearchSettings(executor="inprocess")).run
    shutil.rmtree(run.best_dir)
    write_model(run.best_dir)
    with np.load(run.best_dir / "gallery.npz") as arrays:
        kept = dict(arrays)
    kept |= {"format": 1, "paths": [f"{name}/0.png" for name in COLORS]}
    np.savez(run.best_dir / "gallery.npz", **kept)
    text = run.study_file.read_text().replace("tests.quick_trainer:TRAINER", "ml_recog")
    run.study_file.write_text(text)
    return run


@pytest.fixture
def serve(run):
    """Start a server of the run with some settings; returns its address."""
    import uvicorn

    from hpo.serving.app import ServerSettings, build_app
    from hpo.serving.service import PictureService

    started = []

    def start(unknown_at=None, **settings):
        listener = socket.create_server(("127.0.0.1", 0))
        app = build_app(PictureService(run, unknown_at), ServerSettings(token=TOKEN, **settings))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        started.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread in started:
        server.should_exit = True
        thread.join()


@pytest.fixture
def with_token():
    """A session that brings the token."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    return session
