"""Losses of many heads at once, against pytorch-metric-learning's, one head after another."""

import pytest
import torch

from trainer.losses import build_loss
from trainer.spec import parse_spec
from trainer.stacked_losses import stack_losses

CLASSES, BATCH, SIZES = 7, 12, (5, 9, 6)


def losses_of(name, keys):
    """One loss a head, each with values and class vectors of its own."""
    found = []
    for number, (size, own) in enumerate(zip(SIZES, keys, strict=True)):
        torch.manual_seed(number)
        spec = parse_spec({"train.loss.name": name, **own}, "train", is_complete=False)
        found.append(build_loss(spec, CLASSES, size)[0])
    return found


def embeddings(size, seed):
    return torch.randn(BATCH, size, generator=torch.Generator().manual_seed(seed))


CASES = {
    "normalized_softmax": [
        {"train.loss.normalized_softmax.temperature": t, "train.loss.label_smoothing": s}
        for t, s in ((0.03, 0.0), (0.2, 0.25), (0.7, 0.1))
    ],
    "arcface": [
        {"train.loss.arcface.margin": m, "train.loss.arcface.scale": s, "train.loss.label_smoothing": p}
        for m, s, p in ((0.0, 8.0, 0.0), (40.0, 30.0, 0.2), (90.0, 64.0, 0.0))
    ],
    "subcenter_arcface": [
        {"train.loss.subcenter_arcface.margin": m, "train.loss.subcenter_arcface.sub_centers": 2}
        for m in (10.0, 28.6, 60.0)
    ],
    "proxy_anchor": [
        {"train.loss.proxy_anchor.margin": m, "train.loss.proxy_anchor.alpha": a}
        for m, a in ((0.0, 8.0), (0.1, 32.0), (0.6, 90.0))
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shared", [False, True], ids=["own labels", "shared labels"])
def test_losses_and_gradients_are_those_of_each_head_alone(name, shared):
    losses = losses_of(name, CASES[name])
    rng = torch.Generator().manual_seed(5)
    # Classes 5 and 6 never come, as in a batch of few classes.
    labels_HB = torch.randint(0, 5, (len(SIZES), BATCH), generator=rng)
    if shared:
        labels_HB = labels_HB[:1].expand(len(SIZES), -1)
    expected, gradients = [], []
    for number, (loss, size) in enumerate(zip(losses, SIZES, strict=True)):
        emb = embeddings(size, number).requires_grad_()
        value = loss(emb, labels_HB[number], None)
        value.backward()
        expected.append(value.detach())
        gradients.append([emb.grad, *(p.grad.clone() for p in loss.parameters())])
        loss.zero_grad()
    most = max(SIZES)
    padded = [
        torch.nn.functional.pad(embeddings(size, number), (0, most - size))
        for number, size in enumerate(SIZES)
    ]
    emb_HBD = torch.stack(padded).requires_grad_()
    losses_H = stack_losses(name, losses, SIZES)(emb_HBD, labels_HB)
    losses_H.sum().backward()
    torch.testing.assert_close(losses_H, torch.stack(expected), rtol=1e-5, atol=1e-5)
    for number, (loss, size) in enumerate(zip(losses, SIZES, strict=True)):
        own_BD = emb_HBD.grad[number]
        torch.testing.assert_close(own_BD[:, :size], gradients[number][0], rtol=1e-4, atol=1e-5)
        assert not own_BD[:, size:].any()
        (vectors,) = loss.parameters()
        torch.testing.assert_close(vectors.grad, gradients[number][1], rtol=1e-4, atol=1e-5)


def test_losses_over_pairs_are_left_to_their_own_modules():
    assert stack_losses("triplet", [], [4]) is None
