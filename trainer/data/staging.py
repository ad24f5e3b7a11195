"""Bring a source of images (folder, archive, store address) to a local folder, once.

A folder is used where it is. An archive is unpacked once into the cache, under a name made of its
path, size and time; a `s3://` or other address is fetched through fsspec first. What was done
stands in `staging.json` beside the files.

A process that has asked for a copy holds a shared lock on `<key>.use` until it ends, so nothing
removes the copy meanwhile. One that was removed (`trainer.data.cached_sets`) has left its record,
and comes back when a folder of it, or a split of it by links, is named again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from trainer.data.archive import extract
from trainer.data.cached_sets import evict, in_use_path, is_key, left_record
from trainer.data.location import cache_settings, make_once, shared
from trainer.data.names import name_bytes, name_text
from trainer.data.origin import SPLIT, STAGED, read_record
from trainer.data.remote import fetch, fingerprint
from trainer.errors import DataError

_PIN = "#state="
"""Stands between an address and the key of the state that is wanted of it."""

_held: dict[Path, int] = {}
"""Copies that this process has asked for, and the lock that it holds on each."""

_logger = logging.getLogger(__name__)


def stage(uri: str, cache_dir: Path | None = None) -> Path:
    """Give the local folder that holds the images of a source.

    Args: uri: a folder, an archive (whatever its ending), or either behind an address such as
        s3://, also one of `pinned`. cache_dir: where archives are unpacked; default: the user's
        cache folder.

    Returns:
        The folder itself, or `<cache>/staged/<key>/files`.

    Raises: DataError: nothing there, not an archive that is known, an archive that must not be
        unpacked, or an address whose pinned state is gone. CredentialError: the store refuses, or
        its package is missing.
    """
    if is_remote(uri):
        return _remote(uri, cache_dir)
    path = local_path(uri)
    _bring_back(path)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        return path
    if not os.path.exists(path):  # noqa: PTH110 - as above
        raise DataError(f"{name_text(str(path))}: no such folder or archive")
    if not path.is_file():
        raise DataError(f"{name_text(str(path))}: a pipe or device, and no folder or archive")
    return _staged(str(path.absolute()), _archive_key(path), cache_dir)


def pinned(uri: str) -> str:
    """Stage what lies behind an address, and return the address with the state that it is in now.

    `stage` gives that state by it from now on: what comes later is not seen, and nobody asks the
    store again while the copy is in the cache. A source on this machine stays as it is named.

    Raises:
        DataError, CredentialError: as `stage`.
    """
    return f"{address_of(uri)}{_PIN}{stage(uri).parent.name}" if is_remote(uri) else uri


def address_of(uri: str) -> str:
    """Return a source as its user named it, without the state that it was in."""
    return uri.partition(_PIN)[0] if is_remote(uri) else uri


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


def _remote(uri: str, cache_dir: Path | None) -> Path:
    """Fetch what lies behind an address, unless the state that it names is there."""
    address, _, wanted = uri.partition(_PIN)
    if wanted and _is_there(place := _place(wanted, cache_dir)):
        return place / "files"
    key = _key(fingerprint(address))
    if wanted:
        _demand_same(address, key, wanted)
    return _staged(address, key, cache_dir)


def _bring_back(path: Path) -> None:
    """Unpack again what was removed from the cache, where a folder lies in it or links to it.

    Raises:
        DataError: the archive or what lies behind the address has changed.
    """
    place = _copy_of(path)
    if place is None or _is_there(place):
        return
    source, root = left_record(place), place.parent.parent
    if is_remote(source):
        _remote(f"{source}{_PIN}{place.name}", root)
    elif source:
        _demand_same(source, _archive_key(Path(source)), place.name)
        _staged(source, place.name, root)


def _copy_of(path: Path) -> Path | None:
    """The place of the copy that a folder lies in, or that the folders of a split link to."""
    name, made_from = read_record(str(path.parent))
    path = Path(made_from) if name == SPLIT else path
    places = (p for p in (path, *path.parents) if p.parent.name == "staged" and is_key(p.name))
    return next(places, None)


def _is_there(place: Path) -> bool:
    """Whether a copy is there; it then stays while this process lives."""
    if not (place / STAGED).is_file():
        return False
    _hold(place)
    return (place / STAGED).is_file()  # it may have been removed before it was held


def _hold(place: Path) -> None:
    with suppress(OSError):  # in a cache folder that is another user's, or read-only
        if place not in _held:
            _held[place] = shared(in_use_path(place))
        os.utime(place / STAGED)


def _demand_same(source: str, key: str, wanted: str) -> None:
    if key != wanted:
        raise DataError(
            f"{name_text(source)}: must hold what it held when the search began, and has changed; "
            "bring that back, or start a new search"
        )


def _archive_key(path: Path) -> str:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return ""
    return _key(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}")


def _key(state: str) -> str:
    return hashlib.blake2b(name_bytes(state), digest_size=16).hexdigest()


def _place(key: str, cache_dir: Path | None) -> Path:
    return (cache_dir or cache_settings().folder) / "staged" / key


def _staged(uri: str, key: str, cache_dir: Path | None) -> Path:
    target = _place(key, cache_dir)
    _hold(target)
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
    bound, what = cache_settings().limit_bytes, f"unpacked files of {name_text(uri)}"
    evict(draft.parent.parent, draft, num_bytes=num_bytes, limit_bytes=bound, what=what)
    record = {"source": uri, "files": num_files, "bytes": num_bytes}
    (draft / STAGED).write_text(json.dumps(record, indent=1))
    _logger.info("%s staged: %d files, %.1f MB", uri, num_files, num_bytes / 1e6)


def _measure(folder: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)
