"""Addresses of MLflow that cannot work, and those that may: made here, judged without a server."""

import os
import shlex
import sqlite3

import pytest
import sqlalchemy

from hpo.tracking import address
from hpo.tracking.address import sqlite_path, sqlite_uri, why_useless
from tests.crashes.driver import on_disk


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("file:///srv/mlruns", "names a folder"),
        ("/srv/mlruns", "names a folder"),
        ("./mlruns", "names a folder"),
        ("http//host", "names a folder"),
        ("htp://host:5000", "'htp', which MLflow does not know; did you mean 'http'?"),
        ("ftp://host/x", "'ftp', which MLflow does not know"),
        ("s3://bucket/x", "'s3', which MLflow does not know"),
        ("localhost:5000", "set MLFLOW_TRACKING_URI=http://localhost:5000"),
        ("127.0.0.1:5000", "set MLFLOW_TRACKING_URI=http://127.0.0.1:5000"),
        ("http://", "names no host"),
        ("http://127.0.0.1:99999", "is not an address (Port out of range"),
        ("http://[::1", "is not an address (Invalid IPv6 URL)"),
        ("sqlite://", "is a database in memory"),
        ("sqlite:///:memory:", "is a database in memory"),
        ("sqlite://srv/mlflow.db", "must have three slashes"),
        ("sqlite:////proc/nowhere/mlflow.db", "cannot be written (No such file"),
        ("sqlite:////etc/passwd/x.db", "cannot be written (/etc/passwd is not a folder)"),
        ("sqlite:////etc/passwd", "is no SQLite database"),
        ("sqlite:////etc", "name a file in it, such as sqlite:////etc/mlflow.db"),
        ("postgresql+nodriver://u:p@host/db", "is not the address of a database"),
        ("databricks-uc", "holds no runs"),
        ("uc:x", "holds no runs"),
    ],
)
def test_what_cannot_work_is_told_with_what_to_set(uri, words):
    why = why_useless(uri)
    assert words in why
    assert "MLFLOW_TRACKING_URI" in why or "name a file" in why
    assert "\n" not in why


@pytest.mark.parametrize("module", ["psycopg2", "MySQLdb", "pyodbc"])
def test_a_driver_that_is_missing_is_named_by_its_package(module, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    uri = {
        "psycopg2": "postgresql+psycopg2://u:p@h/d", "MySQLdb": "mysql://u@h/d",
        "pyodbc": "mssql+pyodbc://u:p@h/d",
    }[module]  # fmt: skip
    package = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}.get(module, module)
    assert f"pip install '{package}'" in why_useless(uri)


@pytest.mark.parametrize(
    "uri", ["http://host", "https://me:pw@host:5000/x", "databricks", "databricks://profile"]
)
def test_what_may_work_is_left_to_be_tried(uri):
    assert why_useless(uri) == ""


def test_folders_are_left_to_those_who_have_allowed_them(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert why_useless("file:///srv/mlruns") == ""


def database(path, revision):
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE alembic_version (version_num TEXT)")
        base.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    base.close()
    return sqlite_uri(path)


ODD = ("plain", "exp#1", "my%20runs", "what?", "a b", "it's", "{x}", "100%", "me:pw@host")


@pytest.mark.parametrize("name", ODD)
def test_an_address_leads_to_the_file_that_it_was_made_of(name, tmp_path):
    file = tmp_path / "root" / name / "mlflow.db"
    file.parent.mkdir(parents=True)
    uri = sqlite_uri(file)
    assert sqlite_path(uri) == str(file)
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE songs (title TEXT)"))
    engine.dispose()
    assert list(file.parent.iterdir()) == [file]
    assert list((tmp_path / "root").iterdir()) == [file.parent]
    assert file.stat().st_size > 0


@pytest.mark.parametrize("name", ODD)
def test_databases_of_other_versions(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    known = address._revisions()
    (head,) = address._heads(known)
    assert why_useless(database(folder / "same.db", head)) == ""
    uri = database(folder / "old.db", known[head])
    _, command, _ = why_useless(uri).split("`")
    assert shlex.split(command) == ["mlflow", "db", "upgrade", uri]
    later = why_useless(database(folder / "new.db", "ffffffffffff"))
    assert later.startswith("is of a later MLflow than is installed")


def test_a_database_that_is_to_be_made_or_empty_is_fine(tmp_path):
    assert why_useless(f"sqlite:///{tmp_path}/new/mlflow.db") == ""
    (tmp_path / "empty.db").touch()
    assert why_useless(f"sqlite:///{tmp_path}/empty.db") == ""


def test_a_database_on_a_disk_for_reading_alone(tmp_path):
    def work():
        return why_useless(f"sqlite:///{tmp_path}/disk/mlflow.db")

    told = on_disk(tmp_path / "disk", "size=1m", work, is_read_only=True)
    if told is None:
        pytest.skip("this machine lets no process mount a file system")
    assert told.startswith("cannot be written (Read-only file system)")
    assert os.sep in told
