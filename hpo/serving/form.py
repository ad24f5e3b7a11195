"""The one file of a form, as browsers and `curl -F file=@photo.jpg` send it (RFC 7578)."""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesHeaderParser

from hpo.core.errors import DataError


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form."""
    return _header(content_type).get_content_maintype() == "multipart"


def file_of_form(content_type: str, body: bytes | bytearray) -> bytes:
    """Return the bytes of the one file that a form holds; its other fields are passed over.

    Raises:
        DataError: the form has no boundary, is cut off, or does not hold one file.
    """
    boundary = _header(content_type).get_boundary("")
    if not boundary:
        raise DataError("a form must name its boundary in Content-Type")
    sign = re.escape(boundary.encode("latin-1", "replace"))
    text = b"\r\n" + body
    bounds = list(re.finditer(rb"\r\n--" + sign + rb"(--)?[ \t]*(?=\r\n|\Z)", text))
    end = next((number for number, bound in enumerate(bounds) if bound[1]), None)
    if end is None:
        raise DataError(f"the form is incomplete: it must end with --{boundary}--")
    parts = [text[bounds[i].end() : bounds[i + 1].start()] for i in range(end)]
    files = [file for part in parts if (file := _file_of(part)) is not None]
    if len(files) != 1 or not files[0]:
        got = f"{len(files)} files" if len(files) != 1 else "an empty file"
        raise DataError(f"a form must hold one picture as a file, and holds {got}")
    return files[0]


def _header(content_type: str) -> Message:
    header = Message()
    header["content-type"] = content_type
    return header


def _file_of(part: bytes) -> bytes | None:
    """The content of a part that is a file; None of any other."""
    head, _, content = part.partition(b"\r\n\r\n")
    header = BytesHeaderParser().parsebytes(head.lstrip())
    return None if header.get_param("filename", None, "content-disposition") is None else content
