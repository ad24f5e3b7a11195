"""Makes run directories: whole, under a name of their own, at a place that can hold them."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import re
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from hpo.core.durable_files import rename_durably
from hpo.core.errors import RunError
from hpo.core.machine_faults import find_fault
from hpo.core.text import printable
from hpo.run.run_dir import STAMP_FORM, RunDir, is_run

_DRAFT = re.compile(r"\.new-[0-9a-f]{16}")
_LONGEST_DRAFT_S = 86400.0


def create_run(out: Path, study: str, fill: Callable[[Path], None], *, prefix: str = "") -> RunDir:
    """Make a run directory that appears in one step with what `fill(folder)` writes into it.

    Its name is `prefix` and the time; two in one second get two names.

    Raises:
        RunError: when the place cannot hold run directories, or lies in one.
    """
    parent = out.resolve() / study
    above = out
    try:
        demand_place(parent, "choose another --out")
        above = parent if parent.exists() else out  # its disk may be another
        above.mkdir(parents=True, exist_ok=True)
        draft = make_draft(above)
    except OSError as error:
        raise _refused(above, error.strerror, parent) from error
    try:
        fill(draft)
        return RunDir(_place(draft, parent, prefix))
    except Exception as error:
        fault = find_fault(error)
        if fault and (not fault.path or _is_in(Path(fault.path), draft, parent)):
            raise _refused(above, fault.said, parent) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # is gone where it has taken its place


def demand_place(folder: Path, remedy: str = "choose another folder") -> None:
    """Refuse an absolute path where no run can lie: one that is no text, or within a run."""
    if (shown := printable(str(folder))) != str(folder):
        raise RunError(
            f"{shown}: cannot hold a run: its path is no UTF-8, or holds control characters, which "
            f"libraries that write models and data bases refuse; {remedy}"
        )
    for above in (folder, *folder.parents):
        if is_run(above):
            raise RunError(
                f"{folder}: must lie outside other runs, and {above} is one; name a folder "
                "outside of it, or resume it to go on with it"
            )


def make_draft(out: Path) -> Path:
    """Make a hidden folder, with the permissions that the user's umask gives.

    Those of programs that were killed go; to fill one takes seconds.
    """
    for left in filter(lambda path: _DRAFT.fullmatch(path.name), out.glob(".new-*")):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > _LONGEST_DRAFT_S and not left.is_symlink():
                shutil.rmtree(left)
    draft = out / f".new-{secrets.token_hex(8)}"
    draft.mkdir()
    return draft


def _is_in(path: Path, *folders: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _refused(folder: Path, why: str | None, parent: Path) -> RunError:
    flags = "--name or --out" if folder == parent else "--out"
    return RunError(f"{folder}: cannot hold run directories: {why}; choose another {flags}")


def _place(draft: Path, parent: Path, prefix: str) -> Path:
    """Rename the draft to a free timestamp; two searches in one second get two folders.

    The study's folder is made no earlier: programs take it for the sign of a run.
    """
    parent.mkdir(exist_ok=True)
    stamp = prefix + dt.datetime.now().astimezone().strftime(STAMP_FORM)
    for attempt in range(1, 1000):
        target = parent / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        if target.exists():
            continue
        try:
            rename_durably(draft, target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # taken in between
                raise
        else:
            return target
    raise RunError(f"{parent}: no free name for a run below it")
