"""What a platform's SDK must offer, and what its answers mean."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol
from uuid import UUID

from hpo.automl.errors import AutoMLError
from hpo.core.text import uncoloured

DONE = frozenset({"done", "success", "succeeded", "complete", "completed"})
FAILED = frozenset({"error", "failed", "failure", "aborted", "timeout", "timed_out"})
GONE = frozenset({"deleted", "not_found", "notfound"})
CANCELED = GONE | {"canceled", "cancelled", "stopped", "terminated"}
ACTIVE = frozenset({
    "accepted", "active", "allocating", "awaiting", "building", "completing", "configuring",
    "containercreating", "created", "executing", "finishing", "in_progress", "initializing",
    "launching", "paused", "pausing", "pending", "podinitializing", "preparing", "processing",
    "provisioning", "pulling", "queued", "queueing", "ready", "requeued", "restarting",
    "resuming", "running", "scheduled", "scheduling", "started", "starting", "stopping",
    "submitted", "submitting", "suspended", "waiting",
})  # fmt: skip
"""Words for a job that is under way. Any other word counts as one, too, of a job that is known."""
TAIL_LINES = 2000
"""Lines of a log that are read at each poll, where the SDK can read its end alone."""

_FATAL = re.compile(
    r"Execution status: FAIL|failed with return code|ChildFailedError"
    r"|Process group watchdog thread terminated|Watchdog caught collective operation timeout",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"no such|not[ _]?found|not exist|unknown job|unauthori[sz]ed|forbidden|denied|credential",
    re.IGNORECASE,
)
_AWAY = re.compile(r"time[d ]*out|connect|unavailable", re.IGNORECASE)
_CODE = re.compile(
    r"(?:^|status|http(?:/[\d.]+)?|code|error|occurred|returned|response|with)"
    r"[ :='\"([]{0,4}([45]\d\d)(?![-\w]|\.\d)",
    re.IGNORECASE,
)
"""The status of an answer in a text. Other numbers are ports, jobs and seconds."""
_AT_CLEAN_UP = re.compile(
    r"RendezvousTimeoutError|RendezvousConnectionError|DistNetworkError|C10d store has failed",
    re.IGNORECASE,
)


class Platform(Protocol):
    """What a platform must be able to do.

    Used where they exist: `create_python_job`, `build_entrypoint`, `cancel_job`,
    `iter_job_log_chunks`, `get_job_results_dir`, `read_job_result_file`, `delete_job_artifacts` and
    `validate_artifact_retention`.
    """

    def create_job(self, **facts: Any) -> Any:
        """Submit a job and return an object with `id` and, where it is known, `results_dir`."""

    def get_job_status(self, job_id: str) -> Any:
        """Return an object with `status`."""

    def get_job_logs(self, job_id: str) -> str:
        """Return what the job has printed so far."""

    def get_failure_analysis(self, job_id: str) -> Any:
        """Say why a job failed."""


def attempt(call: Callable[..., Any], *args: Any, **more: Any) -> tuple[Any, Exception | None]:
    """Call a platform; what it raises comes back as a value."""
    try:
        return call(*args, **more), None
    except Exception as error:  # noqa: BLE001 - a platform's own errors are of any class
        return None, error


def attempt_by_name(platform: Platform, name: str, *args: Any) -> tuple[Any, Exception | None]:
    """Make a call that a platform may lack; None then, as of one that raises."""
    call = getattr(platform, name, None)
    return (None, None) if call is None else attempt(call, *args)


def is_outage(error: Exception) -> bool:
    """Whether an error says that the platform was not reached, and nothing of what was asked."""
    code = _answered(error)
    if code:
        return code in (408, 429) or code >= 500
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    # Those of http clients are no ConnectionError and no TimeoutError, yet are named alike.
    if any(_AWAY.search(kind.__name__) for kind in type(error).__mro__):
        return True
    if found := _CODE.search(str(error)):
        return found[1] in ("408", "429") or found[1] >= "500"
    if _ANSWER.search(f"{type(error).__name__}: {error}"):
        return False
    return isinstance(error, OSError) or _AWAY.search(str(error)) is not None


def _answered(error: Exception) -> int:
    """The status of the answer that an error itself holds, if it does; 0 where it holds none."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        known = response.get("ResponseMetadata")
        response = SimpleNamespace(status=(known or response).get("HTTPStatusCode"))
    for holder in (response, error):
        for name in ("status_code", "status", "code"):
            found = getattr(holder, name, None)
            if isinstance(found, int) and 400 <= found < 600:
                return found
    return 0


