"""Chooses where a study's trials run: machine, number at a time, executor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hpo.core.errors import SpecError
from hpo.core.machine import Machine, this_machine
from hpo.core.protocols import Executor, Trainer
from hpo.core.selection import REPEATS
from hpo.core.spec_dicts import lookup, merged
from hpo.core.text import quoted
from hpo.core.trainer_extras import MultiDevice
from hpo.executors.division import Slots, divide_nodes
from hpo.study.plan import as_user_errors
from hpo.study.sharing import AUTO
from hpo.study.spec import StudySpec

IN_PROCESS = "inprocess"
_EXECUTORS = ("ray", IN_PROCESS)


class Start(Protocol):
    """What belongs to one start of a search; `hpo.searching.settings.SearchSettings` is one."""

    @property
    def executor(self) -> str:
        """`ray` or `inprocess`."""

    @property
    def ray_address(self) -> str:
        """Of a Ray cluster that runs already; empty for this machine alone."""


def place_trials(
    study: StudySpec, trainer: Trainer, start: Start, spec: Mapping[str, Any] | None = None
) -> Slots:
    """Divide the machine, or the cluster, among trials; `auto` packing begins with one per GPU.

    There are no more places than trials, which have the cores of those that would stand idle.

    Trials that are jobs of a platform are only counted: one at a time where the study says nothing.

    Args:
        study: how many run at a time, and how many share a GPU.
        trainer: knows the key that holds how many devices a trial has.
        start: where the search is started.
        spec: what all trials share; None, before there is a plan, takes what the study says.

    Raises:
        SpecError: for a budget that this machine cannot count, or trials that do not fit on it.
    """
    if start.executor not in _EXECUTORS:
        known = " or ".join(_EXECUTORS)
        raise SpecError(f"executor: must be {known}, got {quoted(start.executor)}")
    if getattr(trainer, "is_elsewhere", False):  # what this machine has says nothing of a platform
        count = study.concurrent or 1
        return Slots(count=count, cpus=1.0, gpus=0.0, total_cpus=count, total_gpus=0)
    machine = find_machine(start)
    if study.budget.gpu_seconds is not None and machine.gpus == 0:
        raise SpecError(
            "budget: GPU hours need a GPU and none is visible here; give trials, time or epochs"
        )
    asked, is_here = sharing_asked(study, start), start.executor == IN_PROCESS
    shared = merged(study.spec, study.search.fix) if spec is None else spec
    devices = count_devices(shared, trainer)
    if devices > 1 and isinstance(asked, int) and asked > 1:
        raise SpecError(
            f"trials_per_gpu: must be 1 or {AUTO} where a trial has {devices} GPUs, got {asked}"
        )
    return divide_nodes(
        1 if is_here else study.concurrent,
        machine,
        per_card=asked if isinstance(asked, int) and devices == 1 else None,
        devices=devices,
        trials=most_at_a_time(study),
    )


def most_at_a_time(study: StudySpec) -> int | None:
    """Trials of the search, or repeats after it if those are more; None where time limits them."""
    trials, confirm = study.budget.trials, study.search.confirm
    if trials is None:
        return None
    return max(trials, REPEATS * min(confirm + 1, trials) if confirm else 0)


def sharing_asked(study: StudySpec, start: Start) -> int | str | None:
    """How many trials are to share a GPU: `auto`, a number, or None; in one process none share."""
    return None if start.executor == IN_PROCESS else study.trials_per_gpu


def find_machine(start: Start) -> Machine:
    """What trials can run on; a cluster is joined for it."""
    from hpo.executors.ray_owner import demand_free
    from hpo.executors.ray_start import join_cluster

    if start.executor == IN_PROCESS:
        if start.ray_address:
            raise SpecError(
                "--ray-address: cannot stand beside --in-process, which starts no workers"
            )
        return this_machine()
    if start.ray_address:
        return join_cluster(start.ray_address)
    demand_free()
    return this_machine()


def count_devices(spec: Mapping[str, Any], trainer: Trainer) -> int:
    """How many devices a trial trains on, by the spec key that the trainer names for it."""
    if not isinstance(trainer, MultiDevice):
        return 1
    try:
        with as_user_errors():
            checked = trainer.validate(spec)
        return max(1, int(lookup(checked, trainer.devices_key)))
    except (KeyError, TypeError, ValueError):  # a published spec may hold none, or a word
        return 1


def make_executor(study: StudySpec, slots: Slots, start: Start) -> Executor:
    """Build what runs the trials of a study."""
    if start.executor == IN_PROCESS:
        from hpo.executors.inprocess import InProcessExecutor

        return InProcessExecutor(study.trainer)
    from hpo.executors.ray import RayExecutor

    return RayExecutor(study.trainer, slots, start.ray_address)
