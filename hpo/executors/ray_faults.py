"""Turns whatever ends a Ray worker into one line with a named cause; notices Ray's own end."""

from __future__ import annotations

import importlib
import re
from typing import Any

from ray.exceptions import RayTaskError

from hpo.core.control_groups import count_oom_kills
from hpo.core.trial_failures import LOST, describe_failure

LOOK_EVERY_S = 0.5
FEWER = "run fewer trials at a time (--concurrent), or take a smaller batch or input"
_CAUSES = {
    "OutOfMemoryError": f"the worker process was ended, as memory ran low; {FEWER}",
    "OutOfDiskError": "the disk of Ray's temporary folder is full; free some space there",
    "ObjectStoreFullError": "Ray's shared memory is full; give the machine more of /dev/shm",
    "NodeDiedError": "the node of the worker process was lost",
    "LocalRayletDiedError": "the node of the worker process was lost",
    "RayLostError": "Ray's own process on this machine has ended",
    "ActorUnavailableError": "the worker process could not be reached",
}
"""Ray's error -> what it means for a trial."""
_NODE_DIED = ("node has died", "node was marked dead", "node died", "was terminated: NODE_DIED")
_NOT_STARTED = ("creation task", "setup hook")
_VITAL = ("raylet", "gcs_server")
"""Processes without which a Ray on this machine runs nothing."""


class RayLostError(BaseException):
    """Ends Tune's loop when Ray has ended; not an `Exception`, after which Tune would ask Ray."""


def ended_process() -> str:
    """The vital process of a Ray of our own that has ended; empty while all run."""
    node: Any = importlib.import_module("ray._private.worker")._global_node
    ended = [] if node is None else [name for name, _ in node.dead_processes()]
    return next((name for name in _VITAL if name in ended), "")


def wait_for(calls: list[Any]) -> None:
    """Wait until remote calls have ended, or Ray has.

    Raises:
        RayLostError: when Ray has ended.
    """
    import ray

    pending = calls
    while pending:
        if name := ended_process():
            raise RayLostError(name)
        _, pending = ray.wait(pending, num_returns=len(pending), timeout=LOOK_EVERY_S)


class Losses:
    """Describes lost workers; knows which the system has killed for lack of memory."""

    def __init__(self) -> None:
        self._kills = count_oom_kills()

    def describe(self, error: BaseException | None) -> dict[str, str]:
        """Give the error by which Ray tells of a failed call a cause and one line."""
        if isinstance(error, RayTaskError):
            return describe_failure(getattr(error, "cause", None) or error)
        kills, self._kills = self._kills, count_oom_kills()
        names = [] if error is None else [base.__name__ for base in type(error).__mro__]
        message = next((_CAUSES[name] for name in names if name in _CAUSES), "")
        if not message and self._kills > kills:
            message = _CAUSES["OutOfMemoryError"]
        return {**LOST, "message": message or _by_words(str(error or ""), names)}


def _by_words(text: str, names: list[str]) -> str:
    """What only the text of an error tells."""
    if any(words in text for words in _NODE_DIED):
        return _CAUSES["NodeDiedError"]
    if "RuntimeEnvSetupError" in names or any(words in text for words in _NOT_STARTED):
        return f"the worker process did not start: {_last_line(text)}"
    return LOST["message"]


def _last_line(text: str) -> str:
    """The last line that names an exception, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit)\b", line)]
    return (raised or lines or ["no reason was given"])[-1][:300]
