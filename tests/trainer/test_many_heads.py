"""Heads that train together end as each would alone: weights, curve, files, receipt."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.trainer.deep_files import make_deep_and_plain
from tests.trainer.tiny import make_splits, train_spec
from trainer import many_heads
from trainer.errors import DeviceMemoryError
from trainer.many_heads import fit_heads
from trainer.training import fit

SOFTMAX = {"train.loss.name": "normalized_softmax"}
HEADS = {
    "default rates": SOFTMAX,
    "hot, long, smoothed, decayed": SOFTMAX
    | {
        "train.loss.normalized_softmax.temperature": 0.3,
        "train.loss.label_smoothing": 0.2,
        "model.feat_dim": 24,
        "train.optim.embedder.base_lr": 3e-3,
        "train.optim.embedder.weight_decay": 0.1,
        "train.loss.base_lr": 0.05,
    },
    "three epochs, one cycle, clipped": SOFTMAX
    | {"train.num_epochs": 3, "train.optim.schedule": "one_cycle", "train.clip_grad_norm": 0.3},
    "other batches": SOFTMAX
    | {"dataset.sampling": "random", "train.batch_size": 16, "train.seed": 11},
    "batches of another size, as many": SOFTMAX
    | {"dataset.sampling": "random", "train.batch_size": 12},
    "other switches": SOFTMAX | {"train.cudnn.deterministic": False, "train.cudnn.benchmark": True},
    "from class means, mean of weights": SOFTMAX
    | {"train.loss.start": "class_means", "train.ema_decay": 0.5},
    "proxies": {"train.loss.name": "proxy_anchor", "train.optim.name": "AdamW"},
    "sub-centres": {"train.loss.name": "subcenter_arcface"},
    "pairs": {"train.loss.name": "triplet"},
    "two batches a step": SOFTMAX | {"train.accumulate_grad_batches": 2},
    "mirror images, prototypes": SOFTMAX
    | {"dataset.flip_average": True, "dataset.matching": "prototypes"},
    "augmented views": SOFTMAX | {"dataset.feature_views": 2},
    "on pictures": SOFTMAX | {"dataset.feature_views": -1},
}
FROZEN = {
    "dataset.cache": True, "train.train_trunk": False, "dataset.feature_views": 0, "train.seed": 7,
    "train.num_epochs": 2, "train.optim.name": "AdamW", "train.optim.warmup_iters": 2,
    "train.optim.embedder.base_lr": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_splits(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def environment(cache, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(cache))
    monkeypatch.setattr(many_heads, "STACKED_CPU", 3)  # so that a kind of heads needs two stacks


def spec_of(folders, place, own):
    return train_spec(folders, place) | FROZEN | own


def checkpoint(place, name="last"):
    return torch.load(place / "ckpt" / f"{name}.ckpt", weights_only=True)


def curve(told):
    return [(entry["epoch"], entry["value"], entry["metrics"]["train_loss"]) for entry in told]


def test_every_head_is_what_it_would_be_alone(folders, tmp_path):
    told = {name: [] for name in HEADS}
    names = list(HEADS)
    specs = [spec_of(folders, tmp_path / f"t{k}", own) for k, own in enumerate(HEADS.values())]
    left = tmp_path / "t0" / "ckpt" / ".best.ckpt.4711.1.tmp"  # by a worker that was killed
    left.parent.mkdir(parents=True)
    left.touch()
    doing = []
    outcomes = fit_heads(
        specs,
        lambda k, entry: told[names[k]].append(entry) or True,
        lambda *what: doing.append(what),
    )
    assert not left.exists()
    assert {what for what, _, _ in doing} == {"decoding pictures", "computing features", ""}
    assert doing[-1] == ("", 0, 0)
    for k, (name, own) in enumerate(HEADS.items()):
        alone = []
        place = tmp_path / f"a{k}"
        receipt = fit(spec_of(folders, place, own), lambda e, seen=alone: seen.append(e) or True)
        for one, other in zip(curve(alone), curve(told[name]), strict=True):
            assert other == pytest.approx(one, abs=1e-4), name
        expected, found = checkpoint(place), checkpoint(tmp_path / f"t{k}")
        for part in ("state_dict", "loss_state"):
            assert expected[part].keys() == found[part].keys()
            for key, value in expected[part].items():
                torch.testing.assert_close(
                    found[part][key], value, rtol=1e-4, atol=1e-4, msg=f"{name}: {key}"
                )
        lines = (tmp_path / f"t{k}" / "status.jsonl").read_text().splitlines()
        took = [json.loads(line)["seconds"] for line in lines]
        first, *later = [entry["seconds"] for entry in told[name]]
        assert first > took[0]  # features, and what else precedes the first epoch
        assert later == took[1:]
        own_place = {"results_dir": ""}
        assert found["spec"] | own_place == expected["spec"] | own_place
        assert found["progress"]["step"] == expected["progress"]["step"]
        assert outcomes[k]["applied"] == receipt["applied"], name
        if name != "on pictures":  # which is in no stack: a head of one is read back once
            assert outcomes[k]["applied"] is told[name][0]["receipt"]["applied"]
        assert outcomes[k]["best"] == receipt["best"]
        assert outcomes[k]["checkpoints"] == receipt["checkpoints"]
        best = checkpoint(tmp_path / f"t{k}", "best")
        assert best["progress"]["epoch"] == receipt["best"]["epoch"]
        assert (tmp_path / f"t{k}" / "status.jsonl").is_file()


def test_heads_that_have_ended_keep_their_outcome_when_the_memory_is_used_up(folders, tmp_path):
    short = SOFTMAX | {"train.num_epochs": 1}
    specs = [
        spec_of(folders, tmp_path / f"t{k}", short | {"train.clip_grad_norm": float(k)})
        for k in range(4)
    ]
    told = []

    def status(k):
        path = tmp_path / f"t{k}" / "status.json"
        return path.read_text() if path.exists() else ""

    def report(number, _):
        told.append(number)
        if len(told) == 3:  # the first of the second stack
            # The checkpoints of the first stack are written meanwhile.
            assert not any("SUCCESS" in status(k) for k in range(4))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return True

    outcomes = fit_heads(specs, report)
    ended, others = told[:2], {*range(4)} - {*told[:2]}
    assert all(outcomes[k]["applied"]["train.clip_grad_norm"] == k for k in ended)
    assert all("SUCCESS" in status(k) for k in ended)
    assert all(isinstance(outcomes[k], DeviceMemoryError) for k in others)


def published_weights(place):
    """A folder as timm writes it for a hub."""
    torch.manual_seed(5)
    place.mkdir()
    about = {
        "tag": "mine", "input_size": [3, 64, 64], "first_conv": "conv1.0", "classifier": "fc",
        "mean": [0.4] * 3, "std": [0.3] * 3, "crop_pct": 0.9, "interpolation": "bilinear",
    }  # fmt: skip
    (place / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": about})
    )
    save_file(
        timm.create_model("test_resnet", num_classes=7).state_dict(), place / "model.safetensors"
    )
    return f"local-dir:{place}"


def test_heads_on_published_weights_begin_with_the_class_vectors_of_a_run_alone(folders, tmp_path):
    still = {"train.loss.base_lr": 1e-9, "train.num_epochs": 1, "train.loss.name": "proxy_anchor"}
    still |= {"model.pretrained_trunk_path": published_weights(tmp_path / "weights")}
    owns = [still, still | {"model.feat_dim": 24}]
    outcomes = fit_heads(
        [spec_of(folders, tmp_path / f"t{k}", own) for k, own in enumerate(owns)], lambda *_: True
    )
    for k, own in enumerate(owns):
        receipt = fit(spec_of(folders, tmp_path / f"a{k}", own), lambda _: True)
        assert outcomes[k]["weights"] == receipt["weights"]
        expected, found = checkpoint(tmp_path / f"a{k}"), checkpoint(tmp_path / f"t{k}")
        torch.testing.assert_close(
            found["loss_state"], expected["loss_state"], rtol=1e-5, atol=1e-6
        )


def test_heads_on_deep_pictures_are_those_on_their_8_bit_copies(tmp_path):
    told, weights = [], []
    for folders in make_deep_and_plain(make_splits, tmp_path):
        place, own = tmp_path / f"runs{len(told)}", SOFTMAX | {"train.loss.start": "class_means"}
        specs = [
            spec_of(folders, place / f"t{k}", own | {"model.feat_dim": size})
            for k, size in enumerate((8, 24))
        ]
        told.append([])
        fit_heads(specs, lambda k, entry, seen=told[-1]: seen.append((k, entry)) or True)
        weights.append([checkpoint(place / f"t{k}") for k in range(2)])
    assert [(k, *curve([e])) for k, e in told[0]] == [(k, *curve([e])) for k, e in told[1]]
    for deep, plain in zip(*weights, strict=True):
        assert deep["spec"]["dataset"]["value_range"] == [0.0, 65535.0]
        for key, value in plain["state_dict"].items():
            torch.testing.assert_close(deep["state_dict"][key], value, rtol=0, atol=0, msg=key)