def field_of(answer: Any, *names: str) -> Any:
    """The first of these fields of an object or a mapping that holds something, else None."""
    read = answer.get if isinstance(answer, Mapping) else partial(_read, answer)
    return next((held for name in names if (held := read(name)) is not None), None)


def _read(answer: Any, name: str) -> Any:
    return getattr(answer, name, None)


def status_of(answer: Any) -> str:
    """A platform's status as one lower-case word, whether text, an enum, an object or a mapping.

    Empty for an answer that holds none.
    """
    names = ("status", "state")
    is_about = isinstance(answer, Mapping) or any(hasattr(answer, name) for name in names)
    status = field_of(answer, *names) if is_about else answer
    status = getattr(status, "value", status)
    words = "" if status is None else str(status).rpartition(".")[2].lower()
    return re.sub(r"[\s-]+", "_", words.strip())


def exists_by(answer: Any) -> bool:
    """Whether a platform's status is that of a job, and of none that was canceled.

    Some answer with a word such as `Unknown` where there is no such job.
    """
    return status_of(answer) in ACTIVE | DONE | FAILED


def id_of(created: Any) -> str:
    """The id in a platform's answer to a submission; empty where it has none."""
    is_id = isinstance(created, str | int | UUID)
    found = created if is_id else field_of(created, "id", "job_id")
    return "" if found is None or isinstance(found, bool) else str(found).strip()


def has_failed_by_log(logs: str) -> bool:
    """Whether a log says that the job has failed, whatever its status says."""
    return _FATAL.search(uncoloured(logs)) is not None


def is_clean_up_error(logs: str) -> bool:
    """Whether a job with a value has failed only while its processes were shutting down."""
    return _AT_CLEAN_UP.search(uncoloured(logs)) is not None and not has_failed_by_log(logs)


def takes(function: Callable[..., Any] | None, name: str, *, by_name: bool = False) -> bool:
    """Whether a call may be given a keyword.

    Args:
        function: of the platform.
        name: the keyword.
        by_name: whether it must be among the named ones; a `**kwargs` is not enough then.
    """
    named, is_open = _keywords(function)
    return name in named or (is_open and not by_name)


def _keywords(function: Callable[..., Any] | None) -> tuple[frozenset[str], bool]:
    """The named parameters of a call, and whether it takes any other; unknown ones are taken."""
    if function is None:
        return frozenset(), False
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return frozenset(), True
    is_open = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    closed = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return frozenset(p.name for p in parameters if p.kind not in closed), is_open


def demand_keywords(function: Callable[..., Any], names: Mapping[str, Any], who: str) -> None:
    """Refuse arguments of the caller that a platform's call does not take.

    Raises:
        AutoMLError: naming all of them.
    """
    wrong = [name for name in names if not takes(function, name)]
    if wrong:
        known = ", ".join(sorted(_keywords(function)[0] - {"image", "command"})) or "none"
        raise AutoMLError(
            f"run: {', '.join(wrong)}: no such argument, of this call or of {who} (which takes "
            f"{known})"
        )


def call_with_known(
    function: Callable[..., Any], facts: Mapping[str, Any], always: Mapping[str, Any] | None = None
) -> Any:
    """Call a platform with those of our keyword arguments that it names, and all of the caller's.

    Args:
        function: of the platform.
        facts: ours; passed where the call names them.
        always: the caller's own; passed as they are.
    """
    own = {name: value for name, value in facts.items() if takes(function, name, by_name=True)}
    return function(**{**own, **(always or {})})


def read_logs(platform: Platform, job_id: str, *, is_over: bool) -> str:
    """What a job has printed: all of it once it is over, the end of it at a poll.

    Raises:
        Exception: whatever the platform raises.
    """
    chunks = getattr(platform, "iter_job_log_chunks", None)
    if is_over and chunks is not None:
        found, error = attempt(lambda: "".join(_as_text(chunk) for chunk in chunks(job_id)))
        if error is None and found:
            return str(found)
    if takes(platform.get_job_logs, "tail") and not is_over:
        return str(platform.get_job_logs(job_id, tail=TAIL_LINES) or "")  # type: ignore[call-arg]
    return str(platform.get_job_logs(job_id) or "")


def _as_text(chunk: Any) -> str:
    return chunk.decode("utf-8", errors="replace") if isinstance(chunk, bytes) else str(chunk)
