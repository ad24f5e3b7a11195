"""Servers of a finished run whose model is the mean colour of a picture."""

import io
import socket
import threading
import time

import pytest
import requests
from PIL import Image

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
def with_token():
    """A session that brings the token."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    return session
