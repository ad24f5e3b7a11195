"""The head before the whole network: against single pictures, a plain loop, and a frozen trunk."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from tests.trainer.tiny import make_splits, train_spec
from trainer import checkpoints
from trainer.data.batches import build_data
from trainer.data.sampler import PKSampler
from trainer.errors import CheckpointError, DivergedError, SpecError
from trainer.head_first import prepare_head
from trainer.spec import parse_spec
from trainer.state import capture, restore
from trainer.training import build_module, fit

CPU = torch.device("cpu")
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return make_splits(tmp_path_factory.mktemp("pictures"))


def made(splits, folder, **changes):
    options = {"train__loss__name": "normalized_softmax", "train__optim__embedder__base_lr": 0.01}
    spec = parse_spec(train_spec(splits, folder, **(options | changes)), "train")
    data = build_data(spec, CPU)
    torch.manual_seed(0)
    return spec, data, build_module(spec, data, CPU)


def features_by_hand(module, data):
    """One picture at a time, in evaluation mode."""
    rows = []
    trunk = copy.deepcopy(module.model.trunk).eval()
    for path in data.train.paths:
        pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255.0
        with torch.no_grad():
            rows.append(trunk(((pixels - MEAN) / 0.226)[None])[0])
    return torch.stack(rows)


def test_what_is_done_before_the_first_epoch_is_told(splits, tmp_path):
    told, spec = [], train_spec(splits, tmp_path, train__num_epochs=1, train__head_epochs=3)

    def report(_epoch):
        told.append("epoch")
        return True

    fit(spec, report, progress=lambda *what: told.append(what))
    pictures = [what for what in told if what[0] in ("decoding pictures", "computing features")]
    assert pictures
    assert all(0 < done <= total for _, done, total in pictures)
    heads = [("head epochs", done, 3) for done in (1, 2, 3)]
    assert told[-5:] == [*heads, ("", 0, 0), "epoch"]
    assert told[:-5] == pictures


@pytest.mark.parametrize("crop_share", [0.0, 1.0])
def test_class_vectors_are_the_mean_embeddings_of_the_pictures(splits, tmp_path, crop_share):
    spec, data, module = made(
        splits, tmp_path, train__loss__start="class_means", dataset__crop_share=crop_share
    )
    before = copy.deepcopy(module.model.state_dict())
    prepare_head(module, data, spec, use_bf16=False)
    embeddings = functional.normalize(module.model.embedder(features_by_hand(module, data)))
    for label in range(4):
        mean = embeddings[torch.from_numpy(data.train.labels) == label].mean(0)
        near = functional.cosine_similarity(mean, module.loss.W[:, label], dim=0).item()
        assert near > 0.999999
    after = module.model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert (module.progress.class_start, module.progress.head_epochs) == ("class_means", 0)


@pytest.mark.parametrize(("loss", "images"), [("subcenter_arcface", 2), ("arcface", 1)])
def test_class_vectors_that_are_single_pictures_can_be_trained(tmp_path, loss, images):
    few = make_splits(tmp_path, images=images)
    spec = train_spec(
        few, tmp_path / "run", train__loss__name=loss, train__loss__start="class_means",
        train__train_trunk=False, dataset__feature_views=0, train__num_epochs=20,
        **{f"train__loss__{loss}__scale": 16.0},
    )  # fmt: skip
    told = []
    fit(spec, lambda epoch: told.append(epoch["metrics"]["train_loss"]) or True)
    assert told[-1] < told[0]


def test_head_epochs_are_plain_steps_on_the_features(splits, tmp_path):
    spec, data, module = made(
        splits, tmp_path, train__head_epochs=2, dataset__crop_share=1.0, train__optim__name="SGD",
        train__optim__embedder__momentum=0.5, train__optim__warmup_iters=1, train__batch_size=8,
        train__optim__embedder__weight_decay=0.0, train__optim__embedder__weight_decay_bias=0.0,
        train__loss__base_lr=0.1, train__ema_decay=0.5,
    )  # fmt: skip
    head, loss = copy.deepcopy(module.model.embedder), copy.deepcopy(module.loss)
    trunk = copy.deepcopy(module.model.trunk.state_dict())
    features, labels = features_by_hand(module, data), torch.from_numpy(data.train.labels)
    state = torch.get_rng_state()
    prepare_head(module, data, spec, use_bf16=False)
    assert torch.equal(torch.get_rng_state(), state)
    plain = torch.optim.SGD(
        [{"params": head.parameters(), "lr": 0.01}, {"params": loss.parameters(), "lr": 0.1}],
        momentum=0.5,
    )
    rates = [group["lr"] for group in plain.param_groups]
    step = 0
    sampler = PKSampler(data.train.labels, 8, 4, seed=spec.train.seed)
    for epoch in (2, 3):  # behind the two epochs of the run
        for indices in sampler.batches(epoch):
            share = 0.01 if step == 0 else 1.0  # a warm-up of one step
            for group, rate in zip(plain.param_groups, rates, strict=True):
                group["lr"] = rate * share
            plain.zero_grad()
            loss(head(features[indices]), labels[indices]).backward()
            plain.step()
            step += 1
    assert step == 2 * 32 // 8
    for found, expected in ((module.model.embedder, head), (module.loss, loss)):
        for name, value in expected.state_dict().items():
            torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    left = module.model.trunk.state_dict()
    assert all(torch.equal(left[key], value) for key, value in trunk.items())
    mean = module.running_mean.model.state_dict()
    assert all(torch.equal(mean[k], v) for k, v in module.model.state_dict().items())
    assert module.progress.head_epochs == 2
    assert module.progress.step == 0


def test_a_head_fits_the_pictures_better_than_chance(splits, tmp_path):
    spec, data, module = made(
        splits, tmp_path, train__head_epochs=30, dataset__crop_share=1.0,
        train__loss__start="class_means",
    )  # fmt: skip
    features, labels = features_by_hand(module, data), torch.from_numpy(data.train.labels)
    before = module.loss(module.model.embedder(features), labels).item()
    prepare_head(module, data, spec, use_bf16=False)
    assert module.loss(module.model.embedder(features), labels).item() < before / 2


def test_a_head_that_diverges_says_so(splits, tmp_path):
    spec, data, module = made(
        splits, tmp_path, train__head_epochs=1, train__loss__normalized_softmax__temperature=1e-38
    )
    with pytest.raises(DivergedError, match=r"train\.head_epochs: the loss of head epoch 1"):
        prepare_head(module, data, spec, use_bf16=False)


def head_of_another(splits, folder, *, remembers=None, **changes):
    """Checkpoint of a run with a head of its own; returns its path and module."""
    spec, data, module = made(splits, folder, **changes)
    if remembers is not None:
        module.loss(torch.randn(len(remembers), 16), remembers, None)
    with torch.no_grad():
        for weight in (*module.model.embedder.parameters(), *module.loss.parameters()):
            weight.add_(0.5)
    path = folder / "head.ckpt"
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.save(capture(module, [], spec, data.train.class_names), [path])
    return path, module


def test_a_given_head_is_taken_over_and_the_trunk_is_not(splits, tmp_path):
    path, other = head_of_another(splits, tmp_path / "other", train__ema_decay=0.5)
    spec, data, module = made(
        splits, tmp_path, train__head_checkpoint=str(path), train__ema_decay=0.9
    )
    trunk = copy.deepcopy(module.model.trunk.state_dict())
    prepare_head(module, data, spec, use_bf16=False)
    # What was validated there is taken: its running mean, which stood at the first weights.
    expected = other.evaluated.embedder.state_dict()
    assert all(torch.equal(module.model.embedder.state_dict()[k], v) for k, v in expected.items())
    vectors = other.loss.state_dict()
    assert all(torch.equal(module.loss.state_dict()[k], v) for k, v in vectors.items())
    left = module.model.trunk.state_dict()
    assert all(torch.equal(left[key], value) for key, value in trunk.items())
    mean = module.running_mean.model.state_dict()
    assert all(torch.equal(mean[k], v) for k, v in module.model.state_dict().items())
    assert module.progress.head_from == str(path)
    payload = capture(module, [], spec, data.train.class_names)
    module.progress.head_from = ""
    restore(module, payload, path)
    assert module.progress.head_from == str(path)


@pytest.mark.parametrize("size", [12, 10], ids=["a memory of one size", "of another"])
def test_a_given_head_brings_no_embeddings_of_the_trunk_left_aside(splits, tmp_path, size):
    options = {"train__loss__name": "contrastive", "train__batch_size": 8}
    labels_N = torch.arange(8) // 2
    path, other = head_of_another(
        splits, tmp_path / "other", remembers=labels_N, train__loss__memory_size=12, **options
    )
    options["train__loss__memory_size"] = size
    _, _, fresh = made(splits, tmp_path, **options)
    spec, data, module = made(splits, tmp_path, train__head_checkpoint=str(path), **options)
    prepare_head(module, data, spec, use_bf16=False)
    expected = other.model.embedder.state_dict()
    assert all(torch.equal(module.model.embedder.state_dict()[k], v) for k, v in expected.items())
    emb_ND = torch.randn(8, 16, generator=torch.Generator().manual_seed(4))
    found, alone = (m.loss(emb_ND, labels_N, None).item() for m in (module, fresh))
    assert found == alone > 0
    assert other.loss(emb_ND, labels_N, None).item() != pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize(
    ("other", "own", "words"),
    [
        ({"train__loss__name": "arcface"}, {}, "must be of the normalized_softmax loss, and is of the"),
        ({"model__feat_dim": 8}, {"model__feat_dim": 16}, "does not fit the head of this spec: "),
    ],
)  # fmt: skip
def test_a_head_that_does_not_fit_is_refused(splits, tmp_path, other, own, words):
    path, _ = head_of_another(splits, tmp_path / "other", **other)
    spec, data, module = made(splits, tmp_path, train__head_checkpoint=str(path), **own)
    with pytest.raises(CheckpointError, match=rf"^train\.head_checkpoint: {path}: {words}"):
        prepare_head(module, data, spec, use_bf16=False)


def test_a_head_of_other_classes_or_none_is_refused(splits, tmp_path):
    path, module = head_of_another(splits, tmp_path / "other")
    payload = torch.load(path, weights_only=True)
    payload["class_names"] = payload["class_names"][::-1]
    checkpoints.save(payload, [path])
    spec, data, module = made(splits, tmp_path, train__head_checkpoint=str(path))
    with pytest.raises(CheckpointError, match="must be of the 4 classes that are trained on"):
        prepare_head(module, data, spec, use_bf16=False)
    path.unlink()
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        prepare_head(module, data, spec, use_bf16=False)


def test_class_vectors_cannot_come_from_two_places(splits, tmp_path):
    with pytest.raises(SpecError, match=r"train\.loss\.start: must be random where train\.head_ch"):
        made(splits, tmp_path, train__head_checkpoint="x.ckpt", train__loss__start="class_means")


def test_a_whole_network_trains_on_from_the_head_of_a_frozen_run(splits, tmp_path):
    loss = {"train__loss__name": "proxy_anchor", "train__num_epochs": 1}
    frozen = {"train__train_trunk": False, "dataset__feature_views": 0}
    fit(train_spec(splits, tmp_path / "head", **loss, **frozen), lambda _: True)
    path = tmp_path / "head/ckpt/best.ckpt"
    still = {"train__optim__embedder__base_lr": 1e-9, "train__loss__base_lr": 1e-9}
    spec = train_spec(splits, tmp_path / "whole", train__head_checkpoint=str(path), **loss, **still)
    receipt = fit(spec, lambda _: True)
    assert (receipt["head_from"], receipt["applied"]["train.head_epochs"]) == (str(path), 0)
    head, whole = (
        torch.load(folder / "ckpt/last.ckpt", weights_only=True)
        for folder in (tmp_path / "head", tmp_path / "whole")
    )
    torch.testing.assert_close(whole["loss_state"], head["loss_state"], rtol=1e-5, atol=1e-6)
    names = [name for name in head["state_dict"] if name.startswith("embedder.")]
    assert names
    for name in names:
        torch.testing.assert_close(
            whole["state_dict"][name], head["state_dict"][name], rtol=1e-5, atol=1e-6
        )
