"""What launchers (Lightning itself, torchrun, srun) tell a process of its place in a run.

Lightning alone would take every job of Slurm for one whose tasks are the run's processes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_PLACE = frozenset(
    {"RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE"}
    | {"MASTER_ADDR", "MASTER_PORT", "STANDALONE_PORT"}
)
_FOREIGN = ("SLURM_", "TORCHELASTIC_")


def without_place(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for a run that starts all its processes: those of its surroundings are not its."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _PLACE and not name.startswith(_FOREIGN)
    }


def settle_place(num_processes: int, num_nodes: int) -> None:
    """Put this process's place in a run into the variables that Lightning and torchrun know.

    Where srun has started as many tasks as the run has processes, they are these. On one node a
    run otherwise starts its own, and what the node's launcher says of other programs is dropped.

    Args:
        num_processes: on each node.
        num_nodes: of the run.
    """
    if "LOCAL_RANK" in os.environ:
        return
    # Of the step, which a batch script is none of: SLURM_NTASKS is what the job has asked for.
    step = [os.environ.get(f"SLURM_STEP_NUM_{name}") for name in ("TASKS", "NODES")]
    if step == [str(num_processes * num_nodes), str(num_nodes)]:
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]
        os.environ["NODE_RANK"] = os.environ["SLURM_NODEID"]
        nodes = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
        first = SLURMEnvironment.resolve_root_node_address(nodes)
        os.environ.setdefault("MASTER_ADDR", first)
        job = int(os.environ.get("SLURM_JOB_ID", "0"))
        os.environ.setdefault("MASTER_PORT", str(15_000 + job % 10_000))
    elif num_nodes == 1:
        for name in _PLACE & os.environ.keys():
            del os.environ[name]
