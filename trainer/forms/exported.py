"""What every form is made from: an export's folder, and real pictures to check the form on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.actions.predict import embed_readable
from trainer.config.files import read_spec_file
from trainer.data.decode import upright_picture
from trainer.data.decoder import opened
from trainer.data.framing import framing_of, input_size
from trainer.data.origin import origin
from trainer.data.splits import scan_splits
from trainer.encoders import ModelFile, as_trained, load_model
from trainer.errors import CheckpointError, ImageError, SpecError
from trainer.onnx_model import OnnxModel
from trainer.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer.config.root import Spec
    from trainer.models.recognizer import Recognizer

_MOST_CHECKED = 64
"""Pictures that a form is checked on, spread over all there are."""


class FormError(SpecError):
    """A model, or its preprocessing, cannot be put into a form."""


def demand_replaceable(target: Path, option: str, own: Iterable[str], *, is_ours: bool) -> None:
    """Refuse to replace a folder that holds more than a form.

    Args:
        target: the folder; need not be there.
        option: that asks for the form.
        own: names of the form's files, below the folder.
        is_ours: whether those that are there were written by this project.

    Raises:
        FormError: something else would be lost.
    """
    files = (path for path in target.rglob("*") if not path.is_dir())
    found = (str(path.relative_to(target)) for path in files)
    other = next((name for name in found if not is_ours or name not in set(own)), None)
    if other is not None or (target.exists() and not target.is_dir()):
        raise FormError(
            f"{option}: {target}: must hold nothing but what {option} has written there, which is "
            f"replaced, got {other or 'a file'}; move it away, or give another --out"
        )


@dataclass(frozen=True)
class Exported:
    """The folder of an export: `model.ckpt`, `model.onnx` and `spec.yaml`."""

    folder: Path

    @cached_property
    def spec(self) -> Spec:
        """The spec that it was trained with, deep pictures as its pictures were read."""
        text = read_spec_file(self.folder / "spec.yaml")
        return as_trained(self.weights, parse_spec(text, "train", is_complete=False))

    @cached_property
    def weights(self) -> ModelFile:
        """Its checkpoint."""
        path = self.folder / "model.ckpt"
        if not path.is_file():
            raise CheckpointError(f"{path}: no such checkpoint; export the trial again")
        return ModelFile(path)

    @cached_property
    def onnx(self) -> OnnxModel:
        """The model that the export has checked against torch."""
        return OnnxModel(self.folder / "model.onnx")

    def load(self) -> Recognizer:
        """Build the model on the CPU, in evaluation mode."""
        import torch

        return load_model(self.weights, self.spec, torch.device("cpu"))

    def pictures(self) -> list[Path]:
        """Some queries of the spec, else some of its gallery.

        Raises:
            SpecError, DataError: it names neither, or they are gone.
        """
        folders = scan_splits(self.spec, need_train=False)
        folder = folders.get("query") or folders.get("reference")
        if folder is None:
            raise SpecError(
                "dataset.val_dataset: must name reference or query pictures, which this form is "
                "checked on"
            )
        chosen = np.unique(
            np.linspace(0, len(folder.paths) - 1, _MOST_CHECKED).round().astype(np.int64)
        )
        return [folder.root / folder.paths[i] for i in chosen]

    def embed(self, files: list[Path], model: OnnxModel | None = None) -> NDArray[np.float32]:
        """Embed pictures as `hpo predict` does; without a model mirror images are left out."""
        if model is None:
            model = OnnxModel(self.folder / "model.onnx")
            model.facts = {**model.facts, "flip_average": False}
        errors: dict[int, str] = {}
        parts = [emb_ND for _, emb_ND, _ in embed_readable(model, files, errors)]
        if errors:
            raise ImageError(f"{origin(files[min(errors)])}: {errors[min(errors)]}")
        return np.concatenate(parts)

    def compared(
        self, files: list[Path], own_ND: NDArray[np.float32], least: float, what: str
    ) -> dict[str, Any]:
        """Compare a form's embeddings of pictures with the model's, of which a receipt tells.

        Raises:
            FormError: as `demand_likeness`.
        """
        found = likeness(own_ND, self.embed(files))
        demand_likeness(found, least, what)
        return {**found, "num_images_checked": len(files)}

    def upright(self, file: Path) -> Any:
        """Decode one picture at its own size, as a Pillow image in the model's colours."""
        size, framing = input_size(self.spec), framing_of(self.spec)
        mode = "RGB" if size.channels == 3 else "L"
        with opened(file.read_bytes(), mode=mode, longest_px=None) as picture:
            return upright_picture(picture, mode, framing.value_range).copy()


def likeness(first_ND: NDArray[np.float32], second_ND: NDArray[np.float32]) -> dict[str, float]:
    """Return least and mean cosine of two embeddings of the same pictures."""
    norms = np.linalg.norm(first_ND, axis=1) * np.linalg.norm(second_ND, axis=1)
    cosine_N = (first_ND * second_ND).sum(axis=1) / np.maximum(norms, 1e-12)
    return {"min_cosine": float(cosine_N.min()), "mean_cosine": float(cosine_N.mean())}


def demand_likeness(found: dict[str, float], least: float, what: str) -> None:
    """Refuse a form that does not give what the model gives.

    Raises:
        FormError: naming both figures.
    """
    if not found["min_cosine"] >= least:
        raise FormError(
            f"{what}: its embeddings must have a cosine of {least} or more with those of "
            f"model.onnx, got {found['min_cosine']:.4f}; nothing is written"
        )


def with_opset(spec: Spec, least: int) -> Spec:
    """Return a spec that exports an open batch with this opset or a later one."""
    opset = max(least, spec.export.opset_version)
    return dataclasses.replace(
        spec, export=dataclasses.replace(spec.export, batch_size=-1, opset_version=opset)
    )
