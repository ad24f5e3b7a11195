"""Encoders of a trained model: a checkpoint, an ONNX file or an engine.

file = ModelFile(Path("best.ckpt"))
encoder = load_encoder(file, as_trained(file, spec), device)
emb_ND = encoder(data.eval_batches("query", 128))
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.config.model import has_linear_head
from trainer.data.framing import SQUASHED_FACTS
from trainer.data.value_range import with_value_range
from trainer.embedding import embed
from trainer.engine_facts import read_facts
from trainer.errors import CheckpointError, InfrastructureError, SpecError
from trainer.matching import embed_with_mirror_images
from trainer.models.recognizer import Recognizer, build_recognizer
from trainer.models.weights import find_state_dict, load_into, read_checkpoint
from trainer.onnx_model import OnnxModel

if TYPE_CHECKING:
    from trainer.config.root import Spec

ENGINE_SUFFIXES = (".engine", ".plan", ".trt")

logger = logging.getLogger(__name__)


Encoder = Callable[[Iterable[torch.Tensor]], NDArray[Any]]
"""Embeds batches of normalised pictures: raw embeddings of all in order, float32, shape (N, D)."""


class ModelFile:
    """A model's file, read once however much of it is asked for.

    Whoever needs one answer alone gives a path instead; a checkpoint's weights are held for as long
    as this is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()

    @cached_property
    def content(self) -> dict[str, Any]:
        """What a checkpoint holds.

        Raises:
            CheckpointError: as `read_checkpoint`.
        """
        return read_checkpoint(self.path)

    @cached_property
    def onnx(self) -> OnnxModel | None:
        """The model of an ONNX file, also of one that `gen_trt_engine` wrote; None for others."""
        if self.path.suffix.lower() == ".onnx":
            return OnnxModel(self.path)
        if not self.is_engine:
            return None
        try:
            return OnnxModel(self.path)
        except CheckpointError:  # a TensorRT engine
            return None

    @property
    def is_engine(self) -> bool:
        """Whether it is named as engines are."""
        return self.path.suffix.lower() in ENGINE_SUFFIXES


def _opened(file: Path | ModelFile) -> ModelFile:
    return file if isinstance(file, ModelFile) else ModelFile(file)


def onnx_encoder(model: OnnxModel) -> Encoder:
    """Return what embeds by an exported model under onnxruntime."""

    def encode(batches: Iterable[torch.Tensor]) -> NDArray[Any]:
        return np.concatenate([model.run(batch.cpu().contiguous().numpy()) for batch in batches])

    return encode


def as_matched(encoder: Encoder, spec: Spec) -> Encoder:
    """Return an encoder that embeds as the spec wants pictures matched."""
    if not spec.dataset.flip_average:
        return encoder
    return partial(embed_with_mirror_images, encoder, mirror=partial(torch.flip, dims=(-1,)))


def load_encoder(file: Path | ModelFile, spec: Spec, device: torch.device) -> Encoder:
    """Load a model file of any kind, to embed pictures as a spec wants them matched.

    Raises:
        CheckpointError: it is missing, damaged or does not fit.
        SpecError: the spec describes another model than the file holds, or the file needs a package
            or device that is not here.
    """
    file = _opened(file)
    path = file.path
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file; give a checkpoint, an .onnx file or an engine"
        )
    if (model := file.onnx) is not None:
        if file.is_engine:
            logger.info("%s holds an ONNX model: running it with onnxruntime", path)
        check_facts(path, {**model.facts, **model.size}, spec, only=(*PREPROCESSING, *model.size))
        return as_matched(onnx_encoder(model), spec)
    if file.is_engine:
        return as_matched(_load_engine(path, spec, device), spec)
    return as_matched(partial(embed, load_model(file, spec, device)), spec)


def _load_engine(path: Path, spec: Spec, device: torch.device) -> Encoder:
    """Load a TensorRT engine.

    Raises:
        InfrastructureError: TensorRT or a GPU is missing.
    """
    check_facts(path, read_facts(path), spec, only=PREPROCESSING)
    if not tensorrt_at_hand():
        raise InfrastructureError(
            f"{path}: a TensorRT engine needs the tensorrt package and a GPU, which are not "
            "here; build it again on this machine, or give the .onnx file"
        )
    from trainer.actions.tensorrt_engine import TensorrtEncoder

    return TensorrtEncoder(path, spec, device).embed


