"""Trunk and head joined: images in, raw embeddings out."""

import logging
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from trainer.config.model import ModelConfig, has_linear_head, timm_name
from trainer.config.root import Spec
from trainer.config.weights import WeightsConfig
from trainer.errors import CheckpointError, SpecError
from trainer.models.folded_norms import Names, find_foldable, fold_norms
from trainer.models.heads import LinearHead, ResidualHead
from trainer.models.layouts import aside_words
from trainer.models.pooling import gem_parameters
from trainer.models.trunk import create_timm_trunk, create_trunk
from trainer.models.weight_sources import TIMM, WeightSource, is_address, resolve
from trainer.models.weights import load_into, read_state_dict

logger = logging.getLogger(__name__)

Head = LinearHead | ResidualHead

_FOLDABLE: dict[tuple[str, int, int, int], Names] = {}
"""What `find_foldable` found, by backbone, channels, height and width."""


class Recognizer(nn.Module):
    """A trunk and its head, under the names `trunk` and `embedder` that weight files use.

    Attributes:
        embedding_size: D, the length of an embedding.
        weights: `address`, `sha256` and `licence` of the trunk's file; None where none was read.
    """

    def __init__(self, trunk: nn.Module, embedder: Head) -> None:
        super().__init__()
        self.trunk = trunk
        self.embedder = embedder
        self.embedding_size = embedder.embedding_size
        self.weights: dict[str, str | None] | None = None

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Map normalised images N x C x H x W to embeddings N x D, not normalised."""
        emb_ND: Tensor = self.embedder(self.trunk(images_NCHW))
        return emb_ND


def build_recognizer(
    spec: Spec, *, load_pretrained: bool = True, trunk: nn.Module | None = None
) -> Recognizer:
    """Build the model of `spec.model`, with the weights it names.

    `model.pretrained_trunk_path` is loaded first, then `pretrained_embedder_path`, then
    `pretrained_model_path`; a later file replaces what an earlier one gave. The trunk's may be any
    address that `trainer.models.weight_sources` resolves.

    Args:
        spec: The whole spec; only its `model` section is read.
        load_pretrained: False when a training checkpoint follows, which replaces all weights:
            files are then neither read nor needed.
        trunk: what `random_trunk` has just built; None to build it here.

    Returns:
        The model on the CPU, in training mode; random values come from torch's global generator,
        the same with and without weight files.

    Raises:
        SpecError: Unknown backbone, or an image size it cannot take.
        CheckpointError: A named weight file is missing, damaged, unsafe or does not fit.
    """
    trunk = random_trunk(spec.model) if trunk is None else trunk
    recognizer = add_head(trunk, spec.model)
    if load_pretrained:
        _load_pretrained(recognizer, spec.model)
    return recognizer


def random_trunk(model: ModelConfig) -> nn.Module:
    """Build the trunk of a model with random weights, from torch's global generator."""
    size = (model.input_height, model.input_width)
    key = (model.backbone, model.input_channels, *size)
    trunk = create_trunk(
        model.backbone, image_size=size, in_channels=model.input_channels, pooling=model.pooling
    )
    if key not in _FOLDABLE and torch.get_default_device().type == "cpu":  # it has values to try
        _FOLDABLE[key] = find_foldable(trunk, (model.input_channels, *size))
    fold_norms(trunk, _FOLDABLE.get(key, ()))
    return trunk


def add_head(trunk: nn.Module, model: ModelConfig) -> Recognizer:
    """Put a model's head with random weights on a trunk."""
    features = trunk.num_features
    if not isinstance(features, int):
        raise TypeError(f"{model.backbone}: num_features is {features!r}, not an int")
    if has_linear_head(model.backbone):
        return Recognizer(trunk, LinearHead(features, model.feat_dim))
    return Recognizer(trunk, ResidualHead(features))


def _load_pretrained(recognizer: Recognizer, model: ModelConfig) -> None:
    if model.pretrained_trunk_path:
        source = _trunk_source(model.pretrained_trunk_path, model.weights)
        state = _trunk_state(source, model)
        _load(recognizer.trunk, state, "pretrained_trunk_path", model)
        recognizer.weights = {
            "address": source.address,
            "sha256": source.sha256,
            "licence": source.licence,
        }
    for key, part in (
        ("pretrained_embedder_path", recognizer.embedder),
        ("pretrained_model_path", recognizer),
    ):
        path = getattr(model, key)
        if path:
            _load(part, _file_state(key, path), key, model)
    if not (model.pretrained_trunk_path or model.pretrained_model_path):
        logger.warning(
            "model: %s starts from RANDOM weights, which needs far more pictures and epochs than a "
            "pretrained trunk; set model.pretrained_trunk_path to a weight file%s",
            model.backbone,
            _hub_hint(model.backbone),
        )


def _load(part: nn.Module, state: dict[str, Tensor], key: str, model: ModelConfig) -> None:
    what = f"model.{key}: {getattr(model, key)} for {model.backbone}"
    report = load_into(part, state, what=what, optional=gem_parameters(part))
    logger.info("%s: %d weights loaded%s", what, len(report.loaded), aside_words(report.ignored))


def _trunk_source(address: str, record: WeightsConfig) -> WeightSource:
    """Find the trunk's weights, the same that the spec was resolved with."""
    source = resolve(address, fetch=True)
    wanted = record.sha256 if record.address == address else None
    if wanted and source.sha256 != wanted:
        raise CheckpointError(
            f"model.pretrained_trunk_path: {address} ({source.path}) must be the file that the "
            f"spec was made with (sha256 {wanted[:12]}...), and is another one "
            f"({str(source.sha256)[:12]}...); remove model.weights from the spec to take it"
        )
    return source


def _trunk_state(source: WeightSource, model: ModelConfig) -> dict[str, Tensor]:
    if source.path is None:
        raise CheckpointError(f"model.pretrained_trunk_path: {source.address} has no file")
    if source.timm_model is None or not source.is_published:
        return read_state_dict(source.path)
    try:
        with torch.random.fork_rng(devices=[]):  # what is drawn next must not depend on the weights
            trunk = create_timm_trunk(
                source.timm_model,
                image_size=(model.input_height, model.input_width),
                in_channels=model.input_channels,
                weights=source.path,
            )
    except (OSError, RuntimeError, ValueError) as e:
        reason = str(e).strip().splitlines() or [type(e).__name__]
        raise CheckpointError(
            f"model.pretrained_trunk_path: {source.address}: {source.path} does not fit timm's "
            f"{source.timm_model}: {reason[0]}"
        ) from e
    return dict(trunk.state_dict())


def _file_state(key: str, path: str) -> dict[str, Tensor]:
    if is_address(path):
        raise SpecError(
            f"model.{key}: must be a file, and {path} names weights of a trunk; give it as "
            "model.pretrained_trunk_path"
        )
    return read_state_dict(Path(path))


def _hub_hint(backbone: str) -> str:
    """How this trunk's published weights are fetched, where timm has any."""
    arch = timm_name(backbone)
    if not (arch and timm.is_model_pretrained(arch)):
        return ""
    return f", or to {TIMM}{arch} where a hub can be reached"


def has_pretrained_weights(spec: Spec) -> bool:
    """Whether `spec.model` names any weights to start from."""
    model = spec.model
    return any(
        (model.pretrained_model_path, model.pretrained_trunk_path, model.pretrained_embedder_path)
    )
