"""An OpenAI-compatible endpoint on this machine, whose answers depend on the question alone."""

from __future__ import annotations

import json
import math
import random
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "small-model"


def drawn(question, salt):
    """A legal configuration of the quick trainer that the question decides."""
    rng = random.Random(f"{salt}-{question}")
    return {
        "train.lr": math.exp(rng.uniform(math.log(1e-5), math.log(0.1))),
        "train.margin": rng.uniform(0.0, 2.0),
        "train.width": rng.randint(1, 1024),
    }


def answer_to(question):
    """What a willing model says, for any of the three algorithms."""
    if "Plan phases" in question:
        return {
            "phases": [
                {"name": "look around", "trials": 4, "method": "random"},
                {
                    "name": "rates",
                    "trials": 4,
                    "method": "tpe",
                    "focus": {"train.lr": [0.001, 0.05]},
                },
                {"name": "model", "trials": 3, "method": "bfbo"},
            ]
        }
    if "candidates" in question:
        found = [{"params": drawn(question, k), "hypothesis": f"idea {k}"} for k in range(3)]
        return {"candidates": found}
    return {"params": drawn(question, 0), "why": "it lies between the best two"}


class Endpoint:
    """Keeps every request; `reply` turns a question into an answer, or into bytes or a status."""

    def __init__(self, reply=answer_to):
        self.reply, self.requests = reply, []

    @contextmanager
    def running(self):
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                question = body["messages"][-1]["content"]
                endpoint.requests.append((self.path, dict(self.headers), body))
                said = endpoint.reply(question)
                status = said if isinstance(said, int) else 200
                if isinstance(said, dict):
                    text = "Certainly!\n```json\n" + json.dumps(said) + "\n```"
                    said = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(said if isinstance(said, bytes) else b"")

            def log_message(self, *_args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # It looks that often whether it should end.
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            server.server_close()
