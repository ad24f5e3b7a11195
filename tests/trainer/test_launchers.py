import os

import pytest

from tests.trainer.tiny import make_splits, train_spec
from trainer.config.train import TrainConfig
from trainer.distributed import Rank, find_place
from trainer.errors import SpecError
from trainer.launchers import without_place
from trainer.training import fit

SLURM_JOB = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "search",
    "SLURM_NTASKS": "8",  # `sbatch -n 8`: eight cores are meant
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
NAMES = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR",
         "MASTER_PORT")  # fmt: skip


@pytest.fixture
def told(monkeypatch):
    """Sets variables that a launcher would; what is set in a test is gone after it."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def tell(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return tell


def place(gpus, nodes=1):
    return find_place(TrainConfig(num_gpus=gpus, num_nodes=nodes))


def test_one_device_in_a_job_of_many_tasks(told, tmp_path):
    told(**SLURM_JOB)
    assert place(1) == Rank()
    receipt = fit(train_spec(make_splits(tmp_path / "p"), tmp_path / "out"), lambda _: False)
    assert receipt["epochs"] == 1


def test_a_run_on_one_node_starts_its_own_processes_whatever_the_node_says(told):
    told(**SLURM_JOB, NODE_RANK="3", MASTER_PORT="29500", MASTER_ADDR="head", RANK="3")
    assert place(2) == Rank(world_size=2)
    assert not set(NAMES) & os.environ.keys()
    for tasks in "12":  # Ray itself was started by srun, on one node or two
        told(SLURM_STEP_NUM_TASKS=tasks, SLURM_STEP_NUM_NODES=tasks)
        assert place(2) == Rank(world_size=2)


def test_tasks_of_srun_are_the_processes_of_a_run(told):
    step = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2",
            "SLURM_STEP_NODELIST": "gpu[07-08],gpu11"}  # fmt: skip
    own = {"SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_JOB_ID": "123456789"}
    told(**SLURM_JOB | own | step)
    assert place(2, nodes=2) == Rank(rank=3, local_rank=1, world_size=4)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu07", "21789")
    assert place(2, nodes=2).rank == 3  # asked again


def test_processes_of_another_launcher_keep_their_place(told):
    told(LOCAL_RANK="1", GROUP_RANK="1", MASTER_ADDR="head", MASTER_PORT="29500", **SLURM_JOB)
    assert place(3, nodes=2) == Rank(rank=4, local_rank=1, world_size=6)
    assert os.environ["MASTER_PORT"] == "29500"


def test_more_processes_than_devices_are_refused(told):
    told(LOCAL_RANK="2")
    with pytest.raises(SpecError, match=r"^train\.num_gpus, .* got 2 and 1 in process 2 of node 0"):
        place(2)


def test_a_child_hears_nothing_of_its_surroundings():
    kept = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "NCCL_DEBUG": "WARN", "SLURMY": "no"}
    dropped = dict.fromkeys((*NAMES, *SLURM_JOB, "TORCHELASTIC_USE_AGENT_STORE"), "1")
    assert without_place(kept | dropped) == kept
