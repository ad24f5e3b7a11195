"""Addresses of stores, and creating one."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo.tracking.address import why_useless
from hpo.tracking.store import (
    connect,
    default_tracking_uri,
    display_uri,
    ensure_experiment,
    local_database,
    reason,
    remedy,
)
from tests.hpo.tracking.scripted import copy_store


def test_the_default_is_a_database_in_the_run_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri(Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"


def test_the_environment_names_another_server(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert default_tracking_uri(tmp_path) == "http://mlflow:5000"


def test_only_sqlite_addresses_have_a_local_database():
    assert local_database("sqlite:////srv/runs/mlflow.db") == Path("/srv/runs/mlflow.db")
    assert local_database("http://mlflow:5000") is None


def test_an_address_is_shown_without_its_password():
    assert display_uri("https://me:secret@mlflow:5000/x") == "https://mlflow:5000/x"
    assert display_uri("sqlite:////srv/mlflow.db") == "sqlite:////srv/mlflow.db"
    assert display_uri("http://me:secret@[::1") == "http://[::1"
    shown = display_uri("postgresql://db/m?user=me&Password=secret&sslpassword=secret&ssl=1")
    assert shown == "postgresql://db/m?user=me&Password=...&sslpassword=...&ssl=1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("... [Errno 111] Connection refused'))", "Connection refused"),
        (
            "API request to http://m:5/api failed with exception HTTPConnectionPool(host='m', port=5): "
            "Max retries exceeded (Caused by ProtocolError('Connection aborted.', "
            "ConnectionResetError(104, 'Connection reset by peer')))",
            "Connection reset by peer",
        ),
        ("HTTPConnectionPool(host='m', port=5): Read timed out. (read timeout=10)", "Read timed out"),
        ("INTERNAL: the table is gone", "INTERNAL: the table is gone"),
        (
            "(sqlite3.OperationalError) database or disk is full [SQL: INSERT INTO params VALUES (?)] "
            "[parameters: [('a', 1)]]",
            "(sqlite3.OperationalError) database or disk is full",
        ),
    ],
)  # fmt: skip
def test_a_request_that_failed_is_told_by_what_happened(text, words):
    assert reason(OSError(text)) == words


def test_an_experiment_keeps_artifacts_beside_the_database_and_is_found_again(out):
    uri = f"sqlite:///{out / 'mlflow.db'}"
    client = connect(uri)
    first = ensure_experiment(client, uri, "shelf")
    assert ensure_experiment(client, uri, "shelf") == first
    place = client.get_experiment(first).artifact_location
    assert place.removeprefix("file://") == str(out / ".mlflow" / "shelf")


@pytest.mark.parametrize("name", ["exp#1", "my%20runs", "what?", "a b", "{x}", "100%"])
def test_values_and_files_lie_wherever_the_runs_do(name, template, tmp_path):
    out = copy_store(template, tmp_path / "root" / name)
    uri = default_tracking_uri(out)
    client = connect(uri)
    run_id = client.create_run(ensure_experiment(client, uri, name)).info.run_id
    client.log_text(run_id, "said", "log.txt")
    assert connect(uri).get_experiment_by_name(name) is not None
    kept = out / ".mlflow" / name / run_id / "artifacts" / "log.txt"
    assert kept.read_text() == "said"
    got = client.download_artifacts(run_id, "log.txt", str(tmp_path))
    assert Path(got).read_text() == "said"
    assert list((tmp_path / "root").iterdir()) == [out]


def test_an_experiment_comes_back_from_the_trash(out):
    uri = f"sqlite:///{out / 'mlflow.db'}"
    client = connect(uri)
    first = ensure_experiment(client, uri, "shelf")
    client.delete_experiment(first)
    assert ensure_experiment(client, uri, "shelf") == first
    assert client.get_experiment(first).lifecycle_stage == "active"


@pytest.mark.slow
def test_processes_that_create_a_store_at_once_all_succeed(tmp_path):
    folder = tmp_path / "a%20b?c#d"
    uri = default_tracking_uri(folder)
    code = f"from hpo.tracking.store import connect; connect({uri!r}).search_experiments()"
    several = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [one.wait() for one in several] == [0, 0, 0]
    assert (folder / "mlflow.db").is_file()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_process_that_dies_while_it_creates_a_store_leaves_none(tmp_path):
    database = tmp_path / "mlflow.db"
    uri = f"sqlite:///{database}"
    code = f"from hpo.tracking.store import connect; connect({uri!r}).search_experiments()"
    dies = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not any(tmp_path.rglob("mlflow.db")) and time.monotonic() < deadline:
        time.sleep(0.01)
    dies.kill()
    dies.wait()
    assert not database.exists()
    assert why_useless(uri) == ""
    connect(uri).search_experiments()
    assert database.is_file()
    assert why_useless(uri) == ""
    assert [file.name for file in (tmp_path / ".mlflow").iterdir()] == [".lock"]


def test_a_long_reason_ends_with_a_sentence_or_a_word():
    sentences = "The store is away. " + "It says so at length. " * 20
    assert reason(OSError(sentences)).endswith("at length")
    assert len(reason(OSError(sentences))) <= 300
    assert reason(OSError("word " * 100)).endswith("word ...")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("API request to endpoint /x failed with error code 401 != 200", "MLFLOW_TRACKING_TOKEN"),
        (
            "API request to endpoint /x failed with error code 403 != 200",
            "MLFLOW_TRACKING_PASSWORD",
        ),
        ("API request to endpoint /x failed with error code 404 != 200", "MLFLOW_TRACKING_URI"),
        ("SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')", "MLFLOW_TRACKING_SERVER_CERT_PATH"),
        ("[Errno -2] Name or service not known", "the host in MLFLOW_TRACKING_URI"),
        ("[Errno 111] Connection refused", "start the server"),
        ("failed with error code 503 != 200", ""),
    ],
)
def test_what_waiting_does_not_help_has_a_remedy(text, words):
    assert words in remedy(OSError(text))
    assert bool(remedy(OSError(text))) is bool(words)


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_variable_names_no_server(tmp_path, monkeypatch, value):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    assert default_tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", " http://mlflow:5000 ")
    assert default_tracking_uri(tmp_path) == "http://mlflow:5000"
