"""The layers of several linear heads in one tensor, so that a step of all is a few operations.

Each head keeps its own module, loss, optimizer and schedule; its layer's weights are a part of the
stack's. Legend: H heads, B pictures, F features, D dimensions of the longest embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.models.heads import LinearHead
from trainer.stacked_losses import stack_losses

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
        most, num_features = max(self._sizes), layers[0].in_features
        device = layers[0].weight.device
        self._weight_HDF = torch.zeros(len(modules), most, num_features, device=device)
        self._bias_HD = torch.zeros(len(modules), most, device=device)
        self._weight_grad_HDF = torch.zeros_like(self._weight_HDF)
        self._bias_grad_HD = torch.zeros_like(self._bias_HD)
        for h, (layer, size) in enumerate(zip(layers, self._sizes, strict=True)):
            for own, stacked in (
                (layer.weight, self._weight_HDF[h, :size]),
                (layer.bias, self._bias_HD[h, :size]),
            ):
                stacked.copy_(own.data)
                own.data = stacked
        self._layers = layers
        self._loss = stack_losses(loss_name, [module.loss for module in modules], most)

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
        emb_HBD = self._forward(feat_XBF).requires_grad_()
        labels_HB = labels_XB.expand(heads, -1) if labels_XB.ndim == 1 else labels_XB
        losses_H = self._losses(emb_HBD, labels_HB)
        torch.autograd.backward(losses_H.sum() * share)
        if emb_HBD.grad is None:
            raise RuntimeError("the losses of a stack must depend on its embeddings")
        self._add_gradients(feat_XBF, emb_HBD.grad)
        return losses_H.detach()

    @torch.no_grad()
    def embed(self, feat_NF: Tensor) -> Tensor:
        """Embeddings of features by every head, (H, N, D); zeros where a head's are shorter."""
        return self._forward(feat_NF)

    def _forward(self, feat_XBF: Tensor) -> Tensor:
        with torch.no_grad():
            weight_HDF, feat_XBF = self._weight_HDF.to(self._dtype), feat_XBF.to(self._dtype)
            bias_HD = self._bias_HD.to(self._dtype)
            if feat_XBF.ndim == 3:
                emb_HBD = torch.baddbmm(bias_HD.unsqueeze(1), feat_XBF, weight_HDF.transpose(1, 2))
                return emb_HBD.float()
            # One product for all heads, whose outputs lie side by side.
            flat_BE = torch.addmm(bias_HD.flatten(), feat_XBF, weight_HDF.flatten(0, 1).t())
            return flat_BE.view(-1, *bias_HD.shape).transpose(0, 1).float().contiguous()

    def _losses(self, emb_HBD: Tensor, labels_HB: Tensor) -> Tensor:
        if self._loss is not None:
            return self._loss(emb_HBD, labels_HB)
        parts = zip(self._modules, emb_HBD, self._sizes, labels_HB, strict=True)
        return torch.stack([m.loss_of(emb[:, :size], labels) for m, emb, size, labels in parts])

    def _add_gradients(self, feat_XBF: Tensor, grad_HBD: Tensor) -> None:
        is_first = self._layers[0].weight.grad is None
        keep = 0.0 if is_first else 1.0
        with torch.no_grad():
            grad_HDB = grad_HBD.to(self._dtype).transpose(1, 2)
            feat_XBF, summed_HD = feat_XBF.to(self._dtype), grad_HDB.sum(dim=2)
            if self._dtype is not torch.float32:
                product_HDF = torch.matmul(grad_HDB, feat_XBF)
                self._weight_grad_HDF.mul_(keep).add_(product_HDF)
            elif feat_XBF.ndim == 3:
                self._weight_grad_HDF.baddbmm_(grad_HDB, feat_XBF, beta=keep)
            else:
                flat_EF = self._weight_grad_HDF.flatten(0, 1)
                flat_EF.addmm_(grad_HDB.flatten(0, 1), feat_XBF, beta=keep)
            self._bias_grad_HD.mul_(keep).add_(summed_HD)
        if is_first:
            for h, (layer, size) in enumerate(zip(self._layers, self._sizes, strict=True)):
                layer.weight.grad = self._weight_grad_HDF[h, :size]
                layer.bias.grad = self._bias_grad_HD[h, :size]


def _linear(module: RecognitionModule) -> LinearHead:
    head = module.model.embedder
    if not isinstance(head, LinearHead):
        raise TypeError(f"a stack holds linear heads, got {type(head).__name__}")
    return head
