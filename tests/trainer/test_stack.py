"""Layers of several heads as one tensor: steps of theirs and gradients, against each head alone."""

import pytest
import torch

from trainer.models.heads import LinearHead
from trainer.models.recognizer import Recognizer
from trainer.module import RecognitionModule
from trainer.spec import parse_spec
from trainer.stack import Stack

FEATURES, CLASSES, BATCH = 6, 4, 8


class Trunk(torch.nn.Identity):
    num_features = FEATURES


def modules(sizes, loss="normalized_softmax"):
    made = []
    for number, size in enumerate(sizes):
        torch.manual_seed(number)
        spec = {"train.loss.name": loss, "train.train_trunk": False, "model.feat_dim": size}
        model = Recognizer(Trunk(), LinearHead(FEATURES, size))
        parsed = parse_spec(spec, "train", is_complete=False)
        made.append(
            RecognitionModule(
                parsed, model, num_classes=CLASSES, num_batches=3, takes_features=True
            )
        )
    return made


def batch(heads=None):
    rng = torch.Generator().manual_seed(9)
    shape = (BATCH,) if heads is None else (heads, BATCH)
    labels = torch.randint(0, CLASSES, shape, generator=rng)
    return torch.randn(*shape, FEATURES, generator=rng), labels


@pytest.mark.parametrize("loss", ["normalized_softmax", "triplet", "ntxent"])
@pytest.mark.parametrize("is_shared", [True, False], ids=["one batch", "a batch each"])
def test_gradients_are_those_of_every_module_alone(loss, is_shared):
    sizes = (3, 5, 4)
    feat, labels = batch(None if is_shared else len(sizes))
    alone, stacked = modules(sizes, loss), modules(sizes, loss)
    stack = Stack(stacked, loss)
    for repeat in (1, 2):  # the second adds to the first, as accumulated batches do
        losses_H = stack.backward(feat, labels, share=0.5)
        for number, (one, other) in enumerate(zip(alone, stacked, strict=True)):
            own = (feat, labels) if is_shared else (feat[number], labels[number])
            value = one.loss_of(one.model.embedder(own[0]), own[1])
            (value * 0.5).backward()
            torch.testing.assert_close(losses_H[number], value.detach(), rtol=1e-5, atol=1e-6)
            for (name, p), (_, q) in zip(
                one.named_parameters(), other.named_parameters(), strict=True
            ):
                if p.requires_grad:
                    message = f"{name}, batch {repeat}"
                    torch.testing.assert_close(
                        q.grad, p.grad, rtol=1e-4, atol=1e-6, msg=lambda m, w=message: f"{w}: {m}"
                    )


@pytest.mark.parametrize("is_shared", [True, False], ids=["one batch", "a batch each"])
def test_half_precision_is_that_of_autocast(is_shared):
    sizes = (3, 5)
    feat, labels = batch(None if is_shared else len(sizes))
    alone, stacked = modules(sizes), modules(sizes)
    losses_H = Stack(stacked, "normalized_softmax", use_bf16=True).backward(feat, labels)
    for number, (one, other) in enumerate(zip(alone, stacked, strict=True)):
        own = (feat, labels) if is_shared else (feat[number], labels[number])
        with torch.autocast("cpu", torch.bfloat16):
            emb = one.model.embedder(own[0])
        value = one.loss_of(emb.float(), own[1])
        value.backward()
        torch.testing.assert_close(losses_H[number], value.detach(), rtol=1e-2, atol=1e-2)
        mine, theirs = (m.model.embedder.last_linear.weight.grad for m in (other, one))
        torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=2e-2)
        assert torch.equal(mine, mine.bfloat16().float())


def test_all_embed_at_once_as_each_alone():
    made = modules((3, 5))
    feat, _ = batch()
    expected = [m.model.embedder(feat).detach() for m in made]
    found = Stack(made, "normalized_softmax").embed(feat)
    torch.testing.assert_close([*found], expected)


def test_weights_are_the_modules_own_and_move_with_their_optimizers():
    (module,) = made = modules((4,))
    before = module.model.embedder.last_linear.weight.detach().clone()
    stack = Stack(made, "normalized_softmax")
    torch.testing.assert_close(module.model.embedder.last_linear.weight.detach(), before)
    feat, labels = batch()
    first = stack.backward(feat, labels)
    for group in module.optimizer.param_groups:
        group["lr"] = 0.05
    module.optimizer.step()
    module.optimizer.zero_grad()
    assert not torch.equal(module.model.embedder.last_linear.weight, before)
    alone = module.loss_of(module.model.embedder(feat), labels)
    torch.testing.assert_close(stack.backward(feat, labels)[0], alone.detach())
    assert alone < first[0]


def test_a_stack_holds_and_multiplies_nothing_for_what_shorter_embeddings_lack():
    made = modules((3, 50))
    Stack(made, "normalized_softmax")
    for module in made:
        held = module.model.embedder.last_linear.weight.untyped_storage().nbytes()
        assert held == 4 * FEATURES * (3 + 50 + 1)  # and one row for zeros
