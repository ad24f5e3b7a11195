"""Starts MLflow's web server on a local store, and builds links into its pages."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import IO, Any
from urllib import error, parse, request

from hpo.core.errors import HpoError
from hpo.core.process import children
from hpo.run.plain_files import read_object
from hpo.run.run_dir import PLAN_FILE, RunDir
from hpo.study.spec import load_study
from hpo.tracking import rows
from hpo.tracking.lost_searches import end_lost_searches
from hpo.tracking.moved_store import follow_database
from hpo.tracking.store import CLIENT_SETTINGS, home_setting, local_database
from hpo.tracking.view import comparison_path, experiment_path, run_path, table_path

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
DEFAULT_PORT = 5000
_NOT_FOUND = 404
_START_SECONDS = 180.0
"""A cold start of MLflow's server takes most of a minute on a busy machine."""
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.2


def choose_port(host: str, wanted: int | None) -> int:
    """The wanted port; without a wish `DEFAULT_PORT`, or any free one when that is taken.

    Raises:
        HpoError: when the wanted port cannot be had.
    """
    reason = ""
    for port in (wanted,) if wanted is not None else (DEFAULT_PORT, 0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OverflowError:
                reason = "a port is a number from 0 to 65535"
            except OSError as problem:
                reason = problem.strerror or str(problem)
            else:
                return int(probe.getsockname()[1])
    raise HpoError(f"{host} port {wanted}: {reason}; choose another --port or leave it out")


@contextlib.contextmanager
def running_server(tracking_uri: str, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server while the block lasts; when the block begins, it answers.

    Raises:
        HpoError: when it does not come up, with the last line it said.
    """
    if (database := local_database(tracking_uri)) is not None and database.is_file():
        try:
            follow_database(database)
            end_lost_searches(database)
        except OSError as problem:
            raise HpoError(f"MLflow: {problem}") from problem
    with tempfile.TemporaryDirectory() as empty:
        server = subprocess.Popen(
            _command(host, port, empty),
            env=_environment(tracking_uri),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Its own group: Ctrl-C reaches us alone, and its workers end with it.
            start_new_session=True,
        )
        # A line for each request comes: it is read, and none but the last is kept.
        said: deque[bytes] = deque(maxlen=1)
        reader = threading.Thread(target=_read, args=(server.stdout, said), daemon=True)
        reader.start()
        try:
            _await_answer(server, base_url(host, port), reader, said)
            yield server
        finally:
            _end(server)


def base_url(host: str, port: int) -> str:
    """The address to open on this machine."""
    if host == "0.0.0.0":  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def find_links(base: str, run: RunDir) -> dict[str, str]:
    """Links for one run: `trials` (table), `charts` (comparison) and `search` (the parent run).

    Before the search has written anything, or where the server wants a password, there is `trials`
    alone: the page itself.

    Raises:
        HpoError: when nobody answers at `base`.
    """
    try:
        return _find_links(base, run)
    except error.HTTPError as problem:
        with problem:
            is_another = problem.code == _NOT_FOUND and b"error_code" not in problem.read()
        if is_another:
            raise _not_mlflow(base) from problem
        return {"trials": base}
    except (http.client.HTTPException, TypeError, KeyError, ValueError) as problem:
        raise _not_mlflow(base) from problem
    except OSError as problem:
        reason = getattr(problem, "reason", problem)
        raise HpoError(f"MLflow at {base} does not answer: {reason}") from problem


def _not_mlflow(base: str) -> HpoError:
    return HpoError(
        f"{base}: must be the address of an MLflow server, and what answers there is not one; "
        "set MLFLOW_TRACKING_URI"
    )


def _find_links(base: str, run: RunDir) -> dict[str, str]:
    api = f"{base}/api/2.0/mlflow"
    # By what the run says of itself, as the mirror writes it: its folder may be called otherwise.
    name = load_study(run.study_file).name
    uuid = str(read_object(run.path / PLAN_FILE).get("study_uuid", ""))
    found = _ask(f"{api}/experiments/get-by-name?experiment_name={parse.quote(name, safe='')}")
    experiment_id = found["experiment"]["experiment_id"]
    asked = rows.query(uuid, rows.STUDY_ROLE)
    body = {"experiment_ids": [experiment_id], "filter": asked, "max_results": 1}
    parents = _ask(f"{api}/runs/search", body).get("runs", [])
    if not parents:
        return {"trials": base + experiment_path(experiment_id)}
    return {
        "trials": base + table_path(experiment_id, uuid),
        "charts": base + comparison_path(experiment_id, uuid),
        "search": base + run_path(experiment_id, parents[0]["info"]["run_id"]),
    }


def _command(host: str, port: int, empty: str) -> list[str]:
    words = children.bound("mlflow", "server")
    # Uvicorn imports from the working directory first, unless it is told another folder.
    given = os.environ.get("MLFLOW_UVICORN_OPTS", "")
    words += ["--uvicorn-opts", f"{given} --app-dir {shlex.quote(empty)}".strip()]
    words += ["--host", host, "--port", str(port), "--workers", "1", "--no-serve-artifacts"]
    if host in LOCAL_HOSTS:
        # By itself MLflow answers to private addresses too, which a foreign page could abuse.
        names = [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
        words += ["--allowed-hosts", ",".join(names)]
        words += ["--cors-allowed-origins", ",".join(f"http://{name}" for name in names)]
    return words


def _environment(tracking_uri: str) -> dict[str, str]:
    """Settings of the server: the page and nothing else, and no word to anybody outside.

    The address of its data base is among them, as it may hold a password: everybody on the machine
    sees the words of a command.
    """
    return {
        **children.environment(),
        **home_setting(),
        "MLFLOW_BACKEND_STORE_URI": tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": CLIENT_SETTINGS["MLFLOW_DISABLE_TELEMETRY"],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _read(output: IO[bytes], said: deque[bytes]) -> None:
    with output:
        said.extend(line for line in output if line.strip())


def _await_answer(
    server: subprocess.Popen[bytes], base: str, reader: threading.Thread, said: deque[bytes]
) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            reader.join(_STOP_SECONDS)
            last = said[-1].decode(errors="replace").strip() if said else "it said nothing"
            raise HpoError(f"MLflow's server has ended with code {server.returncode}: {last}")
        with contextlib.suppress(OSError):
            _ask(f"{base}/health", timeout=2.0)
            return
        time.sleep(_POLL_SECONDS)
    raise HpoError(f"MLflow's server has not answered within {_START_SECONDS:.0f} s at {base}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server's whole process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _ask(url: str, body: dict[str, Any] | None = None, timeout: float = 30.0) -> Any:
    """GET, or POST when there is a body; JSON where that comes back, else text."""
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json"}
    question = request.Request(url, data, head)  # noqa: S310 - http(s), checked by the caller
    # What the environment names as a proxy does not know this machine's own servers.
    direct = [request.ProxyHandler({})] if _is_here(parse.urlsplit(url).hostname or "") else []
    with request.build_opener(*direct).open(question, timeout=timeout) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else text


def _is_here(host: str) -> bool:
    """Whether a host is this machine: by its usual names, or an address that it has."""
    if host in LOCAL_HOSTS:
        return True
    with contextlib.suppress(OSError, ValueError):
        is_new = ipaddress.ip_address(host).version == 6  # a name may take long to look up
        with socket.socket(socket.AF_INET6 if is_new else socket.AF_INET) as probe:
            probe.bind((host, 0))
            return True
    return False
