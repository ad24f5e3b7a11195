"""Helpers for messages: quoting values, suggesting near names."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

_LONGEST_SHOWN = 80
_STRAY = re.compile(r"[\ud800-\udfff]")
_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and bytes that are no UTF-8 as Python hands them on (lone surrogates)."""


def quoted(value: Any) -> str:
    """A value as a message quotes it: in the words of YAML, and not without end."""
    names = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return names[value]
    if isinstance(value, list | tuple | Mapping):
        kind = "a mapping" if isinstance(value, Mapping) else "a list"
        return f"{kind} {cut(repr(value))}" if value else f"an empty {kind[2:]}"
    return cut(repr(value) if isinstance(value, str) else str(value))


def uncoloured(text: str) -> str:
    """What a terminal shows of a text, without colours and moves of the cursor (ECMA-48, CSI)."""
    return _COLOURS.sub("", text)


def one_line(text: str) -> str:
    r"""A text as one line of a terminal; control characters and stray bytes of paths spelt out.

    Example:
        >>> one_line("caf\udce9\x1b[1m:\n not there")
        'caf\\xe9\\x1b[1m: not there'
    """
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """A path or name with control characters and stray bytes spelt out."""
    return _UNFIT.sub(_spelt_out, text)


def storable(text: str) -> str:
    """A text that any file or data base takes: bytes of paths that are no UTF-8 are spelt out."""
    return text if text.isascii() else _STRAY.sub(_spelt_out, text)


def _spelt_out(sign: re.Match[str]) -> str:
    return f"\\x{ord(sign[0]) & 0xFF:02x}"


def place_words(place: int, count: int, epoch: int) -> str:
    """Where a trial stands among those that were measured at an epoch."""
    return f"place {place} of {count} at epoch {epoch}"


def told_apart(a: float, b: float, digits: int = 3) -> tuple[str, str]:
    """Two numbers in so many significant digits, or in as many as they differ by."""
    for number in range(digits, 17):
        texts = f"{a:.{number}g}", f"{b:.{number}g}"
        if a == b or texts[0] != texts[1]:
            return texts
    return repr(a), repr(b)


def percent(share: float) -> str:
    """A share in percent: without places, or in one digit where it is below one percent."""
    return f"{share:.0%}" if share == 0 or share >= 0.01 else f"{100 * share:.1g}%"


def cut(text: str) -> str:
    """The beginning of a text that is too long for a message."""
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def method_words(algorithm: str, pruner: str, reason: str) -> str:
    """Algorithm, pruner and why, each named once: a reason begins with the name it speaks of."""
    told = reason.split("; ")
    names = [
        name
        for name in (algorithm, pruner)
        if name != "none" and not any(part.startswith(f"{name}: ") for part in told)
    ]
    return "; ".join(filter(None, [" + ".join(names), reason]))


def markdown_table(
    head: Sequence[object], rows: Iterable[Sequence[object]], *, is_aligned: bool = False
) -> list[str]:
    """The lines of a table in Markdown; a cell is one line, and a `|` in it is escaped.

    Args:
        head: a title for each column.
        rows: a cell for each column.
        is_aligned: whether columns are as wide as their longest cell, for a terminal.
    """
    table = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in row]
             for row in (head, *rows)]  # fmt: skip
    columns = zip(*table, strict=True)
    widths = [max(map(len, column)) if is_aligned else 0 for column in columns]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in table]
    return [lines[0], f"|{'|'.join('-' * max(3, w + 2) for w in widths)}|", *lines[1:]]


def shell_word(path: object) -> str:
    """Return a path as a shell takes it for one word, so that a command can be copied."""
    return shlex.quote(str(path))


def count_of(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 picture`, `2 pictures`, `3 classes`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def metric_word(name: str) -> str:
    """What people call a metric in tables and lines: Precision@1 has a short name.

    Runs of earlier releases do not tell theirs, which is that one.
    """
    plain = "_".join(re.findall(r"[a-z0-9]+", name.lower())).removeprefix("val_")
    return "P@1" if plain in ("", "precision_at_1", "precision_1") else name


def nearest_path(path: Path) -> str:
    """Suggest what lies beside a missing path under a like name, or nothing."""
    try:
        names = sorted(other.name for other in path.parent.iterdir())
    except OSError:
        return ""
    longer = [name for name in names if name.startswith(f"{path.name}.")]
    hits = longer or difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"; did you mean {str(path.parent / hits[0])!r}?" if hits else ""


def absolute_path(text: str, folder: Path = Path()) -> Path:
    """A path below `folder` from the root, as it may be kept: links are resolved, but a file's own.

    The name that a file is known by tells what it is and what a list's paths are relative to;
    caches (of Hugging Face, DVC) keep the file itself elsewhere, under a name without an ending.
    """
    path = folder / Path(text).expanduser()
    is_link = os.path.islink(path) and os.path.isfile(path)  # noqa: PTH113, PTH114 - Path raises for names too long
    return path.parent.resolve() / path.name if is_link else path.resolve()


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name as ` (did you mean ...?)`, or nothing."""
    names = list(known)
    hits = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not hits:
        leaf = name.rsplit(".", 1)[-1]
        leaves = {n.rsplit(".", 1)[-1]: n for n in names}
        hits = [leaves[h] for h in difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.75)]
    return f"; did you mean {hits[0]!r}?" if hits else ""
