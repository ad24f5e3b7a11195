"""Averages of weights, against figures by hand and slow loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.trainer.tiny import make_splits, train_spec
from trainer.averaging import COUNT, mixed, remake_statistics
from trainer.data.batches import build_data
from trainer.encoders import load_encoder
from trainer.errors import CheckpointError
from trainer.models.recognizer import build_recognizer
from trainer.models.weights import read_state_dict
from trainer.session import TRAINER
from trainer.spec import parse_spec, spec_to_dict


def state(weight, steps=3):
    return {"weight": torch.tensor(weight), "steps": torch.tensor(steps)}


def test_means_are_those_by_hand():
    first = state([1.0, 2.0])
    two = mixed(first, 1, state([3.0, 8.0], steps=9), name="b")
    assert two["weight"].tolist() == [2.0, 5.0]
    three = mixed(two, 2, state([5.0, -4.0]), name="c")
    assert three["weight"].tolist() == [3.0, 2.0]
    assert three["weight"].dtype == torch.float64
    assert three["steps"].item() == 3
    with pytest.raises(CheckpointError, match=r"d.ckpt: must be of the network .* differs in weig"):
        mixed(first, 1, state([1.0, 2.0, 3.0]), name="d.ckpt")


def test_statistics_made_anew_are_those_of_a_slow_loop():
    generator = torch.Generator().manual_seed(1)
    norm = nn.BatchNorm2d(2)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), norm).eval()
    batches = [torch.randn(n, 1, 3, 3, generator=generator) for n in (4, 4, 2)]
    with torch.no_grad():
        norm.running_mean.fill_(7.0)
        remake_statistics(model, batches)
        means, variances = [], []
        for batch in batches:
            values_CN = model[0](batch).permute(1, 0, 2, 3).reshape(2, -1)
            mean_C1 = values_CN.sum(1, keepdim=True) / values_CN.shape[1]
            means.append(mean_C1[:, 0])
            variances.append(((values_CN - mean_C1) ** 2).sum(1) / (values_CN.shape[1] - 1))
    assert torch.allclose(norm.running_mean, sum(means) / 3, atol=1e-6)
    assert torch.allclose(norm.running_var, sum(variances) / 3, atol=1e-6)
    assert not model.training
    assert norm.momentum == 0.1


class Shop:
    """A pretrained network, and checkpoints that lie around it."""

    def __init__(self, folder, **changes):
        self.folder = folder
        splits = make_splits(folder)
        self.nested = train_spec(splits, folder / "run", **changes) | {"evaluate.topk": 1}
        self.spec = parse_spec(self.nested, "train")
        torch.manual_seed(4)
        self.start = build_recognizer(self.spec).eval().state_dict()

    def file(self, name, *, seed, size, sign=1.0):
        """A checkpoint that differs from the start by noise, its head by a sign too."""
        generator = torch.Generator().manual_seed(seed)
        moved = {
            key: value + size * torch.randn(value.shape, generator=generator)
            if value.is_floating_point() and "running" not in key
            else value.clone()
            for key, value in self.start.items()
        }
        if "embedder.net.0.weight" in moved:
            for part in ("weight", "bias"):
                moved[f"embedder.net.0.{part}"] = moved[f"embedder.last_linear.{part}"]
        for key in moved:
            if key.startswith("embedder."):
                moved[key] = sign * moved[key]
        payload = {"state_dict": moved, "spec": spec_to_dict(self.spec), "class_names": ["a", "b"]}
        torch.save(payload, self.folder / name)
        return self.folder / name

    def evaluate(self, file):
        where = {"evaluate.checkpoint": str(file), "results_dir": str(self.folder / "e")}
        return TRAINER.evaluate(self.nested | where)["metrics"]["val_precision_at_1"]

    def embed(self, model, split="query"):
        data = build_data(self.spec, "cpu", need_train=False)
        return model(data.eval_batches(split, 16))


def remake_slowly(model, data):
    """Make statistics of batch norm anew by a plain pass in training mode."""
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    with torch.no_grad():
        for images, _ in data.train_batches(0):
            model(images)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Shop(tmp_path_factory.mktemp("shop"))


def test_the_greedy_order_is_that_of_a_slow_loop_and_the_file_gives_its_embeddings(shop):
    files = [shop.file(f"{n}.ckpt", seed=n, size=0.02 if n < 3 else 0.4) for n in range(5)]
    out = shop.folder / "mean.ckpt"
    told = TRAINER.average(shop.nested, files, out)

    # A loop over plain means of the files themselves, statistics from a plain pass in training mode.
    data = build_data(shop.spec, "cpu")

    def measured(chosen, name):
        states = [read_state_dict(files[n]) for n in chosen]
        mean = {k: sum(s[k].double() for s in states) / len(states) for k in states[0]}
        model = build_recognizer(shop.spec)
        model.load_state_dict(mean)
        if len(chosen) > 1:
            remake_slowly(model, data)
        payload = {"state_dict": model.state_dict(), "spec": spec_to_dict(shop.spec)}
        torch.save(payload, shop.folder / name)
        return shop.evaluate(shop.folder / name)

    kept, value = [0], measured([0], "loop.ckpt")
    assert told["alone"] == pytest.approx(value)
    values = []
    for number in range(1, 5):
        values.append(measured([*kept, number], "loop.ckpt"))
        if values[-1] >= value:
            kept, value = [*kept, number], values[-1]
    assert told["values"] == pytest.approx(values)
    assert told["kept"] == kept
    assert 1 < len(kept) < 5  # both happen
    assert told["value"] == pytest.approx(value)
    assert told["statistics"] == "made anew"
    measured(kept, "loop.ckpt")
    encoders = [
        load_encoder(f, shop.spec, torch.device("cpu")) for f in (out, shop.folder / "loop.ckpt")
    ]
    mine, slow = (shop.embed(encoder) for encoder in encoders)
    assert abs(mine - slow).max() < 1e-5
    content = torch.load(out, weights_only=True)
    assert (content[COUNT], content["class_names"]) == (len(kept), ["a", "b"])


def test_statistics_are_of_pictures_as_large_as_training_ends_with(tmp_path):
    shop = Shop(tmp_path, model__input_width=80, model__input_height=64)
    slow, data = build_recognizer(shop.spec), build_data(shop.spec, "cpu")  # which never grow
    slow.load_state_dict(shop.start)
    remake_slowly(slow, data)
    shop.start = {key: value.clone() for key, value in slow.state_dict().items()}
    files = [shop.file(f"w{n}.ckpt", seed=n, size=0.001) for n in range(2)]
    out = shop.folder / "grown.ckpt"
    told = TRAINER.average(shop.nested | {"dataset.first_size": 0.5}, files, out)
    assert told["kept"] == [0, 1]
    states = [read_state_dict(file) for file in files]
    slow.load_state_dict({k: sum(s[k].double() for s in states) / 2 for k in states[0]})
    remake_slowly(slow, data)
    mean = read_state_dict(out)
    for key, value in slow.state_dict().items():
        assert torch.allclose(mean[key].to(value.dtype), value, atol=1e-5), key


def test_an_average_counts_as_many_times_as_it_has_members(shop):
    files = [shop.file(f"w{n}.ckpt", seed=n, size=0.001) for n in range(3)]
    nested = shop.nested | {"train.train_trunk": False}
    for group, out in ((files[:2], "two.ckpt"), (files, "three.ckpt")):
        told = TRAINER.average(nested, group, shop.folder / out)
        assert told["kept"] == list(range(len(group)))  # so small a change changes no neighbour
        assert told["statistics"] == "kept"
    TRAINER.average(nested, [shop.folder / "two.ckpt", files[2]], shop.folder / "on.ckpt")
    whole, stepwise = (read_state_dict(shop.folder / name) for name in ("three.ckpt", "on.ckpt"))
    for key, value in whole.items():
        assert torch.allclose(value, stepwise[key], atol=1e-6), key


def test_nothing_is_written_where_every_other_one_harms(shop):
    # The head's mean with its opposite is 0, and so are all embeddings: one class in four is hit.
    seeds = (s for s in range(9) if shop.evaluate(shop.file("good.ckpt", seed=s, size=0.3)) > 0.3)
    bad = shop.file("bad.ckpt", seed=next(seeds), size=0.3, sign=-1.0)
    files = [shop.folder / "good.ckpt", bad]
    told = TRAINER.average(shop.nested, files, shop.folder / "none.ckpt")
    assert (told["kept"], told["value"]) == ([0], told["alone"])
    assert not (shop.folder / "none.ckpt").exists()


def test_a_mean_cannot_be_trained_on(shop):
    files = [shop.file(f"w{n}.ckpt", seed=n, size=0.001) for n in range(2)]
    out = shop.folder / "mean2.ckpt"
    TRAINER.average(shop.nested, files, out)
    with pytest.raises(CheckpointError, match="holds weights but no training state"):
        TRAINER.fit(shop.nested, lambda _: True, out)
