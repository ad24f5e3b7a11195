"""Writes further forms of an export by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.errors import SpecError
from trainer.forms.pixels import write_pixel_onnx
from trainer.forms.timm_folder import write_timm_folder
from trainer.forms.triton import write_triton

FORMS = ("pixels", "timm", "triton")


def write_form(folder: Path, form: str, out: Path, name: str) -> dict[str, Any]:
    """Write a form of an export.

    Args:
        folder: of the export: `model.onnx`, `model.ckpt`, `spec.yaml`.
        form: `pixels` (`<out>/<name>_uint8.onnx`), `timm` (`<out>/<name>_timm/`) or `triton`
            (`<out>/<name>_triton/<name>/`).
        out: where it is put.
        name: of the model.

    Returns:
        As the module of the form.

    Raises:
        SpecError: there is no such form, or the model cannot be put into it.
    """
    if form == "pixels":
        return write_pixel_onnx(folder, out / f"{name}_uint8.onnx")
    if form == "timm":
        return write_timm_folder(folder, out / f"{name}_timm", name)
    if form == "triton":
        return write_triton(folder / "model.onnx", out / f"{name}_triton", name)
    raise SpecError(f"form: must be one of {', '.join(FORMS)}, got {form!r}")
