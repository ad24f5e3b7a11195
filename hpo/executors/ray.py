"""Runs trials as Ray Tune trials in warm workers.

Ray only places and relays: a thin searcher hands out the driver's launches, a thin scheduler passes
epochs on and returns the driver's decision. Neither holds state worth restoring; the ledger does.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo.core.diverted import muted
from hpo.core.errors import HpoError
from hpo.core.machine import Machine, Node
from hpo.core.own_folder import scratch_folder
from hpo.core.protocols import TrialDriver
from hpo.executors.division import Slots
from hpo.executors.ray_faults import FEWER, Losses, RayLostError, ended_process, wait_for
from hpo.executors.ray_owner import leave
from hpo.executors.ray_start import join_cluster, start_local
from hpo.executors.ray_worker import WorkerLimits, call_in_worker, constants_of, train

if TYPE_CHECKING:
    from hpo.executors.ray_relay import RelayScheduler, RelaySearcher

logger = logging.getLogger(__name__)

_MAX_RESTARTS = 3
"""So often Ray is started again without an epoch in between."""


class RayExecutor:
    """Runs trials through Ray Tune, on this machine or on a cluster.

    Args:
        trainer_name: registered name of the trainer.
        slots: how the machine is divided.
        address: of a cluster that runs already; empty starts a Ray of its own.
    """

    def __init__(self, trainer_name: str, slots: Slots, address: str = "") -> None:
        self._trainer_name = trainer_name
        self._slots = slots
        self._held = contextlib.ExitStack()
        self._scratch = self._held.enter_context(scratch_folder("hpo-ray"))
        self._address = address
        self._losses = Losses()
        self._num_restarts = 0
        self._is_up = False
        self._are_trials_over = False
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        slots = self._slots
        if self._address:
            join_cluster(self._address, uses=True)
        else:
            node = Node(cpus=slots.total_cpus, gpus=slots.total_gpus)
            start_local(Machine(nodes=(node,)), slots.threads)
        self._is_up = True

    def _leave(self) -> None:
        if self._is_up:
            self._is_up = False
            leave()

    @property
    def _limits(self) -> WorkerLimits:
        return WorkerLimits(threads=self._slots.threads, memory_share=self._slots.memory_share)

    @property
    def _limits_alone(self) -> WorkerLimits:
        """Of what runs by itself; others may use the nodes of a cluster."""
        is_alone = self._are_trials_over and not self._address
        return replace(self._limits, threads=self._slots.total_cpus) if is_alone else self._limits

    def divide(self, slots: Slots) -> None:
        """Give what starts from now on other slots."""
        self._slots = slots

    def run(self, driver: TrialDriver) -> None:
        """Run trials until the driver is over; where Ray ends before that, it is started again.

        Raises:
            HpoError: when Ray cannot be started again, or ends again and again.
        """
        from hpo.executors.ray_relay import make_relay

        self._are_trials_over = False
        while True:
            searcher, scheduler = make_relay(driver, constants_of(self._trainer_name, self._limits))
            try:
                self._fit(searcher, scheduler)
            except RayLostError as lost:
                searcher.lose_running(lost)
                searcher.raise_fault()
                self._restart(lost, anew=searcher.has_progressed)
            else:
                searcher.raise_fault()
                self._are_trials_over = True
                return

    def _restart(self, lost: RayLostError, *, anew: bool) -> None:
        """Start Ray again; `anew`: what came before does not count."""
        self._num_restarts = 1 if anew else self._num_restarts + 1
        if self._num_restarts > _MAX_RESTARTS:
            raise HpoError(f"Ray ends again and again ({lost}); {FEWER}, and resume the search")
        logger.warning("Ray has ended (%s) and is started again", lost)
        self._leave()
        self._start()

    def _fit(self, searcher: RelaySearcher, scheduler: RelayScheduler) -> None:
        """Run one Tune experiment."""
        from ray import tune

        from hpo.executors.ray_relay import Watch

        trainable = tune.with_resources(train, {"cpu": self._slots.cpus, "gpu": self._slots.gpus})
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
                callbacks=[Watch()],
            ),
        )
        try:
            with muted():  # Tune prints a banner whatever its verbosity
                tuner.fit()
        except Exception as error:
            if name := ended_process():
                raise RayLostError(name) from error
            raise

    def call(self, method: str, *args: Any) -> Any:
        """Call a trainer's method in a Ray worker: as a trial runs, and after trials on all cores.

        What is called before them may be measured, as what a trial will take.
        """
        return self._call(1, method, args, self._limits_alone)[0]

    def call_in_all_slots(self, method: str, *args: Any) -> list[Any]:
        """Call it in as many workers as trials will run at a time."""
        return self._call(self._slots.count, method, args, self._limits)

    def _call(
        self, count: int, method: str, args: tuple[Any, ...], limits: WorkerLimits
    ) -> list[Any]:
        import ray

        remote = ray.remote(
            num_cpus=self._slots.cpus, num_gpus=min(1.0, self._slots.gpus), max_retries=0
        )(call_in_worker)
        try:
            calls = [remote.remote(self._trainer_name, method, args, limits) for _ in range(count)]
            wait_for(calls)
            outcomes = ray.get(calls)
        except ray.exceptions.RayError as error:
            raise RemoteError(self._losses.describe(error), str(error)) from error
        except RayLostError as lost:
            self._restart(lost, anew=False)
            raise RemoteError(self._losses.describe(lost), str(lost)) from lost
        for outcome in outcomes:
            if "failure" in outcome:
                raise RemoteError(outcome["failure"], outcome["detail"])
        return [outcome["result"] for outcome in outcomes]

    def close(self) -> None:
        """Stop Ray, or leave the cluster, and remove the scratch folder."""
        self._leave()
        self._held.close()


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
