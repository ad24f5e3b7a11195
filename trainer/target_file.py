"""Refuses to write a model in the place of something else."""

from __future__ import annotations

from pathlib import Path

from trainer.errors import SpecError

MODELS = (".onnx", ".engine", ".plan", ".trt")
"""What names of exported models and engines end in."""


def demand_target(file: Path, key: str, *, sources: tuple[Path, ...] = ()) -> None:
    """Refuse a place where there is something other than an earlier model.

    Args:
        file: to be written.
        key: the spec key that names it.
        sources: files that it is made from.

    Raises:
        SpecError: naming what to give in its place.
    """
    if file.is_dir() or file.parent.is_file():
        raise SpecError(f"{key}: must be a file to write, and {file} is a folder or below a file")
    if not file.exists():
        return
    if any(source.exists() and file.samefile(source) for source in sources):
        raise SpecError(f"{key}: must not replace what it is made from, got {file}")
    if not file.is_file() or file.resolve().suffix.lower() not in MODELS:
        raise SpecError(
            f"{key}: must not replace what is there, and {file} is no model ({', '.join(MODELS)}); "
            "name another file, or remove that"
        )