def tensorrt_at_hand() -> bool:
    """Whether the tensorrt package is installed and a GPU is visible."""
    return importlib.util.find_spec("tensorrt") is not None and torch.cuda.is_available()


def load_model(file: Path | ModelFile, spec: Spec, device: torch.device) -> Recognizer:
    """Build the model of a spec with the weights of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError, SpecError: as `load_encoder`.
    """
    file = _opened(file)
    path, content = file.path, file.content
    _check_same_model(path, content.get("spec"), spec)
    model = build_recognizer(spec, load_pretrained=False)
    load_into(model, find_state_dict(content, path), what=f"{path} for {spec.model.backbone}")
    return model.to(device).eval()


def _check_same_model(path: Path, trained: Any, spec: Spec) -> None:
    """Compare with the spec that the checkpoint was trained with, where it holds one."""
    if not isinstance(trained, dict) or "model" not in trained:
        return
    facts = {**trained.get("dataset", {}), **trained["model"]}
    if not has_linear_head(spec.model.backbone):
        facts.pop("feat_dim", None)
    check_facts(path, facts, spec)


PREPROCESSING = ("pixel_mean", "pixel_std", "interpolation", "crop_share", "value_range")
"""Keys that decide what a model sees, and say nothing of the network itself."""

_MUST_AGREE = {
    **dict.fromkeys(("backbone", "feat_dim", "pooling"), "model"),
    **dict.fromkeys(("input_channels", "input_height", "input_width"), "model"),
    **dict.fromkeys(PREPROCESSING, "dataset"),
}
"""Keys that decide what a model computes, and their section."""


def as_trained(file: Path | ModelFile, spec: Spec) -> Spec:
    """Return a spec that reads deep pictures as those were read that a model was trained on.

    A `dataset.value_range` that stands in the spec stays; `load_encoder` refuses it where the model
    says another. Files of other makers say nothing.

    Raises:
        CheckpointError: the file is damaged.
    """
    file = _opened(file)
    if spec.dataset.value_range is not None or not file.path.is_file():
        return spec
    found = _trained_facts(file).get("value_range")
    if not isinstance(found, list | tuple):
        return spec
    return with_value_range(spec, (float(found[0]), float(found[1])))


def trained_classes(file: Path | ModelFile) -> list[str]:
    """Return the classes that a model was trained on; none where its file does not say.

    Raises:
        CheckpointError: the file is damaged.
    """
    return list(_trained_facts(_opened(file)).get("trained_classes") or ())


def _trained_facts(file: ModelFile) -> Mapping[str, Any]:
    """What a file says of `dataset` and `trained_classes`."""
    if file.onnx is not None:
        return file.onnx.facts
    if file.is_engine:
        return read_facts(file.path)
    content = file.content
    trained = content.get("spec")
    dataset = trained.get("dataset") if isinstance(trained, Mapping) else None
    known = dataset if isinstance(dataset, Mapping) else {}
    return {**known, "trained_classes": content.get("class_names")}


def check_facts(
    path: Path, facts: Mapping[str, Any], spec: Spec, *, only: Iterable[str] = _MUST_AGREE
) -> None:
    """Refuse a spec that describes another model than a file says it holds.

    Args:
        path: the file.
        facts: values by the last part of their spec key; what is absent is not compared.
        spec: the spec to compare with.
        only: keys to compare.

    Raises:
        SpecError: naming every key that differs and its value in the file.
    """
    if "pixel_mean" in facts:  # files of earlier releases lack what was always so for them
        facts = {**SQUASHED_FACTS, **facts}
    wrong = []
    for key in only:
        now = getattr(getattr(spec, _MUST_AGREE[key]), key)
        now = list(now) if isinstance(now, tuple) else now
        if facts.get(key) is not None and facts[key] != now:
            wrong.append(f"{_MUST_AGREE[key]}.{key} must be {facts[key]}, got {now}")
    if wrong:
        raise SpecError(f"{'; '.join(wrong)}: {path} was made with that")
