"""Checks an address of MLflow without connecting: what is wrong with it, what to set instead.

Asks no server and imports no MLflow, so it costs milliseconds.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sqlite3
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from hpo.core.bytes import why_not_writable
from hpo.core.text import nearest, shell_word
from hpo.run.ledger_storage import connect_to_read

_VARIABLE = "MLFLOW_TRACKING_URI"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SCHEMES = ("http", "https", *_DATABASES, "databricks")
_DRIVERS = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""Modules of database drivers, and the packages that hold them where those are called otherwise."""
_MAGIC = b"SQLite format 3\0"
_REVISION = re.compile(r'^(down_revision|revision) = "(\w+)"', re.MULTILINE)
_INSTEAD = (
    f"set {_VARIABLE} to a server (http://host:5000) or a database (sqlite:////folder/mlflow.db), "
    "or unset it for mlflow.db beside the runs"
)


def sqlite_uri(file: Path) -> str:
    """MLflow's address of a SQLite file.

    Where the path must be quoted, the driver is named: without it MLflow also makes the folders
    that the quoted path would be in.
    """
    path = re.sub("[%?]", lambda found: quote(found[0]), str(file))
    return f"sqlite:///{path}" if path == str(file) else f"sqlite+pysqlite:///{path}"


def sqlite_path(uri: str) -> str:
    """The path in an address of SQLite, as it stands on the disk; empty in any other."""
    found = re.match(r"sqlite(\+\w+)?:///([^?]*)", uri)
    return unquote(found[2]) if found else ""


def why_useless(uri: str) -> str:
    """Say why nothing can ever be written to an address, and what to set; empty where it may be.

    Args:
        uri: as in MLFLOW_TRACKING_URI.
    """
    try:
        parts = urlsplit(uri)
        is_sound = parts.port is None or bool(parts.hostname)
    except ValueError as error:
        return f"is not an address ({error}); {_INSTEAD}"
    is_named = uri in ("databricks", "databricks-uc", "uc")
    scheme = uri if is_named else parts.scheme.partition("+")[0]
    if scheme in ("", "file"):
        return _of_folder(uri)
    if scheme in ("http", "https"):
        return "" if parts.hostname and is_sound else f"names no host; {_INSTEAD}"
    if scheme in _DATABASES:
        return _of_sqlite(uri, parts) if scheme == "sqlite" else _of_driver(uri)
    return _of_other(uri, scheme)


def _of_other(uri: str, scheme: str) -> str:
    if scheme in ("uc", "databricks-uc"):
        return f"is for registered models and holds no runs; {_INSTEAD}"
    plugins = {point.name for point in entry_points(group="mlflow.tracking_store")}
    if scheme in {*_SCHEMES, *plugins}:
        return ""
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
        return f"lacks its beginning; set {_VARIABLE}=http://{uri}"
    hint = nearest(scheme, _SCHEMES)
    return f"begins with {scheme!r}, which MLflow does not know{hint}; {_INSTEAD}"


def _of_folder(uri: str) -> str:
    """MLflow keeps no more runs in folders, unless it is told to."""
    if re.fullmatch(r"[\d.]+:\d+(/.*)?", uri):
        return f"lacks its beginning; set {_VARIABLE}=http://{uri}"
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
        return ""
    return f"names a folder, and MLflow 3 keeps runs in a server or a database alone; {_INSTEAD}"


def _of_sqlite(uri: str, parts: SplitResult) -> str:
    if parts.netloc:
        return f"must have three slashes, four before a whole path; set {_VARIABLE}=sqlite:////..."
    path = sqlite_path(uri)
    if path in ("", ":memory:"):
        return f"is a database in memory, which nobody else sees; {_INSTEAD}"
    file = Path(path).absolute()
    if file.is_dir():
        return f"is a folder; name a file in it, such as {uri.rstrip('/')}/mlflow.db"
    if why := why_not_writable(file.parent):
        return f"cannot be written ({why}); {_INSTEAD}"
    if not file.exists():
        return ""
    if not os.access(file, os.W_OK):
        return f"cannot be written; give this user the right to, or {_INSTEAD}"
    return _of_schema(uri, file)


def _of_schema(uri: str, file: Path) -> str:
    """Whether a database is one of the MLflow that is installed."""
    try:
        with file.open("rb") as stream:
            beginning = stream.read(len(_MAGIC))
        if beginning not in (b"", _MAGIC):
            return f"is no SQLite database; {_INSTEAD}"
        with closing(connect_to_read(file)) as base:
            row = base.execute("SELECT version_num FROM alembic_version").fetchone()
    except (OSError, sqlite3.Error):
        return ""  # of another program's making, empty, or in use: told where it is opened
    known = _revisions()
    if row is None or not known or row[0] in _heads(known):
        return ""
    if row[0] in known:
        command = f"mlflow db upgrade {shell_word(uri)}"
        return f"is of an earlier MLflow; make a copy, then run `{command}`"
    return f"is of a later MLflow than is installed; install that one, or {_INSTEAD}"


def _revisions() -> dict[str, str]:
    """Revision -> the one before it, of the databases that the installed MLflow knows."""
    spec = importlib.util.find_spec("mlflow")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = {}
    for file in (f for d in folders for f in Path(d).glob("store/db_migrations/versions/*.py")):
        names = dict(_REVISION.findall(file.read_text(encoding="utf-8")))
        if "revision" in names:
            found[names["revision"]] = names.get("down_revision", "")
    return found


def _heads(known: dict[str, str]) -> set[str]:
    return set(known) - set(known.values())


def _of_driver(uri: str) -> str:
    """Whether the Python package that speaks to a database server is there."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except ImportError as error:
        package = _DRIVERS.get(error.name or "", error.name)
        return f"needs a driver that is not installed: pip install '{package}', or {_INSTEAD}"
    except SQLAlchemyError as error:
        return f"is not the address of a database ({' '.join(str(error).split())}); {_INSTEAD}"
    return ""
