"""Starts a private Ray on this machine, or joins a running cluster."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpo.core.errors import HpoError, MachineError
from hpo.core.machine import Machine, Node
from hpo.core.machine_faults import describe_fault
from hpo.core.own_folder import make_own, temporary_place
from hpo.core.process import children
from hpo.executors.ray_folder import choose_ray_folder, hold_session, remove_left_sessions
from hpo.executors.ray_owner import OURS

logger = logging.getLogger(__name__)

AUTO = "auto"
ANSWER_S = 10.0
"""How long an address may take to answer."""

SETTLES_S = 120
"""So long a stopped trial may take to end."""

_START_ATTEMPTS = 3

_WORKER_SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Trials run in a thread. Its own arena would give large blocks back at every step.
    "MALLOC_ARENA_MAX": "1",
    # A stopped trial may have a checkpoint to write or processes to end. Where that takes longer,
    # Tune drops the next trial of this worker and tells nobody.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": str(SETTLES_S),
}
_SETTINGS = {
    **_WORKER_SETTINGS,
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_THRESHOLD_S": "1000000",
    "RAY_DEDUP_LOGS": "0",
}
_QUIET: dict[str, Any] = {
    "log_to_driver": False,
    "configure_logging": False,
    "logging_level": logging.ERROR,
}
_PASSED_ON = ("HPO_CACHE_DIR", "HPO_TRAINER_MODULES", "XDG_CACHE_HOME")
"""Variables that mean the same on every node of a cluster."""


def start_local(machine: Machine, threads: int) -> None:
    """Start a private Ray: token-protected, no telemetry, no dashboard, quiet.

    Raises:
        HpoError: it does not start, or this process has one that is not to be ended.
    """
    variables = {
        **_SETTINGS,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Ray starts a worker ahead whenever a trial is about to follow another, and would end
        # it after a second: with short trials a core is busy with that alone.
        "RAY_idle_worker_killing_time_threshold_ms": "60000",
        # It would also start one for each core and wait for them; trials have workers of their own.
        "RAY_prestart_worker_first_driver": "0",
        "RAY_worker_niceness": "0",  # trials are the work; Ray would run them at nice 15
        "OMP_NUM_THREADS": str(threads),
    }
    folder = choose_ray_folder()
    if folder.warning:
        logger.warning("%s", folder.warning)
    with OURS.lock:
        OURS.free("")
        remove_left_sessions(folder.path)
        with OURS.starting("", variables):
            OURS.at_end(hold_session(_start(machine, folder.path)))
        OURS.users = 1


def _start(machine: Machine, folder: Path) -> Path:
    """Start it, and return the folder of its session."""
    import ray

    for attempt in range(1, _START_ATTEMPTS + 1):
        try:
            with _own_sigterm(), _environment_of_children():
                ray.init(
                    address="local",
                    num_cpus=max(machine.cpus, 1),
                    num_gpus=machine.gpus,
                    include_dashboard=False,
                    **_worker_processes(),
                    _temp_dir=str(folder),
                    **_QUIET,
                )
            break
        except Exception as error:
            # Where its own processes take longer than half a minute, Ray raises `Exception` itself.
            ray.shutdown()
            if fault := describe_fault(error):
                raise MachineError(f"Ray did not start: {fault}") from error
            if attempt == _START_ATTEMPTS:
                words = " ".join(str(error).split())[:300]
                raise HpoError(
                    f"Ray did not start: {words}; try again when the machine is less busy, or run "
                    "one trial at a time with --in-process"
                ) from error
    internals: Any = importlib.import_module("ray._private.worker")
    return Path(internals._global_node.get_session_dir_path())


def join_cluster(address: str, *, uses: bool = False) -> Machine:
    """Join a cluster, unless that is done, and say what it has.

    Args:
        address: `auto` for the one that runs on this machine, or `host:port` of its head.
        uses: whether trials run there until `leave` is called.

    Raises:
        HpoError: when nobody answers there, the token is not the cluster's, or this process has
            another Ray that is not to be left.
    """
    address = _checked_address(address)
    variables = dict(_SETTINGS)
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        variables["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE", "token")
    with OURS.lock:
        if not OURS.free(address):
            with OURS.starting(address, variables):
                _join(address)
        machine = _look_at_nodes()
        OURS.users += uses
        return machine


def _join(address: str) -> None:
    import ray

    try:
        with _own_sigterm():
            ray.init(address=address, **_worker_processes(), **_QUIET)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise _no_cluster(address, error) from error
    if os.environ.get("RAY_AUTH_MODE") != "token":
        logger.warning(
            "the Ray cluster at %s asks for no token: whoever reaches its ports can run code "
            "there; start it with RAY_AUTH_MODE=token",
            address,
        )


def _look_at_nodes() -> Machine:
    """What the living nodes have."""
    import ray

    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's
    found = [node["Resources"] for node in known if node["Alive"]]
    nodes = [Node(cpus=int(r.get("CPU", 0)), gpus=int(r.get("GPU", 0))) for r in found]
    usable = tuple(node for node in nodes if node.cpus)
    if not usable:
        raise HpoError("--ray-address: the cluster has no CPU cores for trials; add a node")
    return Machine(nodes=usable)


def _checked_address(address: str) -> str:
    """Return host and port; refuse what cannot be joined, before Ray waits minutes for it."""
    if address == AUTO:
        address = _address_here()
    if "://" in address:
        raise HpoError(
            f"--ray-address: must be {AUTO} or host:port, got {address!r}; run hpo on a node of "
            "the cluster, whose workers must see the run directory"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise HpoError(f"--ray-address: must be {AUTO} or host:port, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except OSError as error:
        raise HpoError(
            f"--ray-address: nobody answers at {address}: {error.strerror or error}; start Ray "
            "there with `ray start --head`"
        ) from error
    return address


def _address_here() -> str:
    """The cluster that `ray start` has started or joined here last.

    Ray itself would also take any other that it finds among the processes: a private one.
    """
    services: Any = importlib.import_module("ray._private.services")
    found = os.environ.get("RAY_ADDRESS") or services.find_bootstrap_address(None)
    if not found:
        raise HpoError(
            "--ray-address auto: no Ray cluster was started on this machine; start one with "
            "`ray start --head`, or give host:port"
        )
    return str(found)


def _no_cluster(address: str, error: Exception) -> HpoError:
    words = " ".join(str(error).split())
    return HpoError(
        f"--ray-address: {address} answers but cannot be joined: is it the port of Ray's head, and "
        "are RAY_AUTH_MODE and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) the cluster's? Ray says: "
        f"{words[:300]}"
    )


def _worker_processes() -> dict[str, Any]:
    """How worker processes start, wherever they run: as every child of ours does."""
    from ray.job_config import JobConfig

    class Job(JobConfig):
        """Leaves the driver's working directory out, which workers would search before all else."""

        def _get_proto_job_config(self) -> Any:
            job: Any = super()._get_proto_job_config()  # type: ignore[no-untyped-call]  # Ray's
            job.ClearField("py_driver_sys_path")
            return job

    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        "job_config": Job(),
        "runtime_env": {
            "env_vars": {**_WORKER_SETTINGS, **passed_on, **children.variables()},
            "worker_process_setup_hook": "hpo.core.process.imports.settle",
        },
    }


@contextlib.contextmanager
def _environment_of_children() -> Iterator[None]:
    """Let the processes that Ray starts have it, and workers whatever those hand on."""
    os.environ.update(children.variables())
    _keep_bytecode()
    try:
        yield
    finally:
        children.restore_environment()


def _keep_bytecode() -> None:
    """Without a bytecode cache every worker compiles torch and its friends anew: 10 s each."""
    if not sys.dont_write_bytecode and not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return
    try:
        if not os.environ.get("PYTHONPYCACHEPREFIX"):
            os.environ["PYTHONPYCACHEPREFIX"] = str(make_own(temporary_place("hpo-pycache")))
    except MachineError as error:
        logger.warning("%s; each worker takes seconds longer to start", error)
    else:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep our handler of SIGTERM: Ray's own would end the search without saving.

    While Ray starts its own is in place, and leaves as `sys.exit`; nothing is to be saved then.

    Ray's processes ignore SIGHUP, which a terminal sends to all of them when it closes: they are
    needed until the epochs have ended.
    """
    numbers = (signal.SIGTERM, signal.SIGHUP)
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in numbers}
    if in_main:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        if in_main:
            for number, handler in handlers.items():
                signal.signal(number, handler)
