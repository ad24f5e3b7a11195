"""Losses over masks, against pytorch-metric-learning's over lists of pairs."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import normalize

from tests.trainer.waits import count_waits
from trainer import masked_losses
from trainer.config.loss import LOSSES, MINED_LOSSES
from trainer.losses import build_loss
from trainer.masked_losses import MaskedLoss
from trainer.spec import parse_spec
from trainer.training import build_module

CLASSES, DIM = 6, 7

VALUES = {
    "triplet": [
        {"train.optim.triplet_loss_margin": 0.7, "train.smooth_loss": False},
        {"train.optim.triplet_loss_margin": 0.15, "train.smooth_loss": True},
    ],
    "contrastive": [
        {"train.loss.contrastive.pos_margin": 0.4, "train.loss.contrastive.neg_margin": 1.2}
    ],
    "multi_similarity": [
        {"train.loss.multi_similarity.alpha": 3.0, "train.loss.multi_similarity.base": 0.2}
    ],
    "ntxent": [{"train.loss.ntxent.temperature": 0.2}, {"train.loss.ntxent.temperature": 0.03}],
    "arcface": [{"train.loss.arcface.margin": 50.0, "train.loss.label_smoothing": 0.2}],
    "subcenter_arcface": [{"train.loss.subcenter_arcface.sub_centers": 2}],
    "proxy_anchor": [{"train.loss.proxy_anchor.margin": 0.3}],
    "normalized_softmax": [{"train.loss.normalized_softmax.temperature": 0.3}],
}
BATCHES = {
    "classes of several sizes": [0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4],
    "one class": [2] * 12,
    "no class twice": [0, 1, 2, 3, 4, 5],
    "one pair": [0, 0, 1],
}


def built(name, keys, memory=0):
    """A loss and its miner with values other than the defaults."""
    torch.manual_seed(4)
    spec = parse_spec(
        {
            "train.loss.name": name,
            "train.optim.miner_function_margin": 0.35,
            "train.batch_size": 12,
            "dataset.num_instance": 2,
            "train.loss.memory_size": memory,
            **keys,
        },
        "train",
        is_complete=False,
    )
    return build_loss(spec, CLASSES, DIM)


def by_lists(loss, miner, emb, labels):
    return loss(emb, labels, None if miner is None else miner(emb, labels))


def embeddings(count, seed, spread=1.0):
    rows = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    return (normalize(torch.ones(1, DIM)) + spread * rows).requires_grad_()


def assert_same(loss, other, compute, expected, labels, seeds, spread=1.0):
    """Value and gradients over several batches of two copies of a loss."""
    for seed in seeds:
        emb = embeddings(len(labels), seed, spread)
        twin = emb.detach().clone().requires_grad_()
        value, wanted = compute(emb, labels), expected(twin, labels)
        assert value.item() == pytest.approx(wanted.item(), rel=2e-5, abs=1e-6)
        value.backward()
        wanted.backward()
        assert torch.allclose(emb.grad, twin.grad, rtol=2e-4, atol=2e-5)
    for own, given in zip(loss.parameters(), other.parameters(), strict=True):
        assert torch.allclose(own.grad, given.grad, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("name", "keys"), [(n, k) for n, many in VALUES.items() for k in many])
def test_values_and_gradients_are_the_librarys(name, keys, batch):
    loss, miner = built(name, keys)
    other = copy.deepcopy(loss)
    masked = MaskedLoss(name, loss, miner, DIM)
    labels = torch.tensor(BATCHES[batch])
    for spread in (1.0, 0.05):
        assert_same(
            loss,
            other,
            masked,
            lambda e, y: by_lists(other, miner, e, y),
            labels,
            (0, 1, 2),
            spread,
        )


@pytest.mark.parametrize("name", MINED_LOSSES)
def test_a_memory_is_compared_with_and_goes_round_as_the_librarys(name):
    loss, miner = built(name, VALUES[name][0], memory=20)
    other = copy.deepcopy(loss)
    labels = torch.tensor(BATCHES["classes of several sizes"])
    masked = MaskedLoss(name, loss, miner, DIM)
    # Batches of 12 fill the 20 places in the second, which lies around the end of the ring.
    assert_same(
        loss, other, masked, lambda e, y: by_lists(other, miner, e, y), labels, (0, 1, 2, 3, 4)
    )
    assert torch.equal(loss.embedding_memory, other.embedding_memory)
    assert loss.get_extra_state() == other.get_extra_state()


def test_more_triplets_than_fit_are_made_by_lists(monkeypatch):
    loss, miner = built("triplet", {})
    labels = torch.tensor(BATCHES["classes of several sizes"])
    emb = embeddings(len(labels), 1)
    masked = MaskedLoss("triplet", loss, miner, DIM)
    monkeypatch.setattr(masked_losses, "MOST_TRIPLETS", 12**3 - 1)
    with count_waits() as waits:
        value = masked(emb, labels)
    assert waits["nonzero"] > 0
    assert value.item() == pytest.approx(by_lists(loss, miner, emb, labels).item())


@pytest.mark.parametrize(
    ("name", "memory"), [*((name, 0) for name in LOSSES), *((name, 20) for name in MINED_LOSSES)]
)
def test_nothing_waits_for_the_device(name, memory):
    loss, miner = built(name, {}, memory)
    labels = torch.tensor(BATCHES["classes of several sizes"])
    masked = MaskedLoss(name, loss, miner, DIM)
    for seed in range(3):
        with count_waits() as waits:
            masked(embeddings(len(labels), seed), labels).backward()
        assert not waits


@pytest.mark.parametrize("name", LOSSES)
def test_a_training_step_waits_for_a_look_at_the_loss_alone(name):
    spec = parse_spec(
        {
            "model.backbone": "timm/test_resnet", "model.input_height": 32, "model.input_width": 32,
            "train.batch_size": 12, "dataset.num_instance": 2, "train.loss.name": name,
            "train.optim.name": "AdamW", "train.clip_grad_norm": 3.0, "train.ema_decay": 0.9,
        },
        "train",
        is_complete=False,
    )  # fmt: skip
    device, sizes = torch.device("cpu"), SimpleNamespace(num_classes=CLASSES, num_batches=4)
    module = build_module(spec, sizes, device)
    # What a GPU computes with.
    module.masked = MaskedLoss(name, module.loss, module.miner, module.model.embedding_size)
    labels = torch.tensor(BATCHES["classes of several sizes"])
    images = torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    module.note_batch(images, labels)
    with count_waits() as waits:
        module.training_step((images, labels), 0).backward()
        module.configure_gradient_clipping(module.optimizer)
        module.optimizer.step()
        module.count_step()
        module.optimizer.zero_grad()
    # On a GPU only every 16th step looks at it.
    assert waits == {"item": 1}


def test_another_network_forgets_what_was_compiled(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda part: calls.append("compile") or part.forward)
    monkeypatch.setattr(torch.compiler, "reset", lambda: calls.append("reset"))
    sizes = SimpleNamespace(num_classes=CLASSES, num_batches=4)
    for trunk in ("test_resnet", "test_resnet", "test_convnext", "test_resnet"):
        given = {"model.backbone": f"timm/{trunk}", "train.compile": True}
        spec = parse_spec(given, "train", is_complete=False)
        assert build_module(spec, sizes, torch.device("cpu")).is_compiled
    assert calls[-6:] == ["compile", "compile", "reset", "compile", "reset", "compile"]
