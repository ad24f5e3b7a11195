"""Errors of Ray's as one line and a cause; no cluster is started."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpo.core import control_groups
from hpo.core.trial_failures import LOST

exceptions = pytest.importorskip("ray.exceptions")

from hpo.executors import ray_faults  # noqa: E402
from hpo.executors.ray_faults import Losses, RayLostError  # noqa: E402


def task_error(cause):
    return exceptions.RayTaskError("train", "Traceback\n  many\n  lines", cause)


DIED = exceptions.ActorDiedError(task_error(ModuleNotFoundError("No module named 'hpo'")))
HOOK = """The actor died unexpectedly before finishing this task.
Worker exit detail: Failed to execute the setup hook method, for more see the error trace below.
Traceback (most recent call last):
  File "x.py", line 1, in f
ModuleNotFoundError: No module named 'hpo'

The actor never ran - it was cancelled before it started running."""
ERRORS = [
    (exceptions.OutOfMemoryError("Task was killed\ndue to the node running low on memory"), "memory ran low"),
    (exceptions.OutOfDiskError("no\nspace"), "disk of Ray's temporary folder is full"),
    (exceptions.ObjectStoreFullError("full"), "shared memory is full"),
    (exceptions.LocalRayletDiedError(), "the node of the worker process was lost"),
    (exceptions.NodeDiedError("gone"), "the node of the worker process was lost"),
    (exceptions.RayActorError(error_msg="The actor died because its\nnode has died."), "the node of the"),
    (exceptions.ActorUnavailableError("busy", None), "could not be reached"),
    (exceptions.RuntimeEnvSetupError("many\nlines\nthe disk is full"), "did not start: the disk is full"),
    (DIED, "did not start: "),
    (exceptions.RayActorError(error_msg=HOOK), "did not start: ModuleNotFoundError: No module named 'hpo'"),
    (RayLostError("raylet"), "Ray's own process on this machine has ended"),
    (exceptions.WorkerCrashedError(), LOST["message"]),
    (exceptions.ActorDiedError(), LOST["message"]),
    (exceptions.RaySystemError("odd"), LOST["message"]),
    (None, LOST["message"]),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words"), ERRORS, ids=lambda v: type(v).__name__)
def test_a_lost_worker_is_one_line_and_may_be_tried_again(error, words):
    failure = Losses().describe(error)
    assert failure["kind"] == "infrastructure"
    assert words in failure["message"]
    assert "\n" not in failure["message"]


@pytest.mark.parametrize(
    ("cause", "kind", "message"),
    [
        (TypeError("cannot pickle\nit"), "code", "TypeError: cannot pickle"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (OSError(28, "No space left on device"), "infrastructure", "No space left on device; make room there (`df -h` and `df -i` show bytes and inodes)"),
    ],
)  # fmt: skip
def test_what_a_worker_has_raised_keeps_its_own_cause(cause, kind, message):
    assert Losses().describe(task_error(cause)) == {"kind": kind, "message": message}


@pytest.fixture
def counter(tmp_path, monkeypatch):
    file = tmp_path / "memory.events"
    file.write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 4\n")
    monkeypatch.setattr(control_groups, "ROOT", tmp_path)
    return file


def test_a_worker_that_the_system_killed_for_memory_is_told_from_others(counter):
    losses = Losses()
    assert losses.describe(exceptions.WorkerCrashedError()) == LOST
    counter.write_text("oom 2\noom_kill 5\n")
    assert "memory ran low" in losses.describe(exceptions.WorkerCrashedError())["message"]
    assert losses.describe(exceptions.WorkerCrashedError()) == LOST  # that was one kill


def test_where_the_system_does_not_count_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(control_groups, "ROOT", Path("/nowhere"))
    assert Losses().describe(None) == LOST


@pytest.fixture
def node(monkeypatch):
    """A node of Ray's with real processes, one of which has ended."""
    from ray._private import worker

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    processes = {"log_monitor": ended}

    def dead_processes():
        return [(name, p) for name, p in processes.items() if p.poll() is not None]

    monkeypatch.setattr(worker, "_global_node", SimpleNamespace(dead_processes=dead_processes))
    return processes, ended


def test_ray_has_ended_where_a_process_that_it_needs_has(node):
    processes, ended = node
    assert ray_faults.ended_process() == ""
    processes["raylet"] = ended
    assert ray_faults.ended_process() == "raylet"


def test_tune_is_stopped_where_ray_has_ended(node):
    from hpo.executors.ray_relay import Watch

    processes, ended = node
    Watch().on_step_begin(iteration=1, trials=[])
    processes["gcs_server"] = ended
    with pytest.raises(RayLostError, match="gcs_server"):
        Watch().on_step_begin(iteration=2, trials=[])
