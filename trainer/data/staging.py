"""Bring a source of images (folder, archive, store address) to a local folder, once.

A folder is used where it is. An archive is unpacked once into the cache, under a name made of its
path, size and time; a `s3://` or other address is fetched through fsspec first. What was done
stands in `staging.json` beside the files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from trainer.data.archive import extract
from trainer.data.location import cache_settings, make_once
from trainer.data.names import name_bytes, name_text
from trainer.data.origin import STAGED
from trainer.data.remote import fetch, fingerprint
from trainer.errors import DataError

_logger = logging.getLogger(__name__)


def stage(uri: str, cache_dir: Path | None = None) -> Path:
    """Give the local folder that holds the images of a source.

    Args: uri: a folder, an archive (whatever its ending), or either behind an address such as
        s3://. cache_dir: where archives are unpacked; default: the user's cache folder.

    Returns:
        The folder itself, or `<cache>/staged/<key>/files`.

    Raises: DataError: nothing there, not an archive that is known, or an archive that must not be
        unpacked. CredentialError: the store refuses, or its package is missing.
    """
    if is_remote(uri):
        return _staged(uri, fingerprint(uri), cache_dir)
    path = local_path(uri)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        return path
    if not os.path.exists(path):  # noqa: PTH110 - as above
        raise DataError(f"{name_text(str(path))}: no such folder or archive")
    if not path.is_file():
        raise DataError(f"{name_text(str(path))}: a pipe or device, and no folder or archive")
    stat = path.stat()
    return _staged(
        str(path.absolute()), f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}", cache_dir
    )


def is_remote(uri: str) -> bool:
    """Whether a source lies behind an address that is not one of this machine."""
    return "://" in uri and not uri.startswith("file://")


def local_path(uri: str) -> Path:
    """Return the path of an address on this machine (`~` and `file://` are understood)."""
    name = uri.removeprefix("file://")
    if name != uri and not os.path.exists(name):  # noqa: PTH110 - as in `stage`
        name = unquote(name)  # as an address is written; some only put `file://` before a path
    path = Path(name)
    try:
        return path.expanduser()
    except RuntimeError:  # a name that begins with ~ and is no user's
        return path


def _staged(uri: str, state: str, cache_dir: Path | None) -> Path:
    key = hashlib.blake2b(name_bytes(state), digest_size=16).hexdigest()
    target = (cache_dir or cache_settings().folder) / "staged" / key
    make_once(target, STAGED, partial(_fill, uri))
    return target / "files"


def _fill(uri: str, draft: Path) -> None:
    files = draft / "files"
    source = Path(uri) if "://" not in uri else fetch(uri, draft / "fetched")
    if source.is_dir():
        source.rename(files)
        num_files, num_bytes = _measure(files)
    else:
        files.mkdir()
        num_files, num_bytes = extract(source, files)
    shutil.rmtree(draft / "fetched", ignore_errors=True)
    record = {"source": uri, "files": num_files, "bytes": num_bytes}
    (draft / STAGED).write_text(json.dumps(record, indent=1))
    _logger.info("%s staged: %d files, %.1f MB", uri, num_files, num_bytes / 1e6)


def _measure(folder: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)
