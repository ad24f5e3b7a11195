"""Trials as Ray Tune trials in warm workers.

Ray only places and relays: a thin searcher hands out the driver's jobs, a thin scheduler passes
epochs on and returns the driver's decision. Neither holds state worth restoring; the ledger does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.errors import HpoError
from hpo.core.protocols import TrialDriver
from hpo.core.trial import Ended, Job
from hpo.executors.division import Slots
from hpo.executors.worker import call_method, describe_failure, run_job

logger = logging.getLogger(__name__)

LOST = {"kind": "infrastructure", "message": "the worker process was lost"}
"""A worker that was killed, ran out of memory, or crashed below Python."""


class RayExecutor:
    """Runs trials through Ray Tune on this machine.

    Args:
        trainer_name: registered name of the trainer.
        slots: how the machine is divided.
    """

    def __init__(self, trainer_name: str, slots: Slots) -> None:
        self._trainer_name = trainer_name
        self._slots = slots
        self._scratch = Path(tempfile.mkdtemp(prefix="hpo-ray-"))
        self._threads = max(1, int(slots.cpus))
        _start_ray(slots, self._scratch, self._threads)

    def run(self, driver: TrialDriver) -> None:
        """Run one Tune experiment until the driver is over."""
        from ray import tune

        from hpo.executors.ray_relay import make_relay

        constants = {"trainer_name": self._trainer_name, "threads": self._threads}
        searcher, scheduler = make_relay(driver, constants)
        trainable = tune.with_resources(
            _trainable, {"cpu": self._slots.cpus, "gpu": self._slots.gpus}
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                max_concurrent_trials=self._slots.count,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"search-{secrets.token_hex(4)}",
                storage_path=str(self._scratch),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        with _quiet_stdout():  # Tune prints a banner whatever its verbosity
            tuner.fit()
        searcher.raise_fault()

    def call(self, method: str, *args: Any) -> Any:
        """Call a trainer's method in a Ray worker."""
        return self._call(1, method, args)[0]

    def call_in_all_slots(self, method: str, *args: Any) -> list[Any]:
        """Call it in as many workers as trials will run at a time."""
        return self._call(self._slots.count, method, args)

    def _call(self, count: int, method: str, args: tuple[Any, ...]) -> list[Any]:
        import ray

        remote = ray.remote(
            num_cpus=self._slots.cpus, num_gpus=min(1.0, self._slots.gpus), max_retries=0
        )(_call_in_worker)
        try:
            outcomes = ray.get(
                [
                    remote.remote(self._trainer_name, method, args, self._threads)
                    for _ in range(count)
                ]
            )
        except ray.exceptions.RayError as error:
            raise RemoteError(dict(LOST), str(error)) from error
        for outcome in outcomes:
            if "failure" in outcome:
                raise RemoteError(outcome["failure"], outcome["detail"])
        return [outcome["result"] for outcome in outcomes]

    def close(self) -> None:
        """Stop Ray and remove its scratch folder."""
        import ray

        with _quiet_stdout():
            ray.shutdown()
        shutil.rmtree(self._scratch, ignore_errors=True)


class RemoteError(HpoError):
    """A trainer's method failed in a worker.

    Args:
        failure: `{"kind", "message"}`.
        detail: the worker's traceback.
    """

    def __init__(self, failure: Mapping[str, str], detail: str) -> None:
        super().__init__(failure["message"])
        self.kind = failure["kind"]
        self.detail = detail


def _start_ray(slots: Slots, scratch: Path, threads: int) -> None:
    """Start a private Ray: token-protected, no telemetry, no dashboard, quiet."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
        "TUNE_WARN_THRESHOLD_S": "1000000",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "MALLOC_ARENA_MAX": "2",
        "RAY_worker_niceness": "0",  # trials are the work; Ray would run them at nice 15
        "OMP_NUM_THREADS": str(threads),
    }
    os.environ.update(settings)
    if sys.dont_write_bytecode or os.environ.get("PYTHONDONTWRITEBYTECODE"):
        # Without a bytecode cache every worker compiles torch and its friends anew: 10 s each.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.setdefault(
            "PYTHONPYCACHEPREFIX", str(Path(tempfile.gettempdir()) / f"hpo-pycache-{os.getuid()}")
        )
    import ray

    _read_settings_again()
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(
        address="local",
        num_cpus=max(slots.total_cpus, 1),
        num_gpus=slots.total_gpus,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
    )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's own would end the search without saving
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logger.debug("Ray works below %s", scratch)


def _read_settings_again() -> None:
    """Make Ray see mode and token: it read them when it was imported, or for an earlier search."""
    internals: Any = importlib.import_module("ray._raylet")
    internals.Config.initialize("")
    internals.AuthenticationTokenLoader.instance().reset_cache()


def _set_threads(threads: int) -> None:
    """Give the process its slot's threads; Ray would set one per whole CPU it was told of."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _trainable(config: dict[str, Any]) -> None:
    """One trial, inside a warm worker. Stopping arrives as `SystemExit` out of `tune.report`."""
    from ray import tune

    _set_threads(config["threads"])
    job = Job(**config["job"])

    def report(payload: Mapping[str, Any]) -> bool:
        tune.report({"number": job.number, "payload": json.dumps(dict(payload))})
        return True

    outcome = run_job(config["trainer_name"], job, report)
    tune.report({"number": job.number, "outcome": json.dumps(outcome)})


def _call_in_worker(
    trainer_name: str, method: str, args: tuple[Any, ...], threads: int
) -> dict[str, Any]:
    import traceback

    _set_threads(threads)
    try:
        return {"result": call_method(trainer_name, method, args)}
    except Exception as error:  # noqa: BLE001 - the border: carried over as data
        return {"failure": describe_failure(error), "detail": traceback.format_exc()}


@contextlib.contextmanager
def _quiet_stdout() -> Any:
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink):
        yield


def to_ended(outcome: Mapping[str, Any] | None, *, crashed: bool) -> Ended:
    """What Ray knows about the end of a trial, in the driver's words."""
    if outcome is not None:
        return Ended(receipt=outcome.get("receipt"), failure=outcome.get("failure"))
    if crashed:
        return Ended(failure=dict(LOST))
    return Ended()
