"""Addresses of stores, and creating one."""

import subprocess
import sys
from pathlib import Path

import pytest

from hpo.tracking import default_tracking_uri
from hpo.tracking.store import connect, ensure_experiment, local_database, reason, shown


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
    assert shown("https://me:secret@mlflow:5000/x") == "https://mlflow:5000/x"
    assert shown("sqlite:////srv/mlflow.db") == "sqlite:////srv/mlflow.db"


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


def test_an_experiment_comes_back_from_the_trash(out):
    uri = f"sqlite:///{out / 'mlflow.db'}"
    client = connect(uri)
    first = ensure_experiment(client, uri, "shelf")
    client.delete_experiment(first)
    assert ensure_experiment(client, uri, "shelf") == first
    assert client.get_experiment(first).lifecycle_stage == "active"


@pytest.mark.slow
def test_processes_that_create_a_store_at_once_all_succeed(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    code = f"from hpo.tracking.store import connect; connect({uri!r}).search_experiments()"
    several = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [one.wait() for one in several] == [0, 0, 0]
