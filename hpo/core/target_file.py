"""Refuses, before long work, a place where its file cannot be written, or something else is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hpo.core.bytes import why_not_writable
from hpo.core.errors import SpecError


def demand_target(
    file: Path,
    suffix: str,
    where: str,
    *,
    signs: Collection[str] = (),
    takes_streams: bool = False,
    hint: str = "",
) -> None:
    """Refuse a place that takes no file, or has something else than an earlier one of its kind.

    Args:
        file: to be written.
        suffix: ends the names of such files, as `.onnx`; a link counts as what it leads to.
        where: begins the message.
        signs: one of these is near the beginning of every such file, whatever it is called; none
            where the suffix alone tells.
        hint: ends the message for a folder.
        takes_streams: whether it may be a device or a pipe, such as /dev/stdout.

    Raises:
        SpecError: naming what to give in its place.
    """
    if file.is_dir() or file.parent.is_file():
        raise SpecError(
            f"{where}: must be a file to write, and {file} is a folder or below a file{hint}"
        )
    if takes_streams and file.exists() and not file.is_file():
        return
    if why := why_not_writable(file.resolve().parent):
        raise SpecError(f"{where}: {file} cannot be written: {why}; name another file")
    if not file.exists():
        return
    if not file.is_file() or (not signs and file.resolve().suffix.lower() != suffix):
        what = f"is no {suffix} file"
    elif signs and (head := _head_of(file)) and not any(sign in head for sign in signs):
        what = "was not written by this command"
    else:
        return
    raise SpecError(
        f"{where}: must not replace what is there, and {file} {what}; "
        "name another file, or remove that"
    )


def _head_of(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(2000).decode("utf-8", "replace")
