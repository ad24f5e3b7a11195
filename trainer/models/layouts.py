"""Maps the keys of published weight files to the keys of our models.

All rules are driven by the keys of the two sides: one applies only where the model lacks the
file's key and has the one the rule leads to, so a model's own names always win.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

State = dict[str, Tensor]
Shapes = Mapping[str, Tensor]

_WRAPPERS = frozenset({"module", "_orig_mod", "model", "backbone", "trunk", "embedder", "0", "1"})
"""First key components that wrap a model or a part of it; removed only from the start of a key.

`0` and `1` are trunk and head of an older two-part sequence."""

_SEQUENCE_PARTS = {"0": "trunk", "1": "embedder"}
_CLASSIFIERS = re.compile(r"^(?:trunk\.)?(?:head|head_dist|fc|classifier)\.")
_SHOWN = 4
_UNUSED = re.compile(r"(?:^|\.)mask_token$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A file's weights under the model's names, and what was left aside on the way."""

    state: State
    outside: tuple[str, ...]
    """Keys of the file beside the part that was taken, such as a head in a trunk's file."""
    dropped: tuple[str, ...]
    """Keys a model without classifier or masked patches has no use for."""


def aside_words(keys: Sequence[str]) -> str:
    """How many weights of a file were left aside, and which, for a log; empty where none were."""
    if not keys:
        return ""
    if all(_CLASSIFIERS.match(key) for key in keys):
        return f", {len(keys)} left aside: those of the classifier that the file was trained with"
    more = ", ..." if len(keys) > _SHOWN else ""
    return f", {len(keys)} left aside: {', '.join(keys[:_SHOWN])}{more}"


def arrange(state: Mapping[str, Tensor], target: Shapes) -> Layout:
    """Bring the keys of `state` as near to those of `target` as the known layouts allow.

    Nothing is judged here: what still does not fit is found by comparing `Layout.state` to the
    target.
    """
    state = _from_efficientnet(state, target)
    rename = _best_renaming(list(state), target)
    inside, outside = {}, []
    for key, value in state.items():
        new = rename(key)
        if new is None:
            outside.append(key)
        else:
            inside[new] = value
    fitted: State = {}
    dropped = []
    for key, value in inside.items():
        if key in target:
            fitted[key] = value
        elif _CLASSIFIERS.match(key) or _UNUSED.search(key):
            dropped.append(key)
        else:
            fitted.update(_apply_rules(key, value, target))
    return Layout(
        state={key: _as_convolution(value, target.get(key)) for key, value in fitted.items()},
        outside=tuple(outside),
        dropped=tuple(dropped),
    )


Renaming = Callable[[str], str | None]


def _best_renaming(keys: list[str], target: Shapes) -> Renaming:
    """Choose the prefix, at the start of keys, whose removal hits most of the model's keys."""
    candidates: list[Renaming] = [
        _renaming(prefix, sequence) for prefix in _prefixes(keys) for sequence in (False, True)
    ]
    # `max` keeps the first of equals and the shortest prefix comes first.
    return max(candidates, key=lambda rename: sum(rename(key) in target for key in keys))


def _renaming(prefix: str, sequence: bool) -> Renaming:
    def rename(key: str) -> str | None:
        if not key.startswith(prefix):
            return None
        rest = key.removeprefix(prefix)
        first, dot, tail = rest.partition(".")
        return (
            f"{_SEQUENCE_PARTS[first]}.{tail}"
            if sequence and first in _SEQUENCE_PARTS and dot
            else rest
        )

    return rename


def _prefixes(keys: Iterable[str]) -> list[str]:
    """All runs of wrappers that keys start with, the empty one included, shortest first."""
    found = {""}
    for key in keys:
        prefix = ""
        for part in key.split(".")[:-1]:
            if part not in _WRAPPERS:
                break
            prefix += part + "."
            found.add(prefix)
    return sorted(found, key=lambda prefix: (len(prefix), prefix))


_EFFICIENTNET_STEM = "_conv_stem.weight"
_EFFICIENTNET_TOP = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EFFICIENTNET_BLOCK = {
    # With an expansion: three convolutions, each with its norm.
    True: {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    },
    # Without one: timm calls the projection the pointwise convolution there.
    False: {
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn1",
        "_project_conv": "conv_pw",
        "_bn2": "bn2",
    },
}
"""Layers of the EfficientNet packages for PyTorch -> timm's, by whether a block expands."""


