"""The folder for what trainers without a cache of their own keep between searches."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hpo.core.errors import MachineError
from hpo.core.own_folder import make_own, temporary_place

NAMED = "HPO_CACHE_DIR"
_OWN = "other-trainers"
"""Below the cache folder, where the trainer that comes with hpo has folders of its own."""


def own_cache() -> Path:
    """Make the folder: below HPO_CACHE_DIR, else below XDG_CACHE_HOME or `~/.cache`.

    Where none is named and the usual one cannot be written, it lies among the temporary files.

    Raises:
        MachineError: the folder that is named, or the one among the temporary files, cannot be.
    """
    named = os.environ.get(NAMED)
    xdg = os.environ.get("XDG_CACHE_HOME", "")  # whose specification wants it to be absolute
    usual = Path(xdg if Path(xdg).is_absolute() else "~/.cache") / "hpo-recognition"
    try:
        folder = Path(named or usual).expanduser().absolute() / _OWN
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, RuntimeError) as error:  # the latter where there is no home folder
        if not named:
            return make_own(temporary_place("hpo-data"))
        why = getattr(error, "strerror", None) or str(error)
        raise MachineError(
            f"{NAMED}: must be a folder that can be written, got {named} ({why}); set it to "
            "another folder"
        ) from error
    return folder
