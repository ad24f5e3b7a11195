"""The folders that a search writes to: whether they can be written, how much room they have."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hpo.core.bytes import why_not_writable
from hpo.core.errors import HpoError
from hpo.core.protocols import Trainer
from hpo.core.trainer_extras import CacheFolder
from hpo.doctor.check import Check, Status
from hpo.executors.ray_folder import choose_ray_folder
from hpo.study.plan import as_user_errors, kept_folder

_LEAST_DISK_GIB = 10
_LEAST_TEMPORARY_GIB = 1
_LEAST_FREE_MIB = 64
"""With less than this not even the smallest search gets through."""


def check_runs(out: Path) -> Check:
    """The folder that runs will lie in."""
    folder = out.absolute()
    if why := why_not_writable(folder):
        text = f"{folder} cannot be written: {why}"
        return Check("runs", "error", text, "choose another --out")
    return _room("runs", out, _LEAST_DISK_GIB, "checkpoints may not fit; choose another --out")


def check_cache(trainer: Trainer) -> Check:
    """The folder that a trainer keeps decoded pictures in."""
    advice = "set HPO_CACHE_DIR to a folder that can be written"
    try:
        with as_user_errors():
            warning = trainer.cache_folder()["warning"] if isinstance(trainer, CacheFolder) else ""
            folder = kept_folder(trainer)
    except HpoError as error:
        return Check("cache", "error", str(error), advice)
    if warning:
        return Check("cache", "warning", warning, advice)
    advice = "decoded pictures may not fit; set HPO_CACHE_DIR to a folder on a larger disk"
    return _room("cache", folder, _LEAST_DISK_GIB, advice)


def check_temporary() -> Check:
    """The folder for temporary files, and the one that Ray makes in it or elsewhere."""
    try:
        folder = Path(tempfile.gettempdir())
        ray = choose_ray_folder()
    except (OSError, HpoError) as error:
        text = str(error) if isinstance(error, HpoError) else error.strerror
        advice = "set TMPDIR to a folder with a short path that can be written"
        return Check("temporary", "error", str(text), advice)
    if ray.warning:
        advice = "nothing to do; a shorter TMPDIR is used as it is"
        return Check("temporary", "warning", ray.warning, advice)
    advice = "Ray and exports write there; set TMPDIR to a folder on a larger disk"
    return _room("temporary", folder, _LEAST_TEMPORARY_GIB, advice)


def _room(name: str, folder: Path, least_gib: float, advice: str) -> Check:
    """How much room there is where a folder is or will be."""
    existing = next(p for p in [folder.absolute(), *folder.absolute().parents] if p.exists())
    free = shutil.disk_usage(existing).free / 1024**3
    text = (
        f"{folder}: {free:.0f} GiB free" if free >= 1 else f"{folder}: {free * 1024:.0f} MiB free"
    )
    status: Status = "ok"
    if free < least_gib:
        status = "warning" if free * 1024 >= _LEAST_FREE_MIB else "error"
    return Check(name, status, text, "" if status == "ok" else advice)
