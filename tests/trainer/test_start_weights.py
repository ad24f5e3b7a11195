"""Start weights as a file: what a training of the spec begins with, and evaluate takes."""

from __future__ import annotations

import torch

from tests.trainer.tiny import make_splits, train_spec
from trainer.models.weights import read_state_dict
from trainer.session import TRAINER

STILL = {
    f"train.optim.{part}.{name}": 1e-30
    for part in ("trunk", "embedder")
    for name in ("base_lr", "weight_decay", "weight_decay_bias")
}


def test_they_are_what_a_training_starts_from_and_can_be_evaluated(tmp_path):
    spec = train_spec(make_splits(tmp_path), tmp_path / "run") | {"train.num_epochs": 1} | STILL
    TRAINER.save_start(spec, tmp_path / "start.ckpt")
    TRAINER.fit(spec, lambda _: True)
    start = read_state_dict(tmp_path / "start.ckpt")
    trained = read_state_dict(tmp_path / "run" / "ckpt" / "last.ckpt")
    moving = ("running_mean", "running_var", "num_batches_tracked")  # of the pictures, not trained
    names = [name for name in start if not name.endswith(moving)]
    assert names
    for name in names:
        assert torch.allclose(start[name], trained[name], atol=1e-12), name
    evaluation = spec | {
        "evaluate.checkpoint": str(tmp_path / "start.ckpt"),
        "evaluate.topk": 1,
        "results_dir": str(tmp_path / "evaluation"),
    }
    assert 0.0 <= TRAINER.evaluate(evaluation)["metrics"]["val_precision_at_1"] <= 1.0


def test_another_seed_gives_other_weights(tmp_path):
    splits = make_splits(tmp_path)
    for seed in (1, 2):
        spec = train_spec(splits, tmp_path / "run", train__seed=seed)
        TRAINER.save_start(spec, tmp_path / f"{seed}.ckpt")
    one, two = (read_state_dict(tmp_path / f"{seed}.ckpt") for seed in (1, 2))
    assert any(not torch.equal(one[name], two[name]) for name in one)
