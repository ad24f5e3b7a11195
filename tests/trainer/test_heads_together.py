"""One head of a stack ends without the others: stopped, or with a loss that is not finite."""

import math

import pytest
import torch

from tests.trainer.tiny import make_splits, train_spec
from trainer.errors import DivergedError
from trainer.many_heads import fit_heads
from trainer.training import fit

SOFTMAX = {"train.loss.name": "normalized_softmax"}
FROZEN = {
    "dataset.cache": True, "train.train_trunk": False, "dataset.feature_views": 0,
    "train.num_epochs": 2, "train.optim.warmup_iters": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_splits(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))


def spec_of(folders, place, own):
    return train_spec(folders, place) | FROZEN | own


def checkpoint(place):
    return torch.load(place / "ckpt" / "last.ckpt", weights_only=True)


def test_a_head_that_is_stopped_or_diverges_leaves_the_others_alone(folders, tmp_path):
    sharp = {"train.loss.normalized_softmax.temperature": 1e-39}
    owns = [SOFTMAX | own for own in ({}, {"train.num_epochs": 4}, sharp)]
    specs = [spec_of(folders, tmp_path / str(k), own) for k, own in enumerate(owns)]
    told = {0: [], 1: [], 2: []}

    def report(number, entry):
        told[number].append(entry["epoch"])
        return number != 0

    stopped, whole, broken = fit_heads(specs, report)
    assert told[0] == [1]
    assert told[1] == [1, 2, 3, 4]
    assert (stopped["epochs"], whole["epochs"]) == (1, 4)
    with pytest.raises(DivergedError) as alone:
        fit(specs[2] | {"results_dir": str(tmp_path / "alone")}, lambda _: True)
    assert (type(broken), str(broken)) == (DivergedError, str(alone.value))
    ended = [(tmp_path / name / "status.json").read_text().splitlines()[-1] for name in "12"]
    assert "successfully" in ended[0]
    assert str(broken) in ended[1]
    assert all(math.isfinite(v) for v in checkpoint(tmp_path / "1")["loss_state"]["W"].flatten())


def test_a_fault_of_the_caller_ends_all(folders, tmp_path):
    specs = [spec_of(folders, tmp_path / str(k), SOFTMAX) for k in range(2)]

    def report(_number, _entry):
        raise ZeroDivisionError("the caller's")

    with pytest.raises(ZeroDivisionError):
        fit_heads(specs, report)