def _from_efficientnet(state: Mapping[str, Tensor], target: Shapes) -> Mapping[str, Tensor]:
    """Rename the keys of an EfficientNet (Lite) of the packages that count blocks through.

    They have `_blocks.N`, timm has `blocks.STAGE.INDEX`: block N is the Nth of the model's own
    blocks, stage by stage. What has no counterpart keeps its name, and is told as left over.
    """
    if _EFFICIENTNET_STEM not in state or "conv_stem.weight" not in target:
        return state
    found = {m[0] for key in target if (m := re.match(r"blocks\.\d+\.\d+\.", key))}
    blocks = sorted(found, key=lambda prefix: [int(n) for n in prefix.split(".")[1:3]])
    return {_efficientnet_key(key, blocks, target): value for key, value in state.items()}


def _efficientnet_key(key: str, blocks: list[str], target: Shapes) -> str:
    layer, _, tail = key.partition(".")
    if layer != "_blocks":
        return f"{_EFFICIENTNET_TOP.get(layer, layer)}.{tail}"
    number, layer, tail = tail.split(".", 2)
    if int(number) >= len(blocks):
        return key
    block = blocks[int(number)]
    layers = _EFFICIENTNET_BLOCK[f"{block}conv_pwl.weight" in target]
    return f"{block}{layers[layer]}.{tail}" if layer in layers else key


Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

_RENAMED: tuple[Rule, ...] = (
    # FAN repository, older files.
    (re.compile(r"(^|\.)pos_embeder\."), lambda m: f"{m[1]}pos_embed."),
    # DINOv2 repository: SwiGLU's layers, and blocks in chunks (blocks.chunk.index).
    (re.compile(r"\.mlp\.w12\."), lambda _: ".mlp.fc1."),
    (re.compile(r"\.mlp\.w3\."), lambda _: ".mlp.fc2."),
    (re.compile(r"(^|\.)blocks\.\d+\.(\d+)\."), lambda m: f"{m[1]}blocks.{m[2]}."),
)

_FUSED: tuple[tuple[str, ...], ...] = (("q", "k", "v"), ("q", "kv"))
"""Layers that a fused `qkv` holds, in the order of its rows."""


def _apply_rules(key: str, value: Tensor, target: Shapes) -> State:
    new = key
    for pattern, replacement in _RENAMED:
        new = pattern.sub(replacement, new)
    if new in target:
        return {new: value}
    return _split_fused(new, value, target) or {key: value}


def _split_fused(key: str, value: Tensor, target: Shapes) -> State:
    stem, found, tail = key.rpartition(".qkv.")
    if not found:
        return {}
    for parts in _FUSED:
        names = [f"{stem}.{part}.{tail}" for part in parts]
        if not all(name in target for name in names):
            continue
        rows = [target[name].shape[0] for name in names]
        if sum(rows) == value.shape[0]:
            return dict(zip(names, torch.split(value, rows), strict=True))
    return {}


def _as_convolution(value: Tensor, target: Tensor | None) -> Tensor:
    """Give a linear layer's weight the two last axes of a 1 x 1 convolution, where one is meant."""
    if target is None or value.ndim != 2 or target.shape != (*value.shape, 1, 1):
        return value
    return value[:, :, None, None]


def resample_positions(module: nn.Module, state: Shapes) -> tuple[State, tuple[str, ...]]:
    """Bring learned position tables of another grid to the model's, by timm's bicubic resampling.

    Returns:
        The state, and for each table changed a line `key: 37x37 -> 16x16`. A file does not say
        which grid it has, so its tables are taken to be square; what is not square is left alone.
    """
    values, lines = dict(state), []
    for key, value in state.items():
        parent, _, name = key.rpartition(".")
        if name != "pos_embed" or value.ndim != 3:
            continue
        grid = _grid(module, parent)
        wanted = getattr(module.get_submodule(parent), name, value) if grid else value
        if grid is None or value.shape == wanted.shape or value.shape[2] != wanted.shape[2]:
            continue
        prefix = wanted.shape[1] - math.prod(grid)
        side = math.isqrt(max(value.shape[1] - prefix, 0))
        if prefix < 0 or side < 1 or side * side != value.shape[1] - prefix:
            continue
        values[key] = resample_abs_pos_embed(
            value, new_size=list(grid), old_size=[side, side], num_prefix_tokens=prefix
        )
        lines.append(f"{key}: {side}x{side} -> {grid[0]}x{grid[1]}")
    return values, tuple(lines)


def _grid(module: nn.Module, parent: str) -> tuple[int, int] | None:
    """The patch grid of the model at `parent`, rows first; None where there is none."""
    try:
        owner = module.get_submodule(parent)
    except AttributeError:
        return None
    grid = getattr(getattr(owner, "patch_embed", None), "grid_size", None)
    return (grid[0], grid[1]) if isinstance(grid, tuple) else None
