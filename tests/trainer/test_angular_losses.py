"""Pictures that lie on their class vector: gradients by hand, and what the library has for others."""

import math

import pytest
import torch
from pytorch_metric_learning import losses

from trainer import angular_losses
from trainer.stacked_losses import stack_losses

CLASSES, DIM, MARGIN, SCALE = 3, 5, 20.0, 8.0
NAMES = {"arcface": "ArcFaceLoss", "subcenter_arcface": "SubCenterArcFaceLoss"}


def built(module, name):
    torch.manual_seed(1)
    options = {"num_classes": CLASSES, "embedding_size": DIM, "margin": MARGIN, "scale": SCALE}
    return getattr(module, NAMES[name])(**options)


def computes(kind, name, loss):
    """A function from embeddings and labels to the loss, by its own module or in a stack of one."""
    if kind == "alone":
        return loss
    stacked = stack_losses(name, [loss], [DIM])
    return lambda emb_ND, labels_N: stacked(emb_ND[None], labels_N[None])[0]


@pytest.mark.parametrize("kind", ["alone", "stacked"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [1, -1], ids=["on its vector", "opposite"])
def test_gradients_of_a_picture_on_its_vector_are_those_by_hand(name, kind, way):
    loss = built(angular_losses, name)
    per_class = loss.W.shape[1] // CLASSES
    unit_D = torch.tensor([0.0, 0.0, -1.0, 0.0, 0.0])  # whose cosine rounding leaves at 1
    with torch.no_grad():  # all vectors of the class, so that the nearest is one of these
        loss.W[:, 2 * per_class :] = way * 3 * unit_D[:, None]
    emb_1D = (2 * unit_D[None]).requires_grad_()
    value = computes(kind, name, loss)(emb_1D, torch.tensor([2]))
    value.backward()
    assert torch.isfinite(emb_1D.grad).all()
    vectors_VD = loss.W.detach().T
    cosines_V = vectors_VD @ unit_D / vectors_VD.norm(dim=1)
    radians = math.radians(MARGIN)
    turned = math.cos(radians) if way == 1 else -1 - radians * math.sin(radians)
    nearest = [cosines_V[c * per_class : (c + 1) * per_class].max().item() for c in range(CLASSES)]
    logits = [SCALE * (turned if c == 2 else nearest[c]) for c in range(CLASSES)]
    total = sum(math.exp(logit) for logit in logits)
    assert value.item() == pytest.approx(math.log(total) - logits[2], rel=1e-4)
    for v, vector_D in enumerate(vectors_VD):
        c = v // per_class
        expected_D = torch.zeros(DIM)
        if c != 2 and cosines_V[v] == nearest[c]:
            share = SCALE * math.exp(logits[c]) / total / vector_D.norm()
            expected_D = share * (unit_D - cosines_V[v] * vector_D / vector_D.norm())
        torch.testing.assert_close(loss.W.grad[:, v], expected_D, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_other_pictures_have_the_librarys_values_and_gradients(name):
    found = []
    for module in (losses, angular_losses):
        loss = built(module, name)
        emb_ND = torch.randn(6, DIM, generator=torch.Generator().manual_seed(2)).requires_grad_()
        value = loss(emb_ND, torch.tensor([0, 1, 2, 0, 1, 1]))
        value.backward()
        found.append([value, emb_ND.grad, loss.W.grad])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert found[0][1].any()
