"""Runs on features, against Lightning's loop and against loops written out."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss, TripletMarginLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner

from trainer import checkpoints
from trainer.data.folder import scan_folder
from trainer.data.sampler import PKSampler
from trainer.distributed import Rank
from trainer.features.loop import FeatureLoop
from trainer.isolation import quiet_lightning
from trainer.module import EpochBatches
from trainer.probing import probe
from trainer.session import TRAINER
from trainer.spec import parse_spec
from trainer.training import build_parts, fit, load_features


def load(folder, name="last"):
    return checkpoints.load(folder / "run" / "ckpt" / f"{name}.ckpt")


def pictures_of(folder, mean=0.5, std=0.25):
    """All pictures, normalised, by Pillow and numpy alone."""
    rows = [np.asarray(Image.open(folder.root / p), dtype=np.float32) for p in folder.paths]
    return torch.from_numpy((np.stack(rows) / 255 - mean) / std).permute(0, 3, 1, 2)


@pytest.mark.parametrize("loss", ["triplet", "normalized_softmax"])
def test_a_run_on_features_is_a_run_on_pictures_written_out(frozen, splits, tmp_path, loss):
    spec = frozen(
        train__num_epochs=3, train__seed=3, train__loss__name=loss, train__optim__name="SGD",
        train__optim__embedder__base_lr=0.02, train__optim__embedder__momentum=0.8,
        train__optim__embedder__weight_decay=1e-3, train__optim__warmup_factor=1.0,
        train__loss__base_lr=0.05, dataset__pixel_mean=[0.5], dataset__pixel_std=[0.25],
    )  # fmt: skip
    fit(spec, lambda _: True)
    TRAINER.save_start(spec, tmp_path / "start.ckpt")
    start = torch.load(tmp_path / "start.ckpt", weights_only=True)["state_dict"]
    parsed = parse_spec(spec, "train")
    torch.manual_seed(3)
    _, module = build_parts(parsed, torch.device("cpu"), share=Rank())
    trunk, head = module.model.trunk.eval(), module.model.embedder
    assert torch.equal(head.last_linear.weight, start["embedder.last_linear.weight"])
    if loss == "triplet":
        criterion, miner = TripletMarginLoss(margin=0.3, smooth_loss=True), MultiSimilarityMiner()
    else:
        criterion, miner = NormalizedSoftmaxLoss(4, 16), None
        criterion.load_state_dict(module.loss.state_dict())
    groups = [
        {"params": [head.last_linear.weight], "weight_decay": 1e-3},
        {"params": [head.last_linear.bias]},
        {"params": list(criterion.parameters()), "weight_decay": 0.0, "lr": 0.05},
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.8, weight_decay=5e-4)
    folder = scan_folder(splits["train"])
    pictures, labels = pictures_of(folder), torch.arange(32) // 8
    for epoch in range(3):
        for indices in PKSampler(labels.numpy(), 16, 4, 3).batches(epoch):
            with torch.no_grad():
                features = trunk(pictures[indices])
            emb, y = head(features), labels[indices]
            optimizer.zero_grad()
            value = criterion(emb, y, miner(emb, y)) if miner else criterion(emb, y)
            value.backward()
            optimizer.step()
    trained = load(tmp_path)["state_dict"]
    moved = (start["embedder.last_linear.weight"] - head.last_linear.weight).abs().max()
    assert moved > 1e-3
    for name in ("weight", "bias"):
        expected = getattr(head.last_linear, name)
        torch.testing.assert_close(
            trained[f"embedder.last_linear.{name}"], expected.detach(), rtol=0, atol=1e-5
        )
    assert all(torch.equal(trained[k], start[k]) for k in trained if k.startswith("trunk."))


VARIANTS = {
    "plain": {},
    "accumulated": {"train__accumulate_grad_batches": 2, "train__batch_size": 8},
    "uneven accumulation": {"train__accumulate_grad_batches": 3, "train__batch_size": 4},
    "clipped": {"train__clip_grad_norm": 0.01, "train__optim__name": "SGD"},
    "running mean": {"train__ema_decay": 0.9, "train__loss__name": "arcface"},
    "bfloat16": {"train__precision": "bf16"},
    "scheduled": {"train__optim__warmup_iters": 3, "train__optim__steps": [2]},
    "class vectors alone": {"train__train_embedder": False, "train__loss__name": "proxy_anchor"},
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", VARIANTS)
def test_the_loop_does_what_lightning_does(frozen, name):
    spec = parse_spec(frozen(train__num_epochs=3, **VARIANTS[name]), "train")
    states = []
    for is_lightning in (False, True):
        torch.manual_seed(1)
        data, module = build_parts(spec, torch.device("cpu"), share=Rank())
        load_features(data, module, use_bf16=False)
        use_bf16, accumulate = spec.train.precision == "bf16", spec.train.accumulate_grad_batches
        if is_lightning:
            ender = pl.Callback()
            ender.on_train_epoch_end = lambda _, module: module.end_epoch()
            with quiet_lightning():
                pl.Trainer(
                    accelerator="cpu", devices=1, max_epochs=3, logger=False, callbacks=[ender],
                    accumulate_grad_batches=accumulate, enable_checkpointing=False,
                    enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
                    precision="bf16-mixed" if use_bf16 else "32-true",
                ).fit(module, EpochBatches(data, module))  # fmt: skip
        else:
            reporter = SimpleNamespace(
                begin=lambda _: None,
                end_batch=lambda _: None,
                end_epoch=lambda module: module.end_epoch(),
            )
            loop = FeatureLoop(data, max_epochs=3, use_bf16=use_bf16, accumulate=accumulate)
            loop.fit(module, reporter)
        states.append(
            {**module.evaluated.state_dict(), **module.loss.state_dict(prefix="loss.")}
            | {"rates": torch.tensor(list(module.learning_rates().values()))}
            | {"step": torch.tensor(module.progress.step)}
        )
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-5, atol=1e-6)


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(frozen, tmp_path):
    seen = []
    whole = frozen(train__num_epochs=6, dataset__feature_views=2, train__ema_decay=0.9)
    fit(whole, lambda m: seen.append(m) or True)
    expected = load(tmp_path)
    half = whole | {"results_dir": str(tmp_path / "half")}
    first, second = [], []
    fit(half, lambda m: first.append(m) or len(first) < 3)
    fit(half, lambda m: second.append(m) or True, tmp_path / "half" / "ckpt" / "last.ckpt")
    assert [m["replayed"] for m in second] == [True] * 3 + [False] * 3
    assert [m["metrics"] for m in second] == [m["metrics"] for m in seen]
    found = checkpoints.load(tmp_path / "half" / "ckpt" / "last.ckpt")
    for part in ("state_dict", "raw_state_dict", "loss_state"):
        assert all(torch.equal(found[part][k], expected[part][k]) for k in expected[part])


@pytest.mark.parametrize(
    "matched", [{}, {"dataset__flip_average": True, "dataset__matching": "prototypes"}]
)
def test_checkpoints_are_whole_models(frozen, tmp_path, matched):
    seen = []
    changes = {"train__loss__name": "proxy_anchor", **matched}
    receipt = fit(
        frozen(train__num_epochs=4, dataset__feature_views=2, **changes),
        lambda m: seen.append(m) or True,
    )
    best = seen[receipt["best"]["epoch"] - 1]
    spec = frozen(**changes)
    evaluated = TRAINER.evaluate(
        spec | {"evaluate.checkpoint": str(tmp_path / "run" / "ckpt" / "best.ckpt"),
                "evaluate.topk": 1}
    )  # fmt: skip
    for name in ("val_precision_at_1_class_mean", "val_precision_at_1_query_mean"):
        assert evaluated["metrics"][name] == pytest.approx(best["metrics"][name], abs=1e-6)
    assert load(tmp_path)["progress"]["epoch"] == 4
    assert [entry["epoch"] for entry in load(tmp_path)["history"]] == [1, 2, 3, 4]


def test_a_head_can_be_continued_by_training_the_whole_network(frozen, tmp_path):
    receipt = fit(frozen(train__num_epochs=2), lambda _: True)
    assert receipt["epochs"] == 2
    own = {
        "results_dir": str(tmp_path / "whole"), "train.train_trunk": True, "train.num_epochs": 1,
        "model.pretrained_model_path": str(tmp_path / "run" / "ckpt" / "best.ckpt"),
    }  # fmt: skip
    fit(frozen() | own, lambda _: True)
    before = load(tmp_path, "best")["state_dict"]
    after = checkpoints.load(tmp_path / "whole" / "ckpt" / "last.ckpt")["state_dict"]
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("trunk."))


def test_the_receipt_reads_the_features(frozen):
    receipt = fit(
        frozen(dataset__feature_views=2, train__num_epochs=1, dataset__prob=0.3), lambda _: True
    )
    features, applied = receipt["features"], receipt["applied"]
    assert (features["views"], features["trunk"]) == (2, "timm/test_resnet")
    assert applied["dataset.feature_views"] == 2
    assert applied["dataset.prob"] == 0.3
    assert applied["model.input_height"] == 32
    assert applied["model.input_channels"] == 3
    assert applied["dataset.pixel_std"] == [0.226, 0.226, 0.226]
    assert applied["dataset.sampling"] == "classes"
    assert applied["train.train_trunk"] is False
    assert applied["train.num_epochs"] == 1


def test_minus_one_runs_the_trunk_in_every_epoch(frozen):
    receipt = fit(frozen(dataset__feature_views=-1, train__num_epochs=1), lambda _: True)
    assert receipt["features"] is None
    assert receipt["applied"]["dataset.prob"] == 0.5


def test_a_frozen_trunk_that_differs_from_its_running_mean_sees_pictures(frozen, tmp_path):
    both = frozen(train__ema_decay=0.9, train__num_epochs=1) | {"train.train_trunk": True}
    fit(both, lambda _: True)
    path = tmp_path / "run" / "ckpt" / "last.ckpt"
    payload = checkpoints.load(path)
    spec = parse_spec(frozen(train__ema_decay=0.9), "train")
    parts = [
        build_parts(given, torch.device("cpu"), share=Rank(), payload=payload)[1].takes_features
        for given in (spec, parse_spec(frozen(), "train"))
    ]
    assert parts == [False, True]


def test_the_probe_measures_epochs_on_features(frozen):
    found = probe(frozen(dataset__feature_views=2))
    assert found["feature_views"] == 2
    assert found["seconds_per_epoch"] < 5
    assert probe(frozen() | {"train.train_trunk": True})["feature_views"] is None


def test_a_report_that_says_stop_ends_the_run_with_its_checkpoint(frozen, tmp_path):
    seen = []
    receipt = fit(frozen(train__num_epochs=50), lambda m: seen.append(m) or len(seen) < 7)
    assert receipt["epochs"] == len(seen) == 7
    assert load(tmp_path)["progress"]["epoch"] == 7


def test_checkpoints_cost_little(frozen, tmp_path, monkeypatch):
    written, save = [], checkpoints.save
    monkeypatch.setattr(
        checkpoints, "save", lambda *given: written.append(given[1]) or save(*given)
    )
    began = time.monotonic()
    fit(frozen(train__num_epochs=40), lambda _: True)
    # Best and last at the start, at the end, and once in each interval of two seconds.
    allowed = 2 + 2 + 2 * (time.monotonic() - began) / 2
    assert len(written) <= allowed
    assert load(tmp_path)["progress"]["epoch"] == 40
