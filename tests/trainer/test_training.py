import gc
import json
import math
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch

from tests.count_calls import count_calls
from tests.trainer.deep_files import make_deep_and_plain
from tests.trainer.tiny import make_splits, train_spec
from trainer import checkpoints, training
from trainer.data.cached_sets import list_caches
from trainer.distributed import Rank
from trainer.errors import CheckpointError, DivergedError, InfrastructureError, SpecError
from trainer.models.recognizer import build_recognizer
from trainer.module import RunningMean
from trainer.onnx_model import demand_packages
from trainer.probing import probe
from trainer.spec import parse_spec
from trainer.state import capture, restore
from trainer.training import build_parts, checked_spec, fit


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return make_splits(tmp_path_factory.mktemp("pictures"))


class Reports(list):
    """Keeps what it hears; says stop after `until` reports."""

    def __init__(self, until=None):
        super().__init__()
        self.until = until

    def __call__(self, message):
        self.append(dict(message))
        return self.until is None or len(self) < self.until


def weights(path):
    return checkpoints.load(path)["state_dict"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def told(reports):
    """What must not depend on how often a run was interrupted."""
    return [(r["epoch"], r["value"], r["metrics"], r["checkpoint"]) for r in reports]


def test_four_classes_of_eight_pictures_are_learnt_by_heart(splits, tmp_path):
    by_heart = splits | {"query": splits["train"]}
    spec = train_spec(
        by_heart, tmp_path, train__num_epochs=60, train__optim__trunk__base_lr=3e-3,
        train__optim__embedder__base_lr=3e-3, dataset__crop_scale__least=1.0, dataset__prob=0.0,
    )  # fmt: skip
    seen, began = [], time.process_time()
    receipt = fit(spec, lambda r: seen.append(r["value"]) or r["value"] < 1.0)
    assert time.process_time() - began < 30  # of one core; the wall clock is others' too
    assert receipt["best"]["value"] == 1.0
    assert seen[0] < 1.0
    assert receipt["epochs"] == len(seen) < 60


def test_sigterm_is_the_callers_to_answer(splits, tmp_path):
    """Who heard it may let the epoch end; Lightning would leave in its midst, with exit code 0."""
    heard, reports = [], Reports()

    def report(message):
        if message["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return reports(message)

    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        fit(train_spec(splits, tmp_path, train__num_epochs=3), report)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert [r["epoch"] for r in reports] == [1, 2, 3]


def test_each_epoch_is_written_down_before_it_is_reported(splits, tmp_path):
    def report(message):
        lines = (tmp_path / "status.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["value"] == message["value"]
        assert len(lines) == message["epoch"]
        assert (tmp_path / message["checkpoint"]).is_file()
        reports.append(message)
        return True

    reports = []
    receipt = fit(train_spec(splits, tmp_path, train__num_epochs=3), report)
    assert [r["epoch"] for r in reports] == [1, 2, 3]
    assert not any(r["replayed"] for r in reports)
    metrics = reports[0]["metrics"]
    assert reports[0]["value"] == metrics["val_precision_at_1"]
    assert metrics["val_precision_at_1"] == metrics["val_precision_at_1_class_mean"]
    assert metrics["nonzero_loss_steps"] == 1.0
    assert metrics["train_loss"] > 0
    assert reports[0]["seconds"] > 0
    assert [("receipt" in r) for r in reports] == [True, False, False]
    assert receipt["checkpoints"] == {"last": "ckpt/last.ckpt", "best": "ckpt/best.ckpt"}
    history = checkpoints.load(tmp_path / "ckpt" / "last.ckpt")["history"]
    assert [entry["epoch"] for entry in history] == [1, 2, 3]


def test_best_is_the_first_epoch_of_the_highest_value(splits, tmp_path):
    reports = Reports()
    receipt = fit(train_spec(splits, tmp_path, train__num_epochs=4), reports)
    values = [r["value"] for r in reports]
    best = values.index(max(values)) + 1
    assert receipt["best"] == {"epoch": best, "value": max(values)}
    assert checkpoints.load(tmp_path / "ckpt" / "best.ckpt")["progress"]["epoch"] == best
    assert checkpoints.load(tmp_path / "ckpt" / "last.ckpt")["progress"]["epoch"] == 4
    for number, report in enumerate(reports):
        improves = report["value"] > max(values[:number], default=-1)
        assert report["checkpoint"] == ("ckpt/best.ckpt" if improves else "ckpt/last.ckpt")


VARIANTS = {
    "adam": {},
    "sgd with everything": {
        "train__optim__name": "SGD",
        "train__accumulate_grad_batches": 2,
        "train__clip_grad_norm": 0.5,
        "train__ema_decay": 0.9,
        "train__loss__name": "arcface",
        "train__optim__steps": [2],
    },
    "one cycle, layers": {
        "train__optim__schedule": "one_cycle",
        "train__optim__warmup_share": 0.3,
        "train__optim__layer_decay": 0.8,
        "train__optim__decay_norms": False,
        "train__batch_norm": "keep",
        "train__loss__memory_size": 40,
        "model__pooling": "gem",
    },
    "random batches": {
        "train__loss__name": "normalized_softmax",
        "dataset__sampling": "random",
        "dataset__first_size": 0.5,
        "model__input_width": 64,
        "train__batch_size": 10,
        "train__loss__label_smoothing": 0.1,
        "train__loss__start": "class_means",
        "train__head_epochs": 3,
        "train__ema_decay": 0.5,
    },
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_resumed_run_equals_an_uninterrupted_one_bitwise(splits, tmp_path, changes):
    whole, half, rest = Reports(), Reports(until=2), Reports()
    common = {"train__num_epochs": 3} | changes
    fit(train_spec(splits, tmp_path / "whole", **common), whole)
    fit(train_spec(splits, tmp_path / "parts", **common), half)
    torch.manual_seed(99)
    last = tmp_path / "parts" / "ckpt" / "last.ckpt"
    fit(train_spec(splits, tmp_path / "parts", **common), rest, last)
    assert [r["replayed"] for r in rest] == [True, True, False]
    assert told(rest) == told(whole)
    for name in ("last", "best"):
        one, other = (
            weights(tmp_path / run / "ckpt" / f"{name}.ckpt") for run in ("whole", "parts")
        )
        assert same(one, other)
    lines = (tmp_path / "parts" / "status.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"train__batch_size": 8}, (1, 2, 6)),
        ({"train__batch_size": 4, "train__accumulate_grad_batches": 2}, (1, 4, 6)),
        (
            {"train__batch_size": 4, "train__accumulate_grad_batches": 2}
            | {"train__train_trunk": False, "dataset__feature_views": 0},
            (1, 4, 6),
        ),
    ],
    ids=["a batch a step", "two batches a step", "on features"],
)
def test_a_run_killed_within_an_epoch_goes_on_from_the_step(splits, tmp_path, changes, place):
    common = {
        "train__num_epochs": 3,
        "train__checkpoint_interval": 3,
        "train__checkpoint_interval_unit": "step",
        **changes,
    }
    whole, rest = Reports(), Reports()
    fit(train_spec(splits, tmp_path / "whole", **common), whole)
    last = tmp_path / "parts" / "ckpt" / "last.ckpt"

    def die(message):
        if message["epoch"] == 2:
            raise SystemExit
        return True

    for start in (None, last):  # killed again before the next step that is due
        with pytest.raises(SystemExit):
            fit(train_spec(splits, tmp_path / "parts", **common), die, start)
        progress = checkpoints.load(last)["progress"]
        assert (progress["epoch"], progress["batch"], progress["step"]) == place
    fit(train_spec(splits, tmp_path / "parts", **common), rest, last)
    assert [r["replayed"] for r in rest] == [True, False, False]
    assert [r["value"] for r in rest] == [r["value"] for r in whole]
    assert [r["metrics"] for r in rest] == [r["metrics"] for r in whole]


def test_a_best_of_an_epoch_that_is_trained_again_stays_until_that_has_ended(splits, tmp_path):
    """It has been reported, and `last.ckpt` is written less often."""
    spec = train_spec(splits, tmp_path, train__num_epochs=3)
    last, best = tmp_path / "ckpt" / "last.ckpt", tmp_path / "ckpt" / "best.ckpt"
    contents = []
    for until in (1, 2):
        fit(spec, Reports(until=until), last if contents else None)
        contents.append(last.read_bytes())
    for path, content in zip((last, best), contents, strict=True):
        path.unlink()  # they may be one file
        path.write_bytes(content)

    def die(_message):
        raise SystemExit

    with pytest.raises(SystemExit):
        fit(spec, die, last)
    assert checkpoints.load(best)["progress"]["epoch"] == 2
    reports = Reports(until=2)
    fit(spec, reports, last)
    assert [r["checkpoint"] for r in reports][1] == "ckpt/best.ckpt"


@pytest.mark.parametrize(
    ("loss", "memory", "fits"),
    [("arcface", 0, False), ("triplet", 64, False), ("triplet", 0, True)],
)
def test_a_run_goes_on_with_its_classes_under_their_numbers_alone(tmp_path, loss, memory, fits):
    """One folder is renamed: the vectors of the classes would each mean the next one."""
    splits = make_splits(tmp_path / "pictures", images=4)
    changes = {"train__loss__name": loss, "train__loss__memory_size": memory}
    spec = train_spec(splits, tmp_path / "run", train__num_epochs=1, **changes)
    data, module = build_parts(parse_spec(spec, "train"), torch.device("cpu"), share=Rank())
    module.progress.epoch = 1
    path = tmp_path / "last.ckpt"
    payload = capture(module, [], parse_spec(spec, "train"), data.train.class_names)
    checkpoints.save(payload, [path])
    first = Path(splits["train"]) / "class_00"
    first.rename(first.with_name("late"))
    if fits:
        assert fit(spec, Reports(), path)["epochs"] == 1
        return
    with pytest.raises(
        CheckpointError, match=r"is of 4 others \(number 1 was class_00, is class_01"
    ):
        fit(spec, Reports(), path)


def test_a_finished_run_only_repeats_its_history(splits, tmp_path):
    fit(train_spec(splits, tmp_path), Reports())
    again = Reports()
    (tmp_path / "ckpt" / ".last.ckpt.4711.1.tmp").touch()  # of a worker that was killed
    receipt = fit(train_spec(splits, tmp_path), again, tmp_path / "ckpt" / "last.ckpt")
    assert [r["replayed"] for r in again] == [True, True]
    assert receipt["epochs"] == 2
    assert sorted(p.name for p in (tmp_path / "ckpt").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_resumed_run_takes_the_rates_it_is_asked_for(splits, tmp_path):
    fit(train_spec(splits, tmp_path / "a", train__num_epochs=3), Reports(until=1))
    spec = train_spec(
        splits, tmp_path / "b", train__num_epochs=3, train__optim__trunk__base_lr=7e-4,
        train__optim__trunk__weight_decay=2e-3,
    )  # fmt: skip
    receipt = fit(spec, Reports(), tmp_path / "a" / "ckpt" / "last.ckpt")
    assert receipt["applied"]["train.optim.trunk.base_lr"] == 7e-4
    assert receipt["applied"]["train.optim.trunk.weight_decay"] == 2e-3
    assert (tmp_path / "b" / "ckpt" / "best.ckpt").is_file()


def test_a_checkpoint_of_another_model_or_optimizer_is_refused(splits, tmp_path):
    fit(train_spec(splits, tmp_path / "a"), Reports(until=1))
    last = tmp_path / "a" / "ckpt" / "last.ckpt"
    with pytest.raises(CheckpointError, match="does not fit the model"):
        fit(train_spec(splits, tmp_path / "b", model__feat_dim=8), Reports(), last)
    with pytest.raises(CheckpointError, match=r"train\.optim\.name must be Adam"):
        fit(train_spec(splits, tmp_path / "b", train__optim__name="SGD"), Reports(), last)


def test_false_ends_the_run_after_the_epoch(splits, tmp_path):
    reports = Reports(until=2)
    receipt = fit(train_spec(splits, tmp_path, train__num_epochs=9), reports)
    assert len(reports) == receipt["epochs"] == 2
    assert checkpoints.load(tmp_path / "ckpt" / "last.ckpt")["progress"]["epoch"] == 2


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt, ValueError])
def test_what_a_report_raises_passes_through_and_leaves_nothing_behind(
    splits, tmp_path, ending, monkeypatch
):
    built = []
    original = training.build_module
    monkeypatch.setattr(
        training, "build_module",
        lambda *a, **k: (built.append(weakref.ref(m := original(*a, **k))), m)[1],
    )  # fmt: skip

    def report(message):
        raise ending("out of here")

    state = torch.get_rng_state()
    with pytest.raises(ending) as caught:
        fit(train_spec(splits, tmp_path), report)
    assert caught.value is not None
    assert built[0]() is None  # while the exception is still held
    assert torch.equal(torch.get_rng_state(), state)
    assert (tmp_path / "ckpt" / "last.ckpt").is_file()


def test_runs_in_one_process_do_not_touch_each_other(splits, tmp_path):
    first, second = Reports(), Reports()
    torch.manual_seed(1)
    fit(train_spec(splits, tmp_path / "a"), first)
    torch.manual_seed(2)
    fit(train_spec(splits, tmp_path / "b", train__optim__trunk__base_lr=0.1), Reports())
    expected = torch.get_rng_state()
    fit(train_spec(splits, tmp_path / "c"), second)
    assert told(first) == told(second)
    assert torch.equal(torch.get_rng_state(), expected)


def test_memory_does_not_grow_with_the_number_of_runs(splits, tmp_path):
    def live_tensors():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    fit(train_spec(splits, tmp_path / "a", train__num_epochs=1), Reports())
    before = live_tensors()
    for name in "bc":
        fit(train_spec(splits, tmp_path / name, train__num_epochs=1), Reports())
    assert live_tensors() <= before + 5


def test_seeds_differ_and_repeat(splits, tmp_path):
    runs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        runs[name] = Reports()
        fit(train_spec(splits, tmp_path / name, train__seed=seed), runs[name])
    assert told(runs["a"]) == told(runs["b"])
    assert told(runs["a"]) != told(runs["c"])


CHANGES = {
    "train.optim.gamma": 0.4,
    "train.optim.warmup_factor": 0.3,
    "train.optim.warmup_iters": 3,
    "train.optim.triplet_loss_margin": 0.8,
    "train.optim.embedder.bias_lr_factor": 3.0,
    "train.optim.embedder.base_lr": 1e-3,
    "train.optim.embedder.momentum": 0.3,
    "train.optim.embedder.weight_decay": 0.01,
    "train.optim.embedder.weight_decay_bias": 0.02,
    "train.optim.trunk.bias_lr_factor": 7.7,
    "train.optim.trunk.base_lr": 2e-3,
    "train.optim.trunk.momentum": 0.6,
    "train.optim.trunk.weight_decay": 0.03,
    "train.optim.trunk.weight_decay_bias": 0.04,
    "train.optim.miner_function_margin": 0.5,
}


def receipt_and_weights(splits, folder, changes):
    reports = Reports()
    spec = train_spec(
        splits, folder, train__num_epochs=2, train__optim__name="SGD", train__optim__steps=[1],
        train__optim__warmup_iters=2, train__smooth_loss=False,
    )  # fmt: skip
    fit(spec | changes, reports)
    return reports[0]["receipt"], weights(folder / "ckpt" / "last.ckpt")


def test_the_searched_parameters_arrive_and_change_the_weights(splits, tmp_path):
    """What each one changes alone is `test_every_parameter.py`'s."""
    receipt, changed = receipt_and_weights(splits, tmp_path / "changed", CHANGES)
    assert {key: receipt["applied"][key] for key in CHANGES} == pytest.approx(CHANGES)
    plain, plain_weights = receipt_and_weights(splits, tmp_path / "plain", {})
    others = set(plain["applied"]) - set(CHANGES)
    assert {k: plain["applied"][k] for k in others} == {k: receipt["applied"][k] for k in others}
    assert not same(changed, plain_weights)


def test_the_receipt_says_what_was_built(splits, tmp_path):
    reports = Reports()
    fit(
        train_spec(
            splits, tmp_path, train__num_epochs=1, train__ema_decay=0.5, train__clip_grad_norm=2.0,
            train__accumulate_grad_batches=2, train__seed=5, dataset__prob=0.25,
        ),
        reports,
    )  # fmt: skip
    receipt = reports[0]["receipt"]
    expected = {
        "train.batch_size": 16, "dataset.num_instance": 4, "model.input_height": 32,
        "model.input_width": 32, "model.input_channels": 3, "model.feat_dim": 16,
        "model.backbone": "timm/test_resnet", "train.num_epochs": 1, "train.ema_decay": 0.5,
        "train.clip_grad_norm": 2.0, "train.accumulate_grad_batches": 2, "train.seed": 5,
        "train.precision": "auto", "train.loss.name": "triplet", "train.optim.name": "Adam",
        "train.compile": False, "train.cudnn.deterministic": True, "dataset.prob": 0.25,
        "dataset.gaussian_blur.kernel": [3, 3], "train.train_trunk": True,
        "train.optim.schedule": "steps", "train.optim.layer_decay": 1.0,
        "train.optim.decay_norms": True, "train.batch_norm": "update",
        "dataset.sampling": "classes", "model.pooling": "default",
    }  # fmt: skip
    assert receipt["applied"] | expected == receipt["applied"]
    assert "train.optim.warmup_share" not in receipt["applied"]
    assert receipt["trunk_parameters"] == 372688
    assert receipt["threads"] == (None if torch.cuda.is_available() else torch.get_num_threads())
    assert receipt["peak_memory_mib"] > 0
    assert "train.optim.trunk.momentum" not in receipt["applied"]


def test_the_receipt_reads_layers_norms_and_course_back(splits, tmp_path):
    reports = Reports()
    spec = train_spec(
        splits, tmp_path, train__num_epochs=1, train__optim__layer_decay=0.65,
        train__optim__decay_norms=False, train__optim__schedule="one_cycle",
        train__optim__warmup_share=0.35, train__optim__trunk__base_lr=7e-4,
        train__optim__trunk__bias_lr_factor=2.5, train__batch_norm="keep",
        train__loss__name="arcface", dataset__sampling="random",
        dataset__crop_scale__least=0.4, dataset__crop_scale__greatest=0.9, model__pooling="gem",
        train__head_epochs=2, train__loss__start="class_means",
    )  # fmt: skip
    fit(spec, reports)
    receipt = reports[0]["receipt"]
    expected = {
        "train.optim.layer_decay": 0.65, "train.optim.decay_norms": False,
        "train.optim.schedule": "one_cycle", "train.optim.warmup_share": 0.35,
        "train.optim.trunk.base_lr": 7e-4, "train.optim.trunk.bias_lr_factor": 2.5,
        "train.batch_norm": "keep", "dataset.sampling": "random",
        "dataset.crop_scale.least": 0.4, "dataset.crop_scale.greatest": 0.9,
        "model.pooling": "gem", "train.head_epochs": 2,
        "train.loss.start": "class_means",
    }  # fmt: skip
    assert receipt["applied"] | expected == receipt["applied"]
    assert "dataset.num_instance" not in receipt["applied"]
    assert not {"train.optim.gamma", "train.optim.warmup_iters"} & set(receipt["applied"])
    shares = {g["name"]: g.get("lr_scale") for g in receipt["groups"]}
    assert shares["trunk.0"] == pytest.approx(0.65**4)
    assert shares["trunk_bias.4"] == shares["trunk_norm.4"] == 1.0
    rates = reports[0]["metrics"]
    assert {n for n in rates if n.startswith("lr_")} == {
        "lr_trunk", "lr_trunk_bias", "lr_trunk_norm", "lr_embedder", "lr_embedder_bias", "lr_loss",
    }  # fmt: skip


def test_a_batch_of_32_has_a_loss_above_0_in_every_step(tmp_path):
    splits = make_splits(tmp_path / "pictures", classes=12, images=8)
    reports = Reports()
    fit(train_spec(splits, tmp_path / "run", train__batch_size=32, train__num_epochs=1), reports)
    assert reports[0]["metrics"]["nonzero_loss_steps"] == 1.0


def test_one_class_in_a_batch_teaches_nothing(splits, tmp_path):
    reports = Reports()
    fit(train_spec(splits, tmp_path, train__batch_size=4, train__num_epochs=1), reports)
    assert reports[0]["metrics"]["nonzero_loss_steps"] == 0.0
    assert reports[0]["metrics"]["train_loss"] == 0.0


def test_rates_that_blow_up_end_as_a_divergence(splits, tmp_path):
    spec = train_spec(
        splits, tmp_path, train__num_epochs=5, train__optim__name="SGD",
        train__optim__trunk__base_lr=1.0, train__optim__warmup_iters=1,
        train__optim__embedder__base_lr=1.0, train__optim__trunk__weight_decay=1.0,
        train__optim__trunk__momentum=1.0, train__loss__name="normalized_softmax",
        train__loss__base_lr=10.0, train__loss__normalized_softmax__temperature=1e-30,
    )  # fmt: skip
    with pytest.raises(DivergedError, match="must be finite") as caught:
        fit(spec, Reports())
    assert caught.value.kind == "diverged"


def test_a_frozen_trunk_keeps_weights_and_statistics(splits, tmp_path):
    spec = train_spec(splits, tmp_path, train__num_epochs=1, train__train_trunk=False)
    torch.manual_seed(0)
    receipt = fit(spec, Reports())
    trained = weights(tmp_path / "ckpt" / "last.ckpt")
    spec = train_spec(
        splits, tmp_path / "one", train__num_epochs=1, train__train_trunk=False,
        train__optim__embedder__base_lr=0.1,
    )  # fmt: skip
    fit(spec, Reports())
    other = weights(tmp_path / "one" / "ckpt" / "last.ckpt")
    for key in trained:
        assert torch.equal(trained[key], other[key]) == key.startswith("trunk."), key
    means = [v for k, v in trained.items() if k.endswith("running_mean")]
    assert means
    assert all(not mean.any() for mean in means)  # as they were made
    assert receipt["applied"]["train.train_trunk"] is False
    assert "train.optim.trunk.base_lr" not in receipt["applied"]


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_kept_statistics_stay_as_loaded_while_their_layers_learn(splits, tmp_path, ema_decay):
    common = {"train__num_epochs": 2, "train__ema_decay": ema_decay}
    fit(train_spec(splits, tmp_path / "before", **common), Reports(until=1))
    before = weights(tmp_path / "before" / "ckpt" / "last.ckpt")
    start = tmp_path / "start.pth"
    torch.save(before, start)
    common["model__pretrained_model_path"] = str(start)
    reports = Reports()
    fit(train_spec(splits, tmp_path / "kept", train__batch_norm="keep", **common), reports)
    fit(train_spec(splits, tmp_path / "updated", **common), Reports())
    kept, updated = (
        weights(tmp_path / name / "ckpt" / "last.ckpt") for name in ("kept", "updated")
    )
    statistics = [k for k in before if "running_" in k or k.endswith("num_batches_tracked")]
    assert len(statistics) > 30
    assert all(torch.equal(kept[key], before[key]) for key in statistics)
    assert not any(torch.equal(updated[key], before[key]) for key in statistics)
    learnt = [k for k in before if k not in statistics]
    assert not any(torch.equal(kept[key], before[key]) for key in learnt)
    assert reports[0]["receipt"]["applied"]["train.batch_norm"] == "keep"


def test_kept_statistics_need_batch_norms(splits, tmp_path):
    spec = train_spec(
        splits, tmp_path, model__backbone="timm/test_convnext", train__batch_norm="keep"
    )
    with pytest.raises(SpecError, match=r"batch_norm: must be update for timm/test_convnext"):
        fit(spec, Reports())


def test_the_running_mean_is_what_is_validated_and_kept(splits, tmp_path):
    spec = train_spec(splits, tmp_path, train__num_epochs=1, train__ema_decay=0.5)
    fit(spec, Reports())
    payload = checkpoints.load(tmp_path / "ckpt" / "last.ckpt")
    assert not same(payload["state_dict"], payload["raw_state_dict"])


def test_bfloat16_is_for_the_model_alone(splits, tmp_path, monkeypatch):
    from pytorch_metric_learning.losses import TripletMarginLoss

    seen = []
    compute = TripletMarginLoss.compute_loss

    def watched(self, emb, *rest):
        seen.append((emb.dtype, self.distance(emb, emb).dtype))
        return compute(self, emb, *rest)

    monkeypatch.setattr(TripletMarginLoss, "compute_loss", watched)
    reports = Reports()
    fit(train_spec(splits, tmp_path, train__num_epochs=1, train__precision="bf16"), reports)
    assert set(seen) == {(torch.float32, torch.float32)}
    assert reports[0]["receipt"]["applied"]["train.precision"] == "bf16"
    assert reports[0]["receipt"]["precision"] == "bf16-mixed"


def test_running_mean_by_hand():
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    mean = RunningMean(model, decay=0.5)
    expected = 0.0
    for step, value in enumerate((11.0, 3.0, 7.0), 1):
        model.weight.data.fill_(value)
        mean.update(model, step)
        decay = min(0.5, step / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert mean.model.weight.item() == pytest.approx(expected)


@pytest.mark.parametrize("fixed", ["", "trunk."])
def test_running_mean_moves_every_tensor_of_a_network_once_a_step(splits, tmp_path, fixed):
    spec = parse_spec(train_spec(splits, tmp_path), "train")
    model, drawn = build_recognizer(spec), torch.Generator().manual_seed(3)
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    expected = {name: value.double() for name, value in begun.items()}
    mean = RunningMean(model, decay=0.15, fixed=fixed)
    for step in (1, 2, 3):
        decay = min(0.15, step / (10 + step))
        for tensor in (*model.parameters(), *model.buffers()):  # each once
            tensor.data = (9 * torch.randn(tensor.shape, generator=drawn)).to(tensor.dtype)
        mean.update(model, step)
        for name, value in model.state_dict().items():
            moves = value.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * value if moves else value
    for name, value in mean.model.state_dict().items():
        wanted = begun[name] if fixed and name.startswith(fixed) else expected[name]
        torch.testing.assert_close(value, wanted.to(value.dtype), msg=name)


def test_validation_interval_and_the_last_epoch(splits, tmp_path):
    reports = Reports()
    fit(train_spec(splits, tmp_path, train__num_epochs=5, train__validation_interval=2), reports)
    assert [r["epoch"] for r in reports] == [2, 4, 5]
    lines = [json.loads(line) for line in (tmp_path / "status.jsonl").read_text().splitlines()]
    assert [line["value"] is None for line in lines] == [True, False, True, False, False]
    took = [line["seconds"] for line in lines]
    seconds = [report["seconds"] for report in reports]
    assert seconds[0] > took[0] + took[1]  # the first report includes what came before the epoch
    assert seconds[1:] == pytest.approx([took[2] + took[3], took[4]])
    again = Reports()
    fit(
        train_spec(splits, tmp_path, train__num_epochs=5, train__validation_interval=2),
        again, resume_from=tmp_path / "ckpt" / "last.ckpt",
    )  # fmt: skip
    assert [r["seconds"] for r in again] == pytest.approx([took[0] + took[1], *seconds[1:]])


def test_accumulated_batches_make_one_step(splits, tmp_path):
    spec = train_spec(
        splits, tmp_path, train__num_epochs=2, train__batch_size=8, train__accumulate_grad_batches=3
    )
    fit(spec, Reports())
    progress = checkpoints.load(tmp_path / "ckpt" / "last.ckpt")["progress"]
    assert progress["step"] == 2 * math.ceil(4 / 3)  # 32 pictures: four batches of eight an epoch


def test_query_mean_is_monitored_when_asked(splits, tmp_path):
    reports = Reports()
    spec = train_spec(splits, tmp_path, train__num_epochs=1, train__report_accuracy_per_class=False)
    fit(spec, reports)
    metrics = reports[0]["metrics"]
    assert reports[0]["value"] == metrics["val_precision_at_1_query_mean"]


def test_a_run_needs_a_folder(splits, tmp_path):
    with pytest.raises(SpecError, match="results_dir"):
        fit(train_spec(splits, tmp_path) | {"results_dir": ""}, Reports())


def test_probe_measures_and_leaves_nothing(splits, tmp_path):
    measured = probe(train_spec(splits, tmp_path))
    assert measured["batches_per_epoch"] == 2
    assert measured["seconds_per_epoch"] > measured["validation_seconds"] > 0
    assert measured["images_per_s"] > 0
    sparse = probe(
        train_spec(splits, tmp_path, train__num_epochs=45, train__validation_interval=20)
    )
    share = sparse["validation_seconds"] / measured["validation_seconds"]
    assert share < 0.3  # three validations in 45 epochs: a fifteenth of the time
    each = sparse["epoch_seconds"]
    quick = min(each)
    assert [n for n, took in enumerate(each, start=1) if took > quick] == [20, 40, 45]
    assert sum(each) / 45 == pytest.approx(sparse["seconds_per_epoch"])
    assert measured["peak_memory_mib"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_brief_probe_takes_two_steps_and_the_same_memory(splits, tmp_path):
    told, spec = [], train_spec(splits, tmp_path, train__val_batch_size=1)

    def calls(of, **how):
        return count_calls(lambda: told.append(probe(spec, **how)), of=of)

    assert [calls("training_step"), calls("training_step", brief=True)] == [8, 2]
    fewer = calls("eval_batches") - calls("eval_batches", brief=True)
    assert fewer == 2 * (3 - 1)  # batches of gallery and queries
    assert {frozenset(measured) for measured in told} == {frozenset(told[0])}
    assert all(measured["peak_memory_mib"] > 0 for measured in told)


def test_probe_makes_the_features_that_the_run_then_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    splits = next(make_deep_and_plain(make_splits, tmp_path))
    spec = train_spec(
        splits, tmp_path / "run", train__train_trunk=False, dataset__feature_views=2,
        dataset__cache=True,
    )  # fmt: skip
    probe(spec)
    made = {entry.name for entry in list_caches() if entry.kind == "features"}
    assert len(made) == 3
    fit(spec, Reports())
    assert {entry.name for entry in list_caches() if entry.kind == "features"} == made


def test_a_run_goes_on_from_another_run_under_its_own_spec(splits, tmp_path):
    """The weights and the step are the other's; rates, history and best are its own."""
    first = train_spec(splits, tmp_path / "first", train__num_epochs=4)
    fit(first, Reports(until=2))
    source = tmp_path / "first" / "ckpt" / "last.ckpt"
    spec = train_spec(
        splits, tmp_path / "second", train__num_epochs=4, train__optim__trunk__base_lr=0.0007
    )
    reports = Reports()
    receipt = fit(spec, reports, source, 2)
    assert [(r["epoch"], r["replayed"]) for r in reports] == [(3, False), (4, False)]
    assert receipt["applied"]["train.optim.trunk.base_lr"] == 0.0007
    assert receipt["best"]["epoch"] in (3, 4)
    own = checkpoints.load(tmp_path / "second" / "ckpt" / "last.ckpt")
    assert [entry["epoch"] for entry in own["history"]] == [3, 4]
    steps = checkpoints.load(source)["progress"]["step"]
    assert own["progress"]["step"] == 2 * steps


def test_a_run_goes_on_as_the_other_would_have_under_the_same_spec(splits, tmp_path):
    whole = Reports()
    fit(train_spec(splits, tmp_path / "whole", train__num_epochs=3), whole)
    fit(train_spec(splits, tmp_path / "part", train__num_epochs=3), Reports(until=1))
    rest = Reports()
    source = tmp_path / "part" / "ckpt" / "last.ckpt"
    fit(train_spec(splits, tmp_path / "rest", train__num_epochs=3), rest, source, 1)
    assert [r["value"] for r in rest] == [r["value"] for r in whole[1:]]
    name = "ckpt/last.ckpt"
    assert same(weights(tmp_path / "whole" / name), weights(tmp_path / "rest" / name))


BATCHES = {
    "larger": ({"batch_size": 8}, {"batch_size": 16}, 2),
    "smaller": ({"batch_size": 16}, {"batch_size": 8}, 4),
    "more to a step": ({"batch_size": 8}, {"batch_size": 8, "accumulate_grad_batches": 3}, 2),
}
"""Batches of a run, of one that goes on from it, and the other's steps in an epoch of 32 pictures."""


@pytest.mark.parametrize(("before", "after", "steps"), BATCHES.values(), ids=BATCHES)
def test_a_run_goes_on_with_other_batches_at_the_rates_of_its_own_schedule(
    splits, tmp_path, before, after, steps
):
    first, second = (
        train_spec(
            splits, tmp_path / name, train__num_epochs=5, train__optim__schedule="cosine",
            train__optim__warmup_iters=1, train__optim__trunk__base_lr=2e-3, train__ema_decay=0.9,
            **{f"train__{key}": value for key, value in own.items()},
        )
        for name, own in (("first", before), ("second", after))
    )  # fmt: skip
    fit(first, Reports(until=3))
    reports = Reports()
    fit(second, reports, tmp_path / "first" / "ckpt" / "last.ckpt", 3)
    rates = [1e-3 * (1 + math.cos(math.pi * epoch / 5)) for epoch in (4, 5)]
    assert [r["metrics"]["lr_trunk"] for r in reports] == pytest.approx(rates, abs=1e-9)
    progress = checkpoints.load(tmp_path / "second" / "ckpt" / "last.ckpt")["progress"]
    assert (progress["epoch"], progress["step"]) == (5, 5 * steps)


def test_an_epoch_that_was_begun_with_other_batches_begins_again(splits, tmp_path):
    common = {"train__num_epochs": 3, "train__checkpoint_interval_unit": "step"}

    def die(message):
        raise SystemExit

    # It ends with the second epoch, and its checkpoint is of the midst of it.
    with pytest.raises(SystemExit):
        fit(
            train_spec(
                splits, tmp_path / "a", train__batch_size=8, train__checkpoint_interval=3,
                train__validation_interval=2, **common,
            ),
            die,
        )  # fmt: skip
    last = tmp_path / "a" / "ckpt" / "last.ckpt"
    progress = checkpoints.load(last)["progress"]
    assert (progress["epoch"], progress["batch"], progress["step"]) == (1, 2, 6)
    reports = Reports()
    fit(train_spec(splits, tmp_path / "b", train__batch_size=16, **common), reports, last)
    payload = checkpoints.load(tmp_path / "b" / "ckpt" / "last.ckpt")
    assert [r["epoch"] for r in reports if not r["replayed"]] == [2, 3]
    assert payload["progress"]["step"] == 3 * 2
    taken = {int(state["step"]) for state in payload["optimizer"]["state"].values()}
    assert taken == {6 + 2 * 2}


@pytest.mark.parametrize(("size", "left"), [(8, (1, 1)), (16, (0, 0))])
def test_a_first_epoch_that_was_begun_with_other_batches_begins_again(splits, tmp_path, size, left):
    specs = [
        parse_spec(train_spec(splits, tmp_path, train__batch_size=n), "train") for n in (8, size)
    ]
    begun, going_on = (build_parts(spec, torch.device("cpu"), share=Rank())[1] for spec in specs)
    begun.progress.batch = begun.progress.step = 1
    restore(going_on, capture(begun, [], specs[0], ()), tmp_path)
    assert (going_on.progress.batch, going_on.progress.step) == left


def test_a_checkpoint_of_another_epoch_is_not_started_from(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_PATIENCE_S", 0.2)
    fit(train_spec(splits, tmp_path / "first"), Reports())
    source = tmp_path / "first" / "ckpt" / "last.ckpt"
    for epoch in (1, 3):
        with pytest.raises(InfrastructureError, match=f"of epoch {epoch} to start from, but is of"):
            fit(train_spec(splits, tmp_path / "second"), Reports(), source, epoch)


TWO_TRIALS = """
import os, sys
from pathlib import Path

splits, log = Path(sys.argv[1]), Path(sys.argv[2])

def watch(event, args):
    if event == "open" and str(args[0]).startswith(f"{splits}{os.sep}") and str(args[0])[-4:] == ".png":
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
            file.write(f"{args[0]}\\n")

from tests.trainer.tiny import train_spec
from trainer.data.splits import load_splits
from trainer.spec import parse_spec

children = []
for number in range(2):
    child = os.fork()
    if child == 0:
        sys.addaudithook(watch)
        sources = {name: str(splits / name) for name in ("train", "reference", "query")}
        spec = train_spec(sources, log.parent / str(number), dataset__cache=True, train__num_epochs=1)
        load_splits(parse_spec(spec, "train"))
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_two_trials_at_once_open_each_picture_once_for_its_depth_and_once_for_its_pixels(
    tmp_path, monkeypatch
):
    splits, log = make_splits(tmp_path / "pictures"), tmp_path / "opened"
    root, cache = Path(splits["train"]).parent, str(tmp_path / "cache")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "HPO_CACHE_DIR": cache,
    }
    argv = [sys.executable, "-c", TWO_TRIALS, str(root), str(log)]
    done = subprocess.run(
        argv, check=False, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-400:]
    assert sorted(log.read_text().split()) == sorted([str(p) for p in root.rglob("*.png")] * 2)

    # A training opens none of them again.
    def num_decoded(run):
        spec = train_spec(splits, tmp_path / run, dataset__cache=True, train__num_epochs=1)
        return count_calls(lambda: fit(spec, Reports()), of=("decode_folder", "_extremes"))

    assert num_decoded("elsewhere") == 3
    monkeypatch.setenv("HPO_CACHE_DIR", cache)
    assert num_decoded("run") == 0


def test_growing_pictures_are_proven_by_the_first_batch(splits, tmp_path):
    """The receipt's height is what pictures grow to where the first batch has the first size."""
    reports = Reports()
    spec = train_spec(
        splits, tmp_path, train__num_epochs=3, dataset__first_size=0.4, model__input_height=80,
        model__input_width=96,
    )  # fmt: skip
    applied = fit(spec, reports)["applied"]
    assert applied["dataset.first_size"] == 0.4
    assert (applied["model.input_height"], applied["model.input_width"]) == (80, 96)
    assert [r["epoch"] for r in reports] == [1, 2, 3]


def test_a_network_of_one_size_refuses_growing_pictures(splits, tmp_path):
    spec = train_spec(
        splits, tmp_path, dataset__first_size=0.5, model__backbone="timm/test_vit",
        model__input_height=160, model__input_width=160,
    )  # fmt: skip
    with pytest.raises(SpecError, match=r"dataset.first_size: must be 1 for timm/test_vit.*0\.5"):
        fit(spec, Reports())
    with pytest.raises(SpecError, match=r"dataset.first_size: must be 1 for timm/test_vit.*0\.5"):
        probe(spec)


def test_a_trunk_that_does_not_learn_is_refused_nothing_that_only_learning_needs(splits, tmp_path):
    """Its network has no batch norm, no layers of known order, and pictures of one size."""
    spec = train_spec(
        splits, tmp_path, train__num_epochs=2, model__backbone="timm/pit_ti_224",
        model__input_height=224, model__input_width=224, dataset__first_size=0.5,
        train__batch_norm="keep", train__optim__layer_decay=0.7, train__train_trunk=False,
    )  # fmt: skip
    module = build_parts(checked_spec(spec), torch.device("cpu"), share=Rank())[1]
    assert module.frozen == [module.model.trunk]


def test_a_search_that_could_not_export_its_winner_does_not_begin(splits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    demand_packages(20)  # which torch exports without it
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InfrastructureError, match=r"^onnxruntime, onnxscript: not installed.*pip "):
        probe(train_spec(splits, tmp_path, export__opset_version=21))


def test_probe_counts_the_area_of_growing_pictures(splits, tmp_path):
    """Two epochs, 32 and 80 px: their steps cost about the mean area of those of a whole one."""
    sides = {"model__input_height": 80, "model__input_width": 80, "train__num_epochs": 2}
    whole = probe(train_spec(splits, tmp_path, **sides))
    grown = probe(train_spec(splits, tmp_path, **sides, dataset__first_size=0.4))
    steps = [p["seconds_per_epoch"] - p["validation_seconds"] for p in (whole, grown)]
    each = [took - grown["validation_seconds"] for took in grown["epoch_seconds"]]
    assert each[0] / each[1] == pytest.approx(32 * 32 / (80 * 80))
    per_image = [p["batches_per_epoch"] * 16 / p["images_per_s"] for p in (whole, grown)]
    assert steps[0] == pytest.approx(per_image[0])
    assert steps[1] == pytest.approx(per_image[1] * (32 * 32 + 80 * 80) / 2 / (80 * 80))
