"""Computes a convolution and the batch norm behind it as one, while the norm's statistics stay.

A norm that does not update its statistics multiplies and shifts each channel by constants, which
the weights of the convolution before it can hold: the same outputs and gradients, but for rounding,
with two or three fewer passes over the largest tensors. Parameters, their names and gradients stay
as they are. A norm in training mode, another device than the CPU, exporters and compilers see the
layers unchanged.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from torch import Tensor, nn

Names = tuple[tuple[str, str], ...]
"""Of convolutions and their norms, within a trunk."""

_CLOSE = 1e-3
"""Share of the largest output by which a trial of the folded trunk may differ: float32 leaves 1e-5,
a convolution that something else reads too makes another network."""
_COPYING = (nn.Hardswish, nn.Hardtanh, nn.SiLU)
"""Activations whose gradient asks for their input: in place, they copy it first."""


def fold_norms(trunk: nn.Module, names: Names) -> None:
    """Let these convolutions of a trunk compute the norms behind them, wherever that is the same.

    Args:
        trunk: changed in place; copies of it are folded too.
        names: from `find_foldable`.
    """
    for conv_name, norm_name in names:
        conv, norm = trunk.get_submodule(conv_name), trunk.get_submodule(norm_name)
        vars(conv)["norm_behind"] = norm  # past `__setattr__`, which would make it a part of it
        conv.__class__ = _CONVOLUTIONS[type(conv)]
        norm.__class__ = _NORMS[type(norm)]
        act = getattr(norm, "act", None)
        if isinstance(act, _COPYING):
            act.inplace = False


def find_foldable(trunk: nn.Module, image_shape: tuple[int, int, int]) -> Names:
    """Name the convolutions of a trunk whose output goes to one batch norm and nowhere else.

    They are found by sending a picture of noise through a copy, and tried out: where the folded
    copy answers otherwise, none is named.

    Args:
        trunk: on the CPU; left as it is.
        image_shape: channels, height and width.
    """
    if not any(type(part) in _NORMS for part in trunk.modules()):
        return ()
    tried, noise = copy.deepcopy(trunk).eval(), torch.Generator().manual_seed(0)
    image_1CHW = torch.randn(1, *image_shape, generator=noise)
    _draw_norms(tried, noise)
    with torch.no_grad():
        names, plain = _follow(tried, image_1CHW)
        fold_norms(tried, names)
        gap = (tried(image_1CHW) - plain).abs().max()
    return names if gap <= _CLOSE * plain.abs().max() else ()


def _draw_norms(trunk: nn.Module, noise: torch.Generator) -> None:
    """Give all norms values of their own: fresh ones change nothing, folded or not."""
    for part in trunk.modules():
        for name, value in part.state_dict().items() if type(part) in _NORMS else ():
            if value.is_floating_point():
                low = 0.5 if name in ("weight", "running_var") else -0.5
                value.uniform_(low, low + 1.0, generator=noise)


def _follow(trunk: nn.Module, image_1CHW: Tensor) -> tuple[Names, Tensor]:
    """Send a picture through; return which norm read which convolution's output, and the answer."""
    made: dict[str, Tensor] = {}
    read: list[tuple[str, str]] = []

    def note_made(name: str, output: Tensor) -> None:
        made[name] = output

    def note_read(name: str, given: Tensor) -> None:
        read.extend((conv, name) for conv, output in made.items() if output is given)

    for name, part in trunk.named_modules():
        if type(part) in _CONVOLUTIONS:
            part.register_forward_hook(lambda _, __, out, own=name: note_made(own, out))
        elif type(part) in _NORMS and part.affine and part.track_running_stats:
            part.register_forward_pre_hook(lambda _, given, own=name: note_read(own, given[0]))
    answer = trunk(image_1CHW)
    times = Counter(name for pair in read for name in pair)
    return tuple(pair for pair in read if times[pair[0]] == times[pair[1]] == 1), answer


def _is_fixed(norm: nn.BatchNorm2d, images: Tensor) -> bool:
    """Whether a norm's constants are in the weights of the convolution before it."""
    watched = torch._C._get_tracing_state() is not None or torch.compiler.is_compiling()
    return not (norm.training or watched) and images.device.type == "cpu"


class _FoldedConv(nn.Conv2d):
    norm_behind: nn.BatchNorm2d

    def forward(self, images_NCHW: Tensor) -> Tensor:
        norm = self.norm_behind
        if not _is_fixed(norm, images_NCHW):
            return super().forward(images_NCHW)
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None:
            raise RuntimeError("a norm that is folded keeps statistics")
        scale_C = norm.weight * torch.rsqrt(variance + norm.eps)
        shift_C = mean if self.bias is None else mean - self.bias
        weight = self.weight * scale_C.view(-1, 1, 1, 1)
        return self._convolve(images_NCHW, weight, norm.bias - shift_C * scale_C)

    def _convolve(self, images_NCHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out: Tensor = self._conv_forward(images_NCHW, weight, bias)
        return out


class _FoldedSameConv(_FoldedConv, Conv2dSame):
    def _convolve(self, images_NCHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        padded = pad_same(images_NCHW, [*self.kernel_size], [*self.stride], [*self.dilation])
        return super()._convolve(padded, weight, bias)


class _FoldedNorm(nn.BatchNorm2d):
    def forward(self, images_NCHW: Tensor) -> Tensor:
        if _is_fixed(self, images_NCHW):
            return images_NCHW
        return super().forward(images_NCHW)


class _FoldedNormAct(BatchNormAct2d):
    def forward(self, images_NCHW: Tensor) -> Tensor:
        if not _is_fixed(self, images_NCHW):
            normed: Tensor = super().forward(images_NCHW)  # type: ignore[no-untyped-call]
            return normed
        images_NCHW = self.drop(images_NCHW)
        if isinstance(self.act, nn.ReLU6):
            clamped: Tensor = _Clamp.apply(images_NCHW)
            return clamped
        acted: Tensor = self.act(images_NCHW)
        return acted


class _Clamp(torch.autograd.Function):
    """ReLU6 in place, whose gradient asks for its output alone."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        ctx.mark_dirty(images.clamp_(0, 6))
        ctx.save_for_backward(images)
        return images

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grads[0], out, 0, 6)  # type: ignore[no-any-return]


_CONVOLUTIONS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: _FoldedConv,
    Conv2dSame: _FoldedSameConv,
}
_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: _FoldedNorm,
    BatchNormAct2d: _FoldedNormAct,
}
