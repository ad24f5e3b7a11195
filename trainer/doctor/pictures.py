"""Checks single pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from trainer.data.formats import HEIF_EXTENSIONS
from trainer.data.names import plain_name
from trainer.data.notes import counted
from trainer.data.origin import origin
from trainer.doctor.findings import Finding, Item, Severity, finding

_TINY_PX = 16
_HUGE_PX = 50_000_000
_EXTREME_ASPECT = 5.0
_BLANK_SPREAD = 2.0
_ODD_SHARE = 0.05
"""A colour mode that fewer than this share of the pictures have is odd."""
_SHORTEST_NAME = 4
"""Class names below this length occur in file names by chance."""


def picture_findings(items: Sequence[Item]) -> list[Finding]:
    """Look at every picture by itself."""
    checks = (_unreadable, _damaged, _sequences, _sizes, _blank, _modes, _extensions, _leaks)
    return [found for check in checks for found in check(items)]


def _unreadable(items: Sequence[Item]) -> list[Finding]:
    return [
        finding(
            "unreadable",
            "error",
            f"{item.split}: {origin(item.path)}: {item.look.error}",
            [item.path],
        )
        for item in items
        if item.look.error
    ]


def _damaged(items: Sequence[Item]) -> list[Finding]:
    """Files that are read although something in them is broken."""
    found = []
    for is_of_pixels, kind, severity, words in _DAMAGES:
        told = [
            (item.path, next(r.text for r in item.look.remarks if r.is_of_pixels == is_of_pixels))
            for item in items
            if any(r.is_of_pixels == is_of_pixels for r in item.look.remarks)
        ]
        if told:
            text = f"{counted(len(told), 'file')} {words} ({told[0][1]})"
            found.append(finding(kind, severity, text, (path for path, _ in told)))
    return found


_DAMAGES: tuple[tuple[bool, str, Severity, str], ...] = (
    (True, "damaged_pixels", "warning", "read in spite of damaged data; look at them"),
    (False, "damaged_metadata", "info", "read in spite of damaged metadata, rotation tags too"),
)


def _sequences(items: Sequence[Item]) -> list[Finding]:
    paths = [item.path for item in items if item.look.is_sequence]
    if not paths:
        return []
    text = f"{counted(len(paths), 'file')} of several frames or pages: the first one is used"
    return [finding("several_frames", "info", text, paths)]


def _sizes(items: Sequence[Item]) -> list[Finding]:
    seen = [item for item in items if item.look.width]
    kinds: list[tuple[str, str, Callable[[int, int], bool]]] = [
        ("tiny_image", f"with a side below {_TINY_PX} pixels", lambda w, h: min(w, h) < _TINY_PX),
        (
            "huge_image",
            f"of more than {_HUGE_PX // 1_000_000} megapixels, slow to read",
            lambda w, h: w * h > _HUGE_PX,
        ),
        (
            "extreme_aspect",
            f"over {_EXTREME_ASPECT:.0f} times as long as wide, which will be squeezed, or cut",
            lambda w, h: max(w, h) > _EXTREME_ASPECT * min(w, h),
        ),
    ]
    found = []
    for kind, words, is_odd in kinds:
        paths = [i.path for i in seen if is_odd(i.look.width, i.look.height)]
        if paths:
            text = f"{counted(len(paths), 'picture')} {words}"
            found.append(finding(kind, "warning", text, paths))
    return found


def _blank(items: Sequence[Item]) -> list[Finding]:
    paths = [i.path for i in items if i.look.width and i.look.spread < _BLANK_SPREAD]
    if not paths:
        return []
    text = f"{counted(len(paths), 'picture')} of one colour throughout"
    return [finding("blank", "warning", text, paths)]


def _modes(items: Sequence[Item]) -> list[Finding]:
    """A few grey or transparent pictures among others: often a scan, a mask or a logo."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for item in items:
        if item.look.mode:
            kinds[_MODE_NAMES.get(item.look.mode, "colour")].append(item.path)
    total = sum(map(len, kinds.values()))
    return [
        finding("odd_mode", "info", f"{name}: {len(paths)} of {total} pictures", paths)
        for name, paths in sorted(kinds.items())
        if len(paths) < _ODD_SHARE * total
    ]


_MODE_NAMES = {
    "1": "black and white",
    "L": "grey",
    **dict.fromkeys(("I", "I;16", "I;16B", "I;16L", "F"), "grey of 16 bits or more"),
    "LA": "transparent",
    "RGBA": "transparent",
    "PA": "transparent",
    "CMYK": "in printing colours (CMYK)",
}

_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **{f".{name.lower()}": name for name in ("PNG", "BMP", "WEBP", "GIF", "AVIF")},
    **dict.fromkeys(HEIF_EXTENSIONS, "HEIF"),
}


def _extensions(items: Sequence[Item]) -> list[Finding]:
    paths = [
        i.path
        for i in items
        if i.look.format
        and i.look.format != "MPO"  # what telephones write into .jpg
        and _FORMATS.get(i.path.suffix.lower(), i.look.format) != i.look.format
    ]
    if not paths:
        return []
    return [
        finding(
            "wrong_extension",
            "info",
            f"{counted(len(paths), 'file')} of another format than the ending says",
            paths,
        )
    ]


def _leaks(items: Sequence[Item]) -> list[Finding]:
    """File names that speak of another class: a picture that was put into the wrong folder?"""
    names = {label: plain_name(label) for label in {item.label for item in items}}
    telling = {plain for plain in names.values() if len(plain) >= _SHORTEST_NAME}
    lengths = sorted({len(plain) for plain in telling})
    paths = []
    for item in items:
        stem, own = plain_name(item.path.stem), names[item.label]
        if own in stem:
            continue
        # Every part of the stem is looked up: there are fewer of them than classes.
        parts = (stem[at : at + n] for n in lengths for at in range(len(stem) - n + 1))
        if any(part in telling and part not in own for part in parts):
            paths.append(item.path)
    if not paths:
        return []
    text = f"{counted(len(paths), 'file')} named after another class than that of the folder"
    return [finding("label_in_name", "warning", text, paths)]
