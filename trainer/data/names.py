"""Names of folders and files: how they are compared, shown, and turned into bytes.

A file system stores bytes. Python hands those that are no UTF-8 on as lone surrogates, which no
encoder, table or data base takes; and one name may be spelt in two ways of Unicode, as files copied
from a Mac are (NFD in place of NFC).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_LINE_BREAKS = frozenset("\x85\u2028\u2029")
_BETWEEN = r"\s_\-\u2010-\u2015.,'\u2019()\[\]\u200b-\u200f"
"""Signs that may or may not stand between the words of one name, for a regular expression."""


def name_key(name: str) -> str:
    """What two spellings of one name share (NFC): names are compared by it."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def column_key(name: str) -> str:
    """What two spellings of a list's column share: upper and lower case are one there."""
    return name_key(name).casefold()


def name_text(name: str) -> str:
    r"""Return a name as text that can be printed on one line and stored anywhere.

    A name that can is returned as it is written. In any other, bytes that are no UTF-8, control
    characters and line breaks are spelt out (`caf\xe9`, `a\nb`), and backslashes are doubled, so
    that two such names stay two.
    """
    return printable(name.replace("\\", "\\\\")) if any(map(_is_unfit, name)) else name


def printable(text: str) -> str:
    """Return a text with everything spelt out that a terminal cannot print on one line."""
    return "".join(_spelt_out(sign) if _is_unfit(sign) else sign for sign in text)


def plain_name(text: str) -> str:
    """What two spellings of a name share: neither capitals nor what stands between words count.

    Every letter, mark and digit of any script does, and so does what separates two digits (1.5 and
    15) or makes a number negative.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = re.sub(rf"(?<=\d)[{_BETWEEN}]+(?=\d)", "|", plain)
    plain = re.sub(r"(?<!\S)-(?=\d)", "\u2212", plain)
    return re.sub(rf"[{_BETWEEN}]+", "", plain) or text


def alike(names: Iterable[str]) -> list[list[str]]:
    """Return those names that a person would take for one and that are two, each group in order."""
    spelt: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        spelt[plain_name(name)].setdefault(name_key(name), name)
    return [list(group.values()) for group in spelt.values() if len(group) > 1]


def told_alike(names: Iterable[str]) -> str:
    """Say of such classes what they are."""
    return f"classes {' and '.join(map(repr, names))} differ in spelling alone"


def name_bytes(name: str) -> bytes:
    """Return the bytes of a name or path, the same under every locale; for digests."""
    return name.encode("utf-8", "surrogateescape")


def _is_unfit(sign: str) -> bool:
    return unicodedata.category(sign) in {"Cc", "Cs"} or sign in _LINE_BREAKS


def _spelt_out(sign: str) -> str:
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as the file system's decoder hands it on
        return f"\\x{code - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode("ascii")
