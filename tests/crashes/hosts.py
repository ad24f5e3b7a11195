"""Processes that hold what many cells share: a living Ray, or a server of MLflow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import traceback


def in_child(work):
    """Yield the plain objects that `work(tell)` tells, from a child process of its own."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "w", buffering=1) as stream:
                work(lambda told: print(json.dumps(told), file=stream, flush=True))
            code = 0
        except BaseException:  # noqa: BLE001 - told on stderr and by the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as stream:
        for line in stream:
            yield json.loads(line)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        raise RuntimeError(f"the child that ran these cells has ended with {code}")


# Ray -------------------------------------------------------------------------------------------


class KeptRay:
    """One Ray for all searches of this process: made by the first, closed at the end."""

    def __init__(self):
        self.executor = None

    def install(self):
        from hpo.executors.ray_owner import OURS
        from hpo.searching.session import Session

        make = Session.make_executor

        def make_kept(session):
            if self.executor is None:
                self.executor = make(session)
                OURS.free = lambda _address: True  # a search beside this Ray would be refused
            return Unclosed(self.executor)

        Session.make_executor = make_kept

    def close(self):
        if self.executor is not None:
            self.executor.close()


class Unclosed:
    def __init__(self, executor):
        self._executor = executor

    def __getattr__(self, name):
        return getattr(self._executor, name)

    def close(self):
        pass


# MLflow ----------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Forwarder:
    """The only way to a server: a process that passes bytes on until it is killed."""

    def __init__(self, target):
        self.port, self.target, self.pid = free_port(), target, 0

    def start(self, out):
        """Open the way, and say in `out` whom to kill to close it."""
        self.stop()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                asyncio.run(_forward(self.port, self.target))
            finally:
                os._exit(0)
        (out / "forwarder.pid").write_text(str(self.pid))
        _await_port(self.port)

    def stop(self):
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


async def _forward(port, target):
    async def connect(reader, writer):
        upstream = await asyncio.open_connection("127.0.0.1", target)
        # The server answers to its own name alone.
        names = (f"127.0.0.1:{port}".encode(), f"127.0.0.1:{target}".encode())
        await asyncio.gather(_pump(reader, upstream[1], names), _pump(upstream[0], writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    await server.serve_forever()


async def _pump(reader, writer, names=(b"", b"")):
    try:
        while data := await reader.read(65536):
            writer.write(data.replace(*names) if names[0] else data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def _await_port(port):
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return

        time.sleep(0.01)
    raise AssertionError(f"nobody listens on {port}")


def wrong_in_mlflow(uri, name, trials):
    """What is wrong with MLflow's copy of a study: each trial once, with its end."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = [e.experiment_id for e in client.search_experiments() if e.name == name]
    runs = client.search_runs(found, "tags.`hpo.role` = 'trial'", max_results=1000)
    numbers = sorted(int(run.data.tags["hpo.trial"]) for run in runs)
    wrong = [] if numbers == [row[0] for row in trials] else [f"MLflow holds trials {numbers}"]
    words = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
    states = {int(run.data.tags["hpo.trial"]): run.info.status for run in runs}
    for row in trials:
        if states.get(row[0]) != words[row[1]]:
            wrong.append(f"trial {row[0]} is {states.get(row[0])} in MLflow and {row[1]} here")
    return wrong
