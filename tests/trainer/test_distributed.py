import json
import os
import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml
from torch import nn

from tests.trainer.tiny import make_splits, train_spec
from trainer import checkpoints
from trainer.distributed import exchanged, from_first, gathered, own_share, share_statistics
from trainer.embedding import embed

ROWS, DIM, WORLD = 16, 6, 2


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class _PairsAndClasses(nn.Module):
    """A loss over all pairs of a batch that also has weights of its own."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(4, 3))

    def forward(self, emb, labels):
        sign = 1.0 - 2.0 * (labels[:, None] == labels[None, :])
        pairs = nn.functional.softplus(sign * (emb @ emb.T)).mean()
        return pairs + nn.functional.cross_entropy(emb @ self.vectors.T, labels)


def _model_loss_and_batch():
    torch.manual_seed(0)
    labels = torch.arange(ROWS) % 4
    return nn.Linear(DIM, 3), _PairsAndClasses(), torch.randn(ROWS, DIM), labels


class _Both(nn.Module):
    """Model and loss in one module, as Lightning hands them to DDP."""

    def __init__(self, model, loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, images, labels):
        emb, labels = gathered(self.model(images), labels)
        return self.loss(emb, labels)


def _gradients_of_a_share(rank, port, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    model, loss, images, labels = _model_loss_and_batch()
    both = nn.parallel.DistributedDataParallel(_Both(model, loss))
    own = slice(rank * ROWS // WORLD, (rank + 1) * ROWS // WORLD)
    value = both(images[own], labels[own])
    value.backward()
    facts = {
        "loss": value.item(),
        "gradients": {name: p.grad for name, p in both.module.named_parameters()},
        "exchanged": exchanged(rank),
        "first": from_first(rank + 10),
        "embedded": _embedded(rank),
    }
    torch.save(facts, f"{folder}/{rank}.pt")
    dist.barrier()  # gloo's threads of one abort where the other has gone
    dist.destroy_process_group()


def _embedded(rank):
    """Pictures embedded by a model that has seen other batches in each process."""
    model = nn.BatchNorm2d(3)
    generator = torch.Generator().manual_seed(rank)
    model(torch.randn(8, 3, 2, 2, generator=generator) * (1 + rank))
    share_statistics(model)
    pictures = torch.randn(7, 3, 2, 2, generator=torch.Generator().manual_seed(9))
    return embed(nn.Sequential(model, nn.Flatten()), own_share(pictures.split(2)))


def test_two_processes_compute_the_loss_and_gradient_of_the_whole_batch(tmp_path):
    # Imported once for both; gradients in parallel bring the compiler in.
    mp.set_forkserver_preload(["trainer.embedding", "torch._dynamo"])
    mp.start_processes(
        _gradients_of_a_share, args=(_free_port(), str(tmp_path)), nprocs=WORLD,
        start_method="forkserver",
    )  # fmt: skip
    model, loss, images, labels = _model_loss_and_batch()
    both = _Both(model, loss)
    value = both(images, labels)
    value.backward()
    for rank in range(WORLD):
        facts = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert facts["loss"] == pytest.approx(value.item(), rel=1e-5)
        assert facts["exchanged"] == [0, 1]
        assert facts["first"] == 10
        # One process alone, with the first one's statistics.
        assert (facts["embedded"] == _embedded(0)).all()
        for name, parameter in both.named_parameters():
            assert torch.allclose(facts["gradients"][name], parameter.grad, atol=1e-5), name


def _started(command, **variables):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def _srun(command):
    """Start two tasks with the variables of `srun --ntasks-per-node=2`."""
    step = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    step |= {
        "SLURM_NODEID": "0",
        "SLURM_STEP_NODELIST": "localhost",
        "MASTER_PORT": str(_free_port()),
    }
    return [_started(command, SLURM_LOCALID=str(task), **step) for task in range(2)]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="two processes on the CPU are tested")
@pytest.mark.parametrize(("batch_norm", "by"), [("update", ""), ("keep", ""), ("keep", "srun")])
def test_a_run_of_two_processes_ends_with_one_set_of_files(tmp_path, batch_norm, by):
    from trainer.actions.evaluate import evaluate  # the processes of the test above need neither
    from trainer.spec import parse_spec

    splits = make_splits(tmp_path / "pictures")
    nested = train_spec(
        splits, tmp_path / "out", train__batch_size=8, train__num_epochs=2,
        train__batch_norm=batch_norm,
    )  # fmt: skip
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(nested))
    command = [sys.executable, "-m", "trainer.cli", "train", "-e", str(tmp_path / "spec.yaml")]
    command += ["train.num_gpus=2"]
    tasks = _srun(command) if by else [_started(command)]
    printed = "".join(task.communicate(timeout=300)[1] for task in tasks)
    assert not any(task.returncode for task in tasks), printed
    assert "training in 2 processes on the CPU" in printed
    folder = tmp_path / "out" / "train"
    lines = [json.loads(line) for line in (folder / "status.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    last = folder / "ckpt" / "last.ckpt"
    held = checkpoints.load(last)
    assert held["progress"]["step"] == 2 * (32 // (8 * 2))
    means = [v for k, v in held["state_dict"].items() if k.endswith("running_mean")]
    assert all(bool(mean.any()) == (batch_norm == "update") for mean in means)
    common = {key: value for key, value in nested.items() if not key.startswith("train.")}
    asked = common | {"results_dir": str(tmp_path), "evaluate.checkpoint": str(last)}
    measured = evaluate(parse_spec(asked, "evaluate"))["metrics"]
    assert measured["val_precision_at_1"] == lines[-1]["value"]
