"""The web server: ports, the way it is started, and one that runs."""

import json
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib import parse, request
from urllib.error import HTTPError

import pytest

from hpo.core.errors import HpoError
from hpo.core.yaml_io import to_yaml
from hpo.run.run_dir import RunDir
from hpo.tracking import server
from hpo.tracking.store import connect
from tests.hpo.tracking.scripted import UUID


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_one_line(taken):
    with pytest.raises(HpoError, match=rf"127.0.0.1 port {taken}: Address already in use; choose"):
        server.choose_port("127.0.0.1", taken)


def test_a_number_that_is_no_port_is_one_line():
    with pytest.raises(HpoError, match="port 70000: a port is a number from 0 to 65535"):
        server.choose_port("127.0.0.1", 70000)


def test_without_a_wish_a_free_port_is_found(taken, monkeypatch):
    monkeypatch.setattr(server, "DEFAULT_PORT", taken)
    assert server.choose_port("127.0.0.1", None) not in (0, taken)


def test_links_open_on_this_machine():
    assert server.base_url("0.0.0.0", 80) == "http://127.0.0.1:80"  # noqa: S104 - only compared
    assert server.base_url("::1", 80) == "http://[::1]:80"


def test_nobody_at_an_address_is_one_line(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(HpoError, match=r"does not answer: .*Connection refused"):
            server.find_links(base, a_run(tmp_path / "shelf" / "now"))


def a_run(folder, name="shelf"):
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(to_yaml({"schema_version": 1, "name": name}))
    (folder / "plan.json").write_text(json.dumps({"study_uuid": UUID}))
    return RunDir(folder)


@pytest.mark.parametrize(
    ("name", "at"),
    [("shelf", "127.0.0.1"), ("it's", "127.0.0.2"), ("a&b=c #5", "mlflow.invalid")],
)
def test_a_run_is_asked_for_by_what_it_says_of_itself(tmp_path, monkeypatch, name, at):
    """By the names that the mirror has written, whatever the folders are called.

    Another machine is asked by way of the proxy that the environment names, this one is not.
    """
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(parse.parse_qs(parse.urlsplit(self.path).query)["experiment_name"])
            self.answer({"experiment": {"experiment_id": "7"}})

        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["filter"])
            self.answer({"runs": [{"info": {"run_id": "r1"}, "data": {}}]})

        def answer(self, data):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(data).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("0.0.0.0", 0), Answers) as mlflow:  # noqa: S104 - for a moment
        threading.Thread(target=mlflow.serve_forever, args=(0.01,), daemon=True).start()
        for variable in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        port = mlflow.server_port if at == "mlflow.invalid" else 9
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        base = f"http://{at}:{mlflow.server_port}"
        links = server.find_links(base, a_run(tmp_path / "proj" / "ws", name))
        mlflow.shutdown()
    assert asked == [[name], f"tags.`hpo.study_uuid` = '{UUID}' and tags.`hpo.role` = 'study'"]
    assert UUID in links["charts"]
    assert "/experiments/7/runs/r1?" in links["search"]


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why():
    uri = "nowhere://mlflow"
    port = server.choose_port("127.0.0.1", 0)
    with (
        pytest.raises(HpoError, match="MLflow's server has ended with code"),
        server.running_server(uri, "127.0.0.1", port),
    ):
        pass


@pytest.mark.slow
def test_a_search_survives_its_server(script, caplog, tmp_path):
    port = server.choose_port("127.0.0.1", 0)
    base = server.base_url("127.0.0.1", port)
    with server.running_server(script.uri, "127.0.0.1", port):
        assert server.find_links(base, script.run) == {"trials": base}
        script.open(base)
        script.start(0, lr=0.1)
        script.epochs(0, 0.5)
        _await(lambda: "search" in server.find_links(base, script.run))
        links = server.find_links(base, script.run)
        assert f"viewStateShareKey=hpo-{UUID}" in links["charts"]
        moved = shutil.copytree(script.run.path, tmp_path / "proj" / "ws")
        assert server.find_links(base, RunDir(moved)) == links
        for host, code in (
            ("evil.example.org", 403),
            ("10.1.2.3", 403),
            (f"localhost:{port}", 200),
        ):
            assert _status(f"{base}/api/2.0/mlflow/experiments/get?experiment_id=0", host) == code
    script.epochs(0, 0.6, 0.7)  # nobody answers
    script.end(0)
    script.start(1, lr=0.2)
    _await(lambda: "cannot be written" in caplog.text)
    with server.running_server(script.uri, "127.0.0.1", port):
        script.epochs(1, 0.4, 0.5, 0.6)
        script.end(1)
        script.close()
    client = connect(script.uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "shelf"]
    runs = client.search_runs([experiment.experiment_id], "tags.`hpo.role` = 'trial'")
    assert sorted(run.info.run_name for run in runs) == ["trial-0000", "trial-0001"]
    for run in runs:
        assert run.info.status == "FINISHED"
        points = client.get_metric_history(run.info.run_id, "val_precision_at_1")
        assert sorted(p.step for p in points) == [1, 2, 3]
    assert "is incomplete" not in caplog.text


def _status(url, host):
    question = request.Request(url, headers={"Host": host})  # noqa: S310 - our own server
    try:
        with request.urlopen(question, timeout=60) as answer:  # noqa: S310 - as above
            return answer.status
    except HTTPError as problem:
        with problem:
            return problem.code


def _await(condition, seconds=90.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("it has not happened")


@pytest.mark.parametrize("has_home", [True, False])
def test_the_server_of_a_user_without_a_home_is_given_one(monkeypatch, tmp_path, has_home):
    """Without one MLflow cannot be imported."""
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    monkeypatch.delenv("HOME")
    if has_home:
        monkeypatch.setenv("HOME", str(tmp_path))
    wanted = str(tmp_path) if has_home else "/nonexistent"
    assert server._environment("sqlite:///m.db")["HOME"] == wanted


def test_the_password_of_a_data_base_is_no_word_of_a_command():
    """Everybody on the machine sees those."""
    address = "postgresql://bob:secret@db/mlflow"
    assert server._environment(address)["MLFLOW_BACKEND_STORE_URI"] == address
    assert "sql" not in " ".join(server._command("127.0.0.1", 5000, "/x"))


def test_a_store_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 200)
    with (
        pytest.raises(HpoError, match=r"^MLflow: .*mlflow\.db: file is not a database$"),
        server.running_server(f"sqlite:///{tmp_path}/mlflow.db", "127.0.0.1", 0),
    ):
        pass
