"""Folded norms give the outputs, gradients and statistics of the layers they were."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from trainer.models.folded_norms import find_foldable, fold_norms

SIDE = 48


def drawn(name, seed=3):
    """A trunk whose norms have statistics, scales and shifts unlike fresh ones."""
    torch.manual_seed(seed)
    trunk = timm.create_model(name, pretrained=False, num_classes=0)
    for part in trunk.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value, low, high in (
                (part.weight, 0.5, 1.5), (part.bias, -0.3, 0.3),
                (part.running_mean, -0.3, 0.3), (part.running_var, 0.5, 2.0),
            ):  # fmt: skip
                value.data.uniform_(low, high)
    return trunk


def gradients(trunk, images):
    out = trunk(images)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return out.detach(), {name: value.grad for name, value in trunk.named_parameters()}


def keep_statistics(trunk):
    """What `train.batch_norm: keep` does."""
    trunk.train()
    for part in trunk.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("tf_efficientnet_lite0", 49),
        ("mobilenetv3_small_100", 34),
        ("resnet18", 20),
        ("densenet121", 59),
        ("efficientnet_b0", 49),
    ],
)
def test_outputs_and_gradients_are_those_of_the_plain_layers(name, least):
    plain = drawn(name)
    folded = copy.deepcopy(plain)
    names = find_foldable(folded, (3, SIDE, SIDE))
    assert len(names) == least
    fold_norms(folded, names)
    images = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    found = []
    for trunk in (plain, folded):
        keep_statistics(trunk.double())
        torch.manual_seed(1)  # of what it drops
        found.append(gradients(trunk, images))
    (wanted, wanted_grads), (got, got_grads) = found
    assert torch.allclose(got, wanted, rtol=1e-10, atol=1e-12)
    assert list(got_grads) == list(wanted_grads)
    for key, grad in wanted_grads.items():
        assert (got_grads[key] - grad).abs().max() <= 1e-10 * grad.abs().max() + 1e-13, key


def test_one_channel_by_hand():
    trunk = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)).eval()
    conv, norm = trunk
    assert find_foldable(trunk, (1, 2, 2)) == (("0", "1"),)
    fold_norms(trunk, (("0", "1"),))
    for value, number in (
        (conv.weight, 3.0), (conv.bias, 5.0), (norm.weight, 10.0), (norm.bias, 7.0),
        (norm.running_mean, 2.0), (norm.running_var, 4.0),
    ):  # fmt: skip
        value.data.fill_(number)
    # 3 times 4 and 5 are 17; less the mean of 2, over the deviation of 2, are 7.5.
    assert trunk(torch.full((1, 1, 1, 1), 4.0)).item() == pytest.approx(82.0)
    assert torch.equal(norm(torch.ones(1, 1, 1, 1)), torch.ones(1, 1, 1, 1))


def test_norms_that_learn_statistics_are_left_as_they_are():
    plain = drawn("resnet18").train()
    folded = copy.deepcopy(plain)
    fold_norms(folded, find_foldable(folded, (3, SIDE, SIDE)))
    images = torch.randn(4, 3, SIDE, SIDE)
    assert torch.equal(folded(images), plain(images))
    for key, value in plain.state_dict().items():
        assert torch.equal(folded.state_dict()[key], value), key


def test_looking_for_them_leaves_the_trunk_and_chance_alone():
    trunk = drawn("tf_efficientnet_lite0")
    trunk.blocks[2].eval()
    state = copy.deepcopy(trunk.state_dict())
    modes = [part.training for part in trunk.modules()]
    torch.manual_seed(5)
    find_foldable(trunk, (3, SIDE, SIDE))
    after = torch.rand(1)
    torch.manual_seed(5)
    assert after == torch.rand(1)
    assert modes == [part.training for part in trunk.modules()]
    assert list(trunk.state_dict()) == list(state)
    assert all(torch.equal(trunk.state_dict()[key], value) for key, value in state.items())


class ReadTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        maps = self.conv(images)
        return (self.norm(maps) + maps).mean((2, 3))


class Shared(ReadTwice):
    def forward(self, images):
        return (self.norm(self.conv(images)) + self.norm(self.conv(images + 1))).mean((2, 3))


@pytest.mark.parametrize("kind", [ReadTwice, Shared])
def test_a_convolution_that_is_read_twice_is_left_as_it_is(kind):
    trunk = kind().eval()
    images = torch.randn(2, 3, SIDE, SIDE)
    before = trunk(images)
    assert find_foldable(trunk, (3, SIDE, SIDE)) == ()
    assert type(trunk.conv) is nn.Conv2d
    assert torch.equal(trunk(images), before)


def test_a_copy_computes_with_its_own_norms():
    trunk = drawn("resnet18").eval()
    fold_norms(trunk, find_foldable(trunk, (3, SIDE, SIDE)))
    copied = copy.deepcopy(trunk)
    images = torch.randn(2, 3, SIDE, SIDE)
    wanted = trunk(images)
    for part in trunk.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.bias.data.add_(100.0)
    assert torch.equal(copied(images), wanted)
    assert not torch.allclose(trunk(images), wanted)


def test_exporters_see_the_plain_layers():
    plain = drawn("resnet18").eval()
    folded = copy.deepcopy(plain)
    fold_norms(folded, find_foldable(plain, (3, SIDE, SIDE)))
    images = torch.randn(2, 3, SIDE, SIDE)
    for see in (
        lambda trunk: [n.kind() for n in torch.jit.trace(trunk, images).inlined_graph.nodes()],
        lambda trunk: [str(n.target) for n in torch.export.export(trunk, (images,)).graph.nodes],
    ):
        assert see(folded) == see(plain)
        assert any("batch_norm" in kind for kind in see(folded))
