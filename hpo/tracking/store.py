"""Finds where MLflow's data are stored and how to reach them."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from hpo.run.run_dir import STORE_FILE
from hpo.tracking.address import sqlite_path, sqlite_uri
from hpo.tracking.moved_store import ARTIFACTS, follow_database, place_of
from hpo.tracking.rows import Point, query

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_MAX_REASON = 300
_NETWORK = (
    r"\[Errno -?\d+\] ([\w ]+)",
    r"Connection\w*Error\(\d+, '([\w ]+)'",
    r"(Read timed out|Remote end closed connection without response)",
)
"""What a request's long story ends in, as people say it."""
_REMEDIES = (
    (
        r"error code 40[13]\b|Unauthorized|not authenticated",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    ),
    (r"error code 404\b", "set MLFLOW_TRACKING_URI to the address of an MLflow server"),
    (
        r"SSLError|CERTIFICATE_VERIFY_FAILED|SSL:",
        "set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of its authority, or http:// in "
        "MLFLOW_TRACKING_URI",
    ),
    (r"Name or service not known|Temporary failure in name", "see the host in MLFLOW_TRACKING_URI"),
    (r"Connection refused", "start the server, or set MLFLOW_TRACKING_URI to one that runs"),
    (r"No module named 'boto", "pip install boto3"),
    (r"No module named 'google", "pip install google-cloud-storage"),
    (r"No module named 'azure", "pip install azure-storage-blob azure-identity"),
    (
        r"Unable to locate credentials|InvalidAccessKeyId|SignatureDoesNotMatch",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and MLFLOW_S3_ENDPOINT_URL where the "
        "bucket is not Amazon's",
    ),
    (r"default credentials were not found", "set GOOGLE_APPLICATION_CREDENTIALS"),
    (r"AZURE_STORAGE_", "set AZURE_STORAGE_CONNECTION_STRING"),
    (r"Databricks.*credential|databricks auth", "set DATABRICKS_HOST and DATABRICKS_TOKEN"),
    (
        r"must be an absolute path within the Databricks workspace",
        "set MLFLOW_TRACKING_URI to a server or a database: a study's name is none of Databricks",
    ),
    (r"out-of-date database schema", "make a copy of the database and run `mlflow db upgrade`"),
)
_URI_VARIABLE = "MLFLOW_TRACKING_URI"

_NO_HOME = "/nonexistent"
"""What systems write for users without a home folder."""

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow open an experiment with its pages for training, not for language models."""

CLIENT_SETTINGS = {
    # A dead server costs one refused connection instead of minutes; the mirror tries again itself.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # The bottom of the terminal is the search's own.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A search tells nobody outside that it runs.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Environment of MLflow's client; what the user has set wins."""
_SET: set[str] = set()
"""Variables that were not there before."""


_PASSWORD = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&#]*", re.IGNORECASE)
"""A password among the options of a data base's address."""


def default_tracking_uri(out: Path) -> str:
    """The tracking server that the environment names, else a SQLite file in the run root `out`."""
    return os.environ.get(_URI_VARIABLE, "").strip() or sqlite_uri(out.resolve() / STORE_FILE)


def local_database(tracking_uri: str) -> Path | None:
    """The file behind a SQLite address; None for a server."""
    path = sqlite_path(tracking_uri)
    return Path(path).resolve() if path else None


def display_uri(tracking_uri: str) -> str:
    """The address without user name and password, for messages."""
    tracking_uri = _PASSWORD.sub(r"\1...", tracking_uri)
    try:
        parts = urlsplit(tracking_uri)
    except ValueError:  # no address; its password all the same
        return re.sub(r"://[^/]*@", "://", tracking_uri)
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
        if not database.exists():
            _create(database, folder / "new")
        else:
            follow_database(database)
        return MlflowClient(tracking_uri=tracking_uri)


def _create(database: Path, workshop: Path) -> None:
    """Make a database elsewhere first: its tables take MLflow seconds and many steps.

    A process that ends in the middle would leave one that MLflow takes for that of an old release.
    """
    from mlflow import MlflowClient

    shutil.rmtree(workshop, ignore_errors=True)
    workshop.mkdir()
    made = workshop / database.name
    MlflowClient(tracking_uri=sqlite_uri(made))
    made.replace(database)
    shutil.rmtree(workshop, ignore_errors=True)


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


def reason(error: Exception) -> str:
    """What an error says, in one short line without passwords."""
    text = " ".join(str(error).split()) or type(error).__name__
    for pattern in _NETWORK:
        if network := re.search(pattern, text):
            return network[1]
    text = text.partition(" [SQL: ")[0]  # a database's own words; the statement helps nobody
    text = re.sub(r"://[^/@\s]*@", "://", text)
    if len(text) <= _MAX_REASON:
        return text
    whole, _, _ = text[:_MAX_REASON].rpartition(". ")  # sentences, or at least words
    return whole or text[:_MAX_REASON].rpartition(" ")[0] + " ..."


def remedy(error: Exception) -> str:
    """What to set or start against an error that waiting does not help; empty where it may."""
    text = str(error)
    return next((words for pattern, words in _REMEDIES if re.search(pattern, text)), "")


def _set_up() -> None:
    """Apply the client's settings; MLflow reads some of them while it is imported."""
    wanted = {name: value for name, value in CLIENT_SETTINGS.items() if name not in os.environ}
    wanted |= home_setting()
    os.environ.update(wanted)
    _SET.update(wanted)
    # What a database refuses is raised too, and told in a line; this would be its traceback.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def home_setting() -> dict[str, str]:
    """A `HOME` for who has none: without one MLflow cannot be imported; it writes nothing there."""
    try:
        Path.home()
    except RuntimeError:
        return {"HOME": _NO_HOME}
    return {}


def give_settings_back() -> None:
    """Leave the program's own use of MLflow as it was; what writes on sets them again."""
    while _SET:
        os.environ.pop(_SET.pop(), None)


def find_runs(
    client: MlflowClient, experiment_id: str, study_uuid: str, role: str
) -> Iterator[Run]:
    """Runs of a study in a role, the oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            query(study_uuid, role),
            order_by=["start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def steps_of(client: MlflowClient, run_id: str, metric: str) -> set[int]:
    """The steps at which a run has a metric."""
    return {point.step for point in client.get_metric_history(run_id, metric)}


def log(
    client: MlflowClient,
    run_id: str,
    *,
    points: Iterable[Point] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write all of it in one request; nothing is sent when there is nothing."""
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[Metric(p.name, p.value, p.timestamp_ms, p.step) for p in points],
        params=[Param(k, v) for k, v in (params or {}).items()],
        tags=[RunTag(k, v) for k, v in (tags or {}).items()],
    )


def ensure_experiment(client: MlflowClient, tracking_uri: str, name: str) -> str:
    """Return the id of the experiment, which is created, or taken out of the trash, when needed."""
    found = client.get_experiment_by_name(name)
    if found is None:
        database = local_database(tracking_uri)
        place = None if database is None else place_of(database, name)
        return str(client.create_experiment(name, artifact_location=place, tags=KIND))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
