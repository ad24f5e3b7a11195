"""Checks pictures of more than 8 bits a channel: which samples are black and white, and for whom.

What training would take is told here before it is trained on; see `trainer.data.value_range`.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.deep import ValueRange, range_of
from trainer.data.notes import counted
from trainer.data.value_range import DECIDING
from trainer.doctor.findings import Finding, Item, Severity, finding

_ALL_OF_16_BITS = 65535.0
_FEW = 1 / 8
"""Part of 16 bits below which a data set was hardly stored as it was meant."""
_DARK = 1 / 16
"""Part of the data set's range below which a picture becomes nearly black."""


def depth_findings(items: Sequence[Item]) -> list[Finding]:
    """Look at the samples of deep pictures, split by split and all together."""
    seen = [item for item in items if item.look.width]
    deep = [item for item in seen if item.look.is_deep]
    if not deep:
        return []
    value_range = range_of([item.look.levels for item in _deciding(deep)])
    return [
        _range_finding(deep, value_range),
        *_mixed(deep, len(seen)),
        *_out_of_line(deep, value_range),
        *_not_finite(deep),
    ]


def _deciding(deep: Sequence[Item]) -> list[Item]:
    """Return the deep pictures of the split that decides for all."""
    splits = {item.split for item in deep}
    first = next((name for name in DECIDING if name in splits), min(splits))
    return [item for item in deep if item.split == first]


def _range_finding(deep: Sequence[Item], value_range: ValueRange) -> Finding:
    low, high = value_range
    is_of_bits = low == 0.0 and high.is_integer() and high > 1.0
    is_narrow = is_of_bits and high < _FEW * _ALL_OF_16_BITS
    severity: Severity = "warning" if is_narrow else "info"
    text = (
        f"{counted(len(deep), 'picture')} of more than 8 bits a channel: "
        f"{low:g} is read as black and {high:g} as white"
    )
    if is_narrow:
        text += f", a small part of the {_ALL_OF_16_BITS:.0f} that 16 bits hold"
    text += "; dataset.value_range sets other values"
    return finding("value_range", severity, text, (item.path for item in deep))


def _mixed(deep: Sequence[Item], total: int) -> list[Finding]:
    if len(deep) == total:
        return []
    plain = total - len(deep)
    text = (
        f"{counted(len(deep), 'picture')} of more than 8 bits a channel and {plain} of 8 bits: "
        "check that black and white mean the same in both"
    )
    return [finding("mixed_depth", "warning", text, (item.path for item in deep))]


def _out_of_line(deep: Sequence[Item], value_range: ValueRange) -> list[Finding]:
    """Pictures that the range of all leaves nearly black, or cuts."""
    low, high = value_range
    dark, bright = [], []
    for item in deep:
        if item.look.levels is None:
            continue
        own = item.look.levels[1]
        if own - low < _DARK * (high - low):
            dark.append(item.path)
        elif own > high:
            bright.append(item.path)
    found = []
    if dark:
        text = (
            f"nearly black: {counted(len(dark), 'picture')} of more than 8 bits a channel, as "
            f"others reach {high:g}; stored with fewer bits, or badly exposed?"
        )
        found.append(finding("nearly_empty_range", "warning", text, dark))
    if bright:
        text = (
            f"cut off at white: {counted(len(bright), 'picture')} of more than 8 bits a channel "
            f"with samples beyond {high:g}"
        )
        found.append(finding("beyond_range", "warning", text, bright))
    return found


def _not_finite(deep: Sequence[Item]) -> list[Finding]:
    paths = [item.path for item in deep if item.look.num_not_finite]
    if not paths:
        return []
    text = (
        f"{counted(len(paths), 'picture')} with samples that are NaN or infinite, which become "
        "black or white"
    )
    return [finding("not_finite", "warning", text, paths)]
