"""Heads against the published counts, key names and a recomputation by hand."""

import pytest
import torch
from torch.nn import functional

from trainer.models.heads import LinearHead, ResidualHead


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_linear_head_has_the_published_count_and_both_names_of_one_layer():
    head = LinearHead(2048, 256)
    assert parameters(head) == 524_544
    state = head.state_dict(keep_vars=True)
    assert set(state) == {"net.0.weight", "net.0.bias", "last_linear.weight", "last_linear.bias"}
    assert state["net.0.weight"] is state["last_linear.weight"]


def test_linear_head_is_one_matrix_product():
    head = LinearHead(5, 3).requires_grad_(False)
    x = torch.randn(4, 5)
    expected = [
        [
            sum(head.net[0].weight[o, i] * x[n, i] for i in range(5)) + head.net[0].bias[o]
            for o in range(3)
        ]
        for n in range(4)
    ]
    assert torch.allclose(head(x), torch.tensor(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("dim", "count"),
    [(192, 186_048), (384, 740_736), (448, 1_007_552), (480, 1_156_320), (1024, 5_252_096)],
)
def test_residual_head_has_the_published_counts(dim, count):
    with torch.device("meta"):
        head = ResidualHead(dim)
    assert parameters(head) == count == 5 * dim * dim + 9 * dim
    assert head.embedding_size == dim


def test_residual_head_recomputed_from_its_published_keys():
    torch.manual_seed(0)
    head = ResidualHead(6).double()
    state = {k: v.normal_() for k, v in head.state_dict().items()}
    x = torch.randn(3, 6, dtype=torch.float64)
    y = x
    for block in ("classifier_feat", "classifier_feat2", "classifier_feat3", "classifier_feat4"):
        hidden = y @ state[f"{block}.0.weight"].T + state[f"{block}.0.bias"]
        gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        y = y + gelu @ state[f"{block}.2.weight"].T + state[f"{block}.2.bias"]
    y = functional.layer_norm(
        y, (6,), state["embedding_fc.0.weight"], state["embedding_fc.0.bias"], eps=1e-5
    )
    y = y @ state["embedding_fc.1.weight"].T + state["embedding_fc.1.bias"]
    assert torch.allclose(head(x), y, rtol=1e-12, atol=1e-12)
    assert len(state) == 4 * 4 + 4
