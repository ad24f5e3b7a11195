"""Servers of a finished run whose model is the mean colour of a picture."""

import io
import socket
import threading
import time

import numpy as np
import pytest
import requests
from PIL import Image

from trainer.unknowns import Queries

WEB = requests.Session()
TOKEN = "a-token-of-the-tests"


def picture(color, size=16, kind="PNG"):
    """The bytes of a plain picture."""
    Image.new("RGB", (size, size), color).save(data := io.BytesIO(), kind)
    return data.getvalue()


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
def calibrated(run):
    """The run's gallery holds eight dark hues, each with queries next to it; returns the hues."""
    hues = [(200, 10, 10), (200, 100, 0), (180, 180, 0), (60, 200, 0), (0, 200, 120), (0, 130, 200),
            (30, 10, 200), (180, 0, 180)]  # fmt: skip
    names = [f"hue{number}" for number in range(len(hues))]
    gallery = {
        "format": 1,
        "embeddings": np.array(hues, dtype=np.float32),
        "labels": np.arange(len(hues)),
        "class_names": np.array(names),
        "paths": np.array([f"{name}/0.png" for name in names]),
    }
    queries = [[channel + more for channel in hue] for hue in hues for more in (2, 4, 6)]
    emb = np.array(queries, dtype=np.float32)
    known = Queries.of(emb, [name for name in names for _ in range(3)], trained=[])
    np.savez(run.best_dir / "gallery.npz", **gallery, **known.arrays())
    return gallery["embeddings"]


@pytest.fixture
def with_token():
    """A session that brings the token."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    return session
