"""Where MLflow's data live and how to reach them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
ARTIFACTS = ".mlflow"
SQLITE = "sqlite:///"

CLIENT_SETTINGS = {
    # A dead server costs one refused connection instead of minutes of retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # A search tells nobody outside that it runs.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Environment of MLflow's client; what the user has set wins."""


def default_tracking_uri(out: Path) -> str:
    """The tracking server that the environment names, else a SQLite file in the run root `out`."""
    return os.environ.get(URI_VARIABLE) or f"{SQLITE}{out.resolve() / DATABASE}"


def local_database(tracking_uri: str) -> Path | None:
    """The file behind a SQLite address; None for a server."""
    if not tracking_uri.startswith(SQLITE):
        return None
    return Path(tracking_uri.removeprefix(SQLITE)).resolve()


def shown(tracking_uri: str) -> str:
    """The address without user name and password, for messages."""
    parts = urlsplit(tracking_uri)
    if "@" not in parts.netloc:
        return tracking_uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]))


def connect(tracking_uri: str) -> MlflowClient:
    """Open a client; a SQLite database that does not exist is created first.

    Importing MLflow takes seconds, so call this where nobody waits for it.
    """
    _set_up()
    from mlflow import MlflowClient

    database = local_database(tracking_uri)
    if database is None:
        return MlflowClient(tracking_uri=tracking_uri)
    folder = database.parent / ARTIFACTS
    folder.mkdir(parents=True, exist_ok=True)
    # Two processes that create the tables at the same time break each other.
    with (folder / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return MlflowClient(tracking_uri=tracking_uri)


def expected_errors() -> tuple[type[Exception], ...]:
    """What a store that is away, locked or misconfigured raises; ImportError without MLflow."""
    _set_up()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError)


def is_refusal(error: Exception) -> bool:
    """Whether the same request would be refused again: not a matter of access or load."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    code = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    return 400 <= code < 500 and code not in (401, 403, 408, 429)


def _set_up() -> None:
    """Apply the client's settings; MLflow reads some of them while it is imported."""
    for name, value in CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)


def ensure_experiment(client: MlflowClient, tracking_uri: str, name: str) -> str:
    """Return the id of the experiment, which is created, or taken out of the trash, when needed."""
    found = client.get_experiment_by_name(name)
    if found is None:
        database = local_database(tracking_uri)
        place = None if database is None else str(database.parent / ARTIFACTS / name)
        return str(client.create_experiment(name, artifact_location=place))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
