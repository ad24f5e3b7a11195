"""The one file of a form, as browsers and `curl -F file=@photo.jpg` send it (RFC 7578).

Anybody may send one: what is read of it takes time in proportion to its length.
"""

from __future__ import annotations

import re
from itertools import islice
from urllib.parse import unquote_to_bytes

from hpo.core.errors import DataError

MOST_PARTS = 100
"""Fields of a form, its file included."""
LONGEST_HEAD = 8_000
"""Bytes before the content of a part."""
_LONGEST_BOUNDARY = 70
"""Signs, by RFC 2046."""
_PARAMETER = re.compile(r';\s*+([^\s=;"]++)\s*+=\s*+("(?:[^"\\]|\\.)*+|[^;]*+)', re.DOTALL)
"""Name and value of a header's parameter; a quoted value is without its closing quote."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form."""
    return content_type.lstrip().lower().startswith("multipart/")


def file_of_form(content_type: str, body: bytes | bytearray) -> bytes:
    """Return the bytes of the one file that a form holds; its other fields are passed over.

    Raises:
        DataError: the form has no boundary, is cut off, has too many or too long fields, or does
            not hold one file.
    """
    boundary = _boundary(content_type)
    text = b"\r\n" + body
    sign = re.compile(rb"\r\n--" + re.escape(boundary) + rb"(--)?[ \t]*+(?=\r\n|\Z)")
    bounds = list(islice(sign.finditer(text), MOST_PARTS + 1))
    end = next((number for number, bound in enumerate(bounds) if bound[1]), None)
    if end is None and len(bounds) > MOST_PARTS:
        raise DataError(f"a form must have at most {MOST_PARTS} fields, and has more")
    if end is None:
        name = boundary.decode("latin-1")
        raise DataError(f"the form is incomplete: it must end with --{name}--")
    parts = [text[bounds[i].end() : bounds[i + 1].start()] for i in range(end)]
    files = [file for part in parts if (file := _file_of(part)) is not None]
    if len(files) != 1 or not files[0]:
        got = f"{len(files)} files" if len(files) != 1 else "an empty file"
        raise DataError(f"a form must hold one picture as a file, and holds {got}")
    return files[0]


def _boundary(content_type: str) -> bytes:
    given = _parameters(content_type)
    told = given.get("boundary", "").rstrip().encode("latin-1", "replace")
    _, _, coded = given.get("boundary*", "").rpartition("'")  # RFC 2231: utf-8''...
    boundary = told or unquote_to_bytes(coded)
    if not boundary:
        raise DataError("a form must name its boundary in Content-Type")
    if len(boundary) > _LONGEST_BOUNDARY:
        raise DataError(
            f"the boundary of a form must have at most {_LONGEST_BOUNDARY} signs, got "
            f"{len(boundary)}"
        )
    return boundary


def _parameters(header: str) -> dict[str, str]:
    """The parameters of a header by their names in lower case."""
    found = {}
    for name, value in _PARAMETER.findall(header):
        is_quoted = value.startswith('"')
        found[name.lower()] = _ESCAPED.sub(r"\1", value[1:]) if is_quoted else value
    return found


def _file_of(part: bytes) -> bytes | None:
    """The content of a part that is a file; None of any other."""
    head, _, content = part.partition(b"\r\n\r\n")
    if len(head) > LONGEST_HEAD:
        raise DataError(
            f"the headers of a form's field must have at most {LONGEST_HEAD} bytes, got {len(head)}"
        )
    lines = re.sub(r"\r\n[ \t]+", " ", head.decode("latin-1")).split("\r\n")
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            names = {parameter.partition("*")[0] for parameter in _parameters(value)}
            return content if "filename" in names else None
    return None
