"""Refuses to write a file in the place of something else."""

from __future__ import annotations

from pathlib import Path

from hpo.core.errors import SpecError


def demand_target(
    file: Path, suffix: str, where: str, *, takes_streams: bool = False, hint: str = ""
) -> None:
    """Refuse a place where there is something other than an earlier file of the same kind.

    Args:
        file: to be written.
        suffix: ends the names of such files, as `.onnx`; a link counts as what it leads to.
        where: begins the message.
        hint: ends the message for a folder.
        takes_streams: whether it may be a device or a pipe, such as /dev/stdout.

    Raises:
        SpecError: naming what to give in its place.
    """
    if file.is_dir() or file.parent.is_file():
        raise SpecError(
            f"{where}: must be a file to write, and {file} is a folder or below a file{hint}"
        )
    if not file.exists():
        return
    is_ours = file.is_file() and file.resolve().suffix.lower() == suffix
    if not is_ours and not (takes_streams and not file.is_file()):
        raise SpecError(
            f"{where}: must not replace what is there, and {file} is no {suffix} file; "
            "name another file, or remove that"
        )
