"""Heads: trunk features to embeddings, in the two forms and key names of the published trainer."""

import torch
from torch import Tensor, nn


class LinearHead(nn.Module):
    """One linear layer with bias, in_features -> feat_dim.

    The layer is registered as `net.0` and `last_linear` (same tensors), as published files have it.
    """

    def __init__(self, in_features: int, feat_dim: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.embedding_size = feat_dim
        layer = nn.Linear(in_features, feat_dim)
        self.net = nn.Sequential(layer)
        self.last_linear = layer

    def forward(self, feat_NF: Tensor) -> Tensor:
        """Map N x in_features to N x feat_dim, not normalised."""
        out: Tensor = self.last_linear(feat_NF)
        return out


def _bottleneck(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim // 2), nn.GELU(), nn.Linear(dim // 2, dim))


class ResidualHead(nn.Module):
    """Four residual MLPs, LayerNorm and a linear layer; the embedding keeps the feature size.

    Published as the "dual head", though it has one path.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_features = dim
        self.embedding_size = dim
        self.classifier_feat = _bottleneck(dim)
        self.classifier_feat2 = _bottleneck(dim)
        self.classifier_feat3 = _bottleneck(dim)
        self.classifier_feat4 = _bottleneck(dim)
        self.embedding_fc = nn.Sequential(nn.LayerNorm(dim, eps=1e-5), nn.Linear(dim, dim))

    def forward(self, feat_NF: Tensor) -> Tensor:
        """Map N x dim to N x dim, not normalised."""
        x_NF = feat_NF
        for block in (
            self.classifier_feat,
            self.classifier_feat2,
            self.classifier_feat3,
            self.classifier_feat4,
        ):
            x_NF = torch.add(x_NF, block(x_NF))
        out: Tensor = self.embedding_fc(x_NF)
        return out
