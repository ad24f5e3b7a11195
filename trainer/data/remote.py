"""Checks and fetches remote sources: `s3://` and whatever else fsspec has a file system for."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from trainer.errors import CredentialError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")

_LONGEST_NAME = 60
"""Signs of what is fetched; no file system takes more than 255 bytes."""
_DENIED = (
    *("credential", "forbidden", "access denied", "accessdenied", "unauthorized"),
    *("401", "403", "token"),
)
_PASSWORD = re.compile(r"(://[^/@:]*):[^/]*@")


def fingerprint(uri: str) -> str:
    """What is at the address now, as text that changes when it does.

    Args:
        uri: an address with a scheme.

    Returns:
        Names, sizes and, where the store tells, tags or times.

    Raises:
        DataError: nothing is there, the scheme is unknown, or the address holds a password.
        CredentialError: refused, or the store's package is missing.
    """
    if _PASSWORD.search(uri):
        shown = _PASSWORD.sub(r"\1@", uri).partition("?")[0]
        raise DataError(
            f"{shown}: must be given without the password that was in it, as "
            "it would be kept; give the password in the environment, by the name that fsspec "
            "reads, such as FSSPEC_FTP_PASSWORD"
        )
    return _guarded(uri, lambda: _describe(*_open(uri)))


def fetch(uri: str, target: Path) -> Path:
    """Copy the file or the tree at the address to `target` and return where it lies.

    Raises:
        DataError: nothing is there, or a name points out of the target.
        CredentialError: refused, or the store's package is missing.
    """
    return _guarded(uri, lambda: _copy(*_open(uri), target))


def _open(uri: str) -> tuple[Any, str]:
    import fsspec

    # A file system that is kept remembers its listings and keys for as long as the process lives.
    filesystem, path = fsspec.core.url_to_fs(uri, skip_instance_cache=True)
    return filesystem, path


def _describe(filesystem: Any, path: str) -> str:
    info = filesystem.info(path)
    entries = (
        [info] if info["type"] == "file" else list(filesystem.find(path, detail=True).values())
    )
    if not entries:
        raise FileNotFoundError(path)
    return "\n".join(sorted(f"{e['name']} {e.get('size')} {_stamp(e)}" for e in entries))


def _stamp(entry: dict[str, Any]) -> str:
    keys = ("ETag", "etag", "md5", "mtime", "LastModified", "last_modified", "created")
    return next((str(entry[key]) for key in keys if entry.get(key)), "")


def _copy(filesystem: Any, path: str, target: Path) -> Path:
    target.mkdir(parents=True)
    base = path.rstrip("/")
    destination = target / base.rsplit("/", 1)[-1].partition("?")[0][-_LONGEST_NAME:]
    if filesystem.isfile(path):
        filesystem.get_file(path, str(destination))
        return destination
    names = filesystem.find(base)
    inside = [PurePosixPath(name[len(base) + 1 :]) for name in names]
    for name, part in zip(names, inside, strict=True):
        if part.is_absolute() or ".." in part.parts:
            raise DataError(f"the name {name!r} points out of its folder")
    filesystem.get(names, [str(destination / part) for part in inside])
    return destination


def _guarded(uri: str, work: Callable[[], _Result]) -> _Result:
    """Say in one line what is wrong: the package, the credentials, or the address itself."""
    shown = uri.partition("?")[0]  # a signature may follow
    try:
        return work()
    except ImportError as error:
        raise CredentialError(f"{shown}: {' '.join(str(error).split())}") from error
    except FileNotFoundError as error:
        raise DataError(f"{shown}: nothing there") from error
    except Exception as error:  # every store has its own exception types
        text = " ".join(str(error).split()) or type(error).__name__
        text = text.replace(uri, shown)
        if text.startswith("Protocol not known"):
            text = "no such kind of address; give a folder, an archive or s3://bucket/path"
        if "Unable to locate credentials" in text:
            text = "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        if isinstance(error, PermissionError):
            text = f"the store refuses the credentials ({text})"
        is_denied = isinstance(error, PermissionError) or any(
            word in f"{type(error).__name__} {text}".lower() for word in _DENIED
        )
        raise (CredentialError if is_denied else DataError)(f"{shown}: {text}") from error
