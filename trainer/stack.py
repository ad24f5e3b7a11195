"""The layers of several linear heads in one tensor, so that a step of all is a few operations.

Each head keeps its own module, loss, optimizer and schedule; its layer's weights are a part of the
stack's. Legend: H heads, B pictures, F features, D dimensions of the longest embedding, E of all
embeddings one after another, P = H x D.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.models.heads import LinearHead
from trainer.stacked_losses import padding, stack_losses

if TYPE_CHECKING:
    from trainer.module import RecognitionModule


class Stack:
    """Several modules that train on features with linear heads.

        stack = Stack(modules, "normalized_softmax")
        losses_H = stack.backward(feat_BF, labels_B)    # each module's gradients are there now

    Args:
        modules: each head's layer is moved into the stack.
        loss_name: `train.loss.name` of all of them.
        use_bf16: arithmetic of the layers, as under autocast.
    """

    def __init__(
        self, modules: Sequence[RecognitionModule], loss_name: str, *, use_bf16: bool = False
    ) -> None:
        self._modules = modules
        self._dtype = torch.bfloat16 if use_bf16 else torch.float32
        layers = [_linear(module).last_linear for module in modules]
        self._sizes = [layer.out_features for layer in layers]
        total, num_features = sum(self._sizes), layers[0].in_features
        device = layers[0].weight.device
        # A last row of zeros, which is what the shorter embeddings are padded with.
        self._weight_EF = torch.zeros(total + 1, num_features, device=device)
        self._bias_E = torch.zeros(total + 1, device=device)
        self._weight_grad_EF = torch.zeros(total, num_features, device=device)
        self._bias_grad_E = torch.zeros(total, device=device)
        self._row_of_P, self._place_of_E = padding(self._sizes, device)
        own = (self._weight_EF[:-1], self._bias_E[:-1], self._weight_grad_EF, self._bias_grad_E)
        self._own = list(
            zip(layers, *(torch.split(part, self._sizes) for part in own), strict=True)
        )
        for layer, weight_DF, bias_D, _, _ in self._own:
            for parameter, stacked in ((layer.weight, weight_DF), (layer.bias, bias_D)):
                stacked.copy_(parameter.data)
                parameter.data = stacked
        self._loss = stack_losses(loss_name, [module.loss for module in modules], self._sizes)

    def backward(self, feat_XBF: Tensor, labels_XB: Tensor, *, share: float = 1.0) -> Tensor:
        """Compute the loss of every head on its batch, and add to its gradients.

        Gradients that a head's optimizer has set to None start anew.

        Args:
            feat_XBF: features (B, F) that all heads see, or (H, B, F).
            labels_XB: labels (B,), or (H, B).
            share: of the loss that counts for the gradients, where several batches make a step.

        Returns:
            The losses (H,), without gradient.
        """
        heads = len(self._modules)
        emb_PB = self._forward(feat_XBF).index_select(0, self._row_of_P)
        emb_HBD = emb_PB.view(heads, -1, emb_PB.shape[1]).transpose(1, 2).requires_grad_()
        labels_HB = labels_XB.expand(heads, -1) if labels_XB.ndim == 1 else labels_XB
        losses_H = self._losses(emb_HBD, labels_HB)
        torch.autograd.backward(losses_H.sum() * share)
        if emb_HBD.grad is None:
            raise RuntimeError("the losses of a stack must depend on its embeddings")
        self._add_gradients(feat_XBF, emb_HBD.grad)
        return losses_H.detach()

    @torch.no_grad()
    def embed(self, feat_NF: Tensor) -> tuple[Tensor, ...]:
        """Embeddings of features by every head, each (N, its length)."""
        return torch.split(self._forward(feat_NF)[:-1].t(), self._sizes, dim=1)

    @torch.no_grad()
    def _forward(self, feat_XBF: Tensor) -> Tensor:
        """Embeddings by all heads, one below the other: (E + 1, B), the last row of zeros."""
        weight_EF, feat_XBF = self._weight_EF.to(self._dtype), feat_XBF.to(self._dtype)
        bias_E1 = self._bias_E.to(self._dtype).unsqueeze(1)
        if feat_XBF.ndim == 2:
            return torch.addmm(bias_E1, weight_EF, feat_XBF.t()).float()
        sizes = [*self._sizes, 1]
        feats = [*feat_XBF, feat_XBF[0]]
        parts = zip(torch.split(bias_E1, sizes), torch.split(weight_EF, sizes), feats, strict=True)
        return torch.cat([torch.addmm(b, w, feat.t()) for b, w, feat in parts]).float()

    def _losses(self, emb_HBD: Tensor, labels_HB: Tensor) -> Tensor:
        if self._loss is not None:
            return self._loss(emb_HBD, labels_HB)
        parts = zip(self._modules, emb_HBD, self._sizes, labels_HB, strict=True)
        return torch.stack([m.loss_of(emb[:, :size], labels) for m, emb, size, labels in parts])

    @torch.no_grad()
    def _add_gradients(self, feat_XBF: Tensor, grad_HBD: Tensor) -> None:
        is_first = self._own[0][0].weight.grad is None
        keep = 0.0 if is_first else 1.0
        grad_PB = grad_HBD.transpose(1, 2).flatten(0, 1)
        grad_EB = grad_PB.index_select(0, self._place_of_E).to(self._dtype)
        feat_XBF = feat_XBF.to(self._dtype)
        self._bias_grad_E.mul_(keep).add_(grad_EB.sum(dim=1))
        if feat_XBF.ndim == 2:
            _add_product(self._weight_grad_EF, grad_EB, feat_XBF, keep)
        else:
            parts = zip(self._own, torch.split(grad_EB, self._sizes), feat_XBF, strict=True)
            for (_, _, _, weight_grad_DF, _), grad_DB, feat_BF in parts:
                _add_product(weight_grad_DF, grad_DB, feat_BF, keep)
        if is_first:
            for layer, _, _, weight_grad_DF, bias_grad_D in self._own:
                layer.weight.grad, layer.bias.grad = weight_grad_DF, bias_grad_D


def _add_product(sum_EF: Tensor, grad_EB: Tensor, feat_BF: Tensor, keep: float) -> None:
    if grad_EB.dtype is sum_EF.dtype:
        sum_EF.addmm_(grad_EB, feat_BF, beta=keep)
    else:
        sum_EF.mul_(keep).add_(grad_EB @ feat_BF)


def _linear(module: RecognitionModule) -> LinearHead:
    head = module.model.embedder
    if not isinstance(head, LinearHead):
        raise TypeError(f"a stack holds linear heads, got {type(head).__name__}")
    return head
