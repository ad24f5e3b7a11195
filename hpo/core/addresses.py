"""Tells places of this machine from addresses of others.

`file://` stands before a path of this machine. It is taken away where places enter: a study, a
request, an answer of a platform.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote

from hpo.core.errors import SpecError

_HERE = "file://"
_LONGEST_PART = 100
"""Bytes of a file's name that a source gives; the whole name may have 255."""
_PASSWORD = re.compile(r"(://[^/@:]*):[^/]*@")


def is_remote(place: str) -> bool:
    """Whether a place is an address that is not one of this machine."""
    return "://" in place and not place.startswith(_HERE)


def without_file(place: str) -> str:
    """A path without the `file://` before it, which may be quoted; anything else as it is."""
    name = place.removeprefix(_HERE)
    if name != place and not os.path.exists(name):  # noqa: PTH110 - no name is too long for it
        name = unquote(name)
    return name


def is_missing(place: str) -> bool:
    """Whether a place is of this machine, and is not there."""
    return not is_remote(place) and not Path(without_file(place)).exists()


def refuse_password(place: str) -> None:
    """Refuse an address with a password: a study, its reports and MLflow keep it as it is given.

    Raises:
        SpecError: it holds one.
    """
    if is_remote(place) and _PASSWORD.search(place):
        shown = shown_address(_PASSWORD.sub(r"\1@", place))
        raise SpecError(
            f"{shown}: must be given without the password that was in it, "
            "as a search keeps the address; give the password in the environment, by the name that "
            "fsspec reads, such as FSSPEC_FTP_PASSWORD"
        )


def shown_address(place: str) -> str:
    """A place for reports: of an address nothing that follows `?`, which may be a signature."""
    return place.partition("?")[0] if is_remote(place) else place


def short_name(place: str) -> str:
    """The last part of a place, as a part of a file's name."""
    name = Path(shown_address(place)).name
    if len(os.fsencode(name)) <= _LONGEST_PART:
        return name
    return f"{name[:40]}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}"
