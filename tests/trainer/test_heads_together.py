"""One head of a stack ends without the others: stopped, or with a loss that is not finite."""

import json
import math

import pytest
import torch

from tests.trainer.tiny import make_folders, make_splits, train_spec
from trainer.errors import CheckpointError, DataError, DivergedError, ImageError
from trainer.many_heads import fit_heads
from trainer.training import fit

SOFTMAX = {"train.loss.name": "normalized_softmax"}
ENDS = ("SUCCESS", "FAILURE")
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
    assert stopped["checkpoints"].keys() == whole["checkpoints"].keys() == {"last", "best"}
    receipt = fit(specs[0] | {"results_dir": str(tmp_path / "stopped")}, lambda _: False)
    assert receipt["checkpoints"] == stopped["checkpoints"]
    expected, found = checkpoint(tmp_path / "stopped"), checkpoint(tmp_path / "0")
    assert found["progress"]["epoch"] == len(found["history"]) == 1
    torch.testing.assert_close(found["state_dict"], expected["state_dict"], rtol=1e-4, atol=1e-4)
    with pytest.raises(DivergedError) as alone:
        fit(specs[2] | {"results_dir": str(tmp_path / "alone")}, lambda _: True)
    assert (type(broken), str(broken)) == (DivergedError, str(alone.value))
    ended = [(tmp_path / name / "status.json").read_text().splitlines()[-1] for name in "12"]
    assert "successfully" in ended[0]
    assert str(broken) in ended[1]
    assert all(math.isfinite(v) for v in checkpoint(tmp_path / "1")["loss_state"]["W"].flatten())


def test_a_head_that_cannot_be_made_ready_leaves_the_others_alone(folders, tmp_path):
    sharp = {"train.head_epochs": 1, "train.loss.normalized_softmax.temperature": 1e-39}
    absent = {"train.head_checkpoint": str(tmp_path / "absent.ckpt")}
    owns = [SOFTMAX | own for own in (sharp, {"train.head_epochs": 2}, absent)]
    specs = [spec_of(folders, tmp_path / str(k), own) for k, own in enumerate(owns)]
    told = []
    outcomes = fit_heads(specs, lambda number, entry: told.append((number, entry["epoch"])) or True)
    assert told == [(1, 1), (1, 2)]
    assert outcomes[1]["applied"]["train.head_epochs"] == 2
    for k, kind in ((0, DivergedError), (2, CheckpointError)):
        with pytest.raises(kind) as alone:
            fit(specs[k] | {"results_dir": str(tmp_path / f"alone{k}")}, lambda _: True)
        assert (type(outcomes[k]), str(outcomes[k])) == (kind, str(alone.value))
        texts = [(tmp_path / name / "status.json").read_text() for name in (str(k), f"alone{k}")]
        last = [json.loads(text.splitlines()[-1]) for text in texts]
        assert [one["status"] for one in last] == ["FAILURE", "FAILURE"]
        assert last[0]["message"] == last[1]["message"]


def test_heads_whose_batches_pictures_or_weights_are_wrong_leave_the_others_alone(
    folders, tmp_path
):
    damaged = make_folders(tmp_path / "damaged", classes=4, images=8)
    (damaged / "class_02" / "03.png").write_bytes(b"none")
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    wrong = {
        DataError: {"train.batch_size": 32, "dataset.num_instance": 4},
        ImageError: {"dataset.train_dataset": str(damaged)},
        CheckpointError: {"model.pretrained_trunk_path": str(tmp_path / "other.pth")},
    }
    owns = [SOFTMAX | own for own in (*wrong.values(), {})]
    specs = [spec_of(folders, tmp_path / str(k), own) for k, own in enumerate(owns)]
    told = []
    outcomes = fit_heads(specs, lambda number, entry: told.append((number, entry["epoch"])) or True)
    assert told == [(3, 1), (3, 2)]
    assert outcomes[3]["epochs"] == 2
    for k, kind in enumerate(wrong):
        with pytest.raises(kind) as alone:
            fit(specs[k] | {"results_dir": str(tmp_path / f"alone{k}")}, lambda _: True)
        assert (type(outcomes[k]), str(outcomes[k])) == (kind, str(alone.value))


@pytest.mark.parametrize("loss", ["arcface", "triplet"])
def test_heads_of_other_classes_are_as_alone(folders, tmp_path, loss):
    """30 pictures of 3 classes make as many batches of 12 as 32 of 4."""
    fewer = make_folders(tmp_path / "fewer", classes=3, images=10, seed=4)
    same = {"train.loss.name": loss, "train.batch_size": 12}
    owns = [same, same | {"dataset.train_dataset": str(fewer)}]
    specs = [spec_of(folders, tmp_path / str(k), own) for k, own in enumerate(owns)]
    outcomes = fit_heads(specs, lambda _number, _entry: True)
    for k, own in enumerate(owns):
        alone = tmp_path / f"alone{k}"
        receipt = fit(spec_of(folders, alone, own), lambda _: True)
        assert outcomes[k]["best"] == receipt["best"]
        expected, found = checkpoint(alone), checkpoint(tmp_path / str(k))
        for part in ("state_dict", "loss_state"):
            torch.testing.assert_close(found[part], expected[part], rtol=1e-4, atol=1e-4)


def test_a_fault_of_the_caller_ends_the_heads_that_have_not_ended(folders, tmp_path):
    owns = [SOFTMAX | own for own in ({"train.num_epochs": 1}, {"train.num_epochs": 3})]
    specs = [spec_of(folders, tmp_path / str(k), own) for k, own in enumerate(owns)]

    def report(number, _entry):
        if number == 1:
            # Its checkpoints are written while others train; the end waits for them.
            assert "SUCCESS" not in (tmp_path / "0" / "status.json").read_text()
            raise ZeroDivisionError("the caller's")
        return True

    with pytest.raises(ZeroDivisionError):
        fit_heads(specs, report)
    lines = [(tmp_path / name / "status.json").read_text().splitlines() for name in "01"]
    told = [[json.loads(line)["status"] for line in own] for own in lines]
    ends = [[status for status in own if status in ENDS] for own in told]
    assert ends == [["SUCCESS"], ["FAILURE"]]
