"""Trunk and head joined: images in, raw embeddings out."""

import logging

from torch import Tensor, nn

from trainer.config.model import has_linear_head
from trainer.config.root import Spec
from trainer.errors import SpecError
from trainer.models.heads import LinearHead, ResidualHead
from trainer.models.trunk import create_trunk

logger = logging.getLogger(__name__)

Head = LinearHead | ResidualHead


class Recognizer(nn.Module):
    """A trunk and its head, under the names `trunk` and `embedder` that weight files use.

    Attributes:
        embedding_size: D, the length of an embedding.
    """

    def __init__(self, trunk: nn.Module, embedder: Head) -> None:
        super().__init__()
        if trunk.num_features != embedder.in_features:
            raise SpecError(
                f"model: the trunk gives {trunk.num_features} features, "
                f"the head takes {embedder.in_features}"
            )
        self.trunk = trunk
        self.embedder = embedder
        self.embedding_size = embedder.embedding_size

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Map normalised images N x C x H x W to embeddings N x D, not normalised."""
        emb_ND: Tensor = self.embedder(self.trunk(images_NCHW))
        return emb_ND


def build_recognizer(spec: Spec) -> Recognizer:
    """Build the model of `spec.model` with the weight files it names.

    Args:
        spec: The whole spec; only its `model` section is read.

    Returns:
        The model on the CPU, in training mode, drawn from torch's global generator.

    Raises:
        SpecError: Unknown backbone, or an image size it cannot take.
        CheckpointError: A named weight file is missing, damaged, unsafe or does not fit.
    """
    model = spec.model
    trunk = create_trunk(
        model.backbone,
        image_size=(model.input_height, model.input_width),
        in_channels=model.input_channels,
    )
    features = trunk.num_features
    if not isinstance(features, int):
        raise TypeError(f"{model.backbone}: num_features is {features!r}, not an int")
    if has_linear_head(model.backbone):
        return Recognizer(trunk, LinearHead(features, model.feat_dim))
    return Recognizer(trunk, ResidualHead(features))


def has_pretrained_weights(spec: Spec) -> bool:
    """Whether `spec.model` names any weight file."""
    model = spec.model
    return any(
        (model.pretrained_model_path, model.pretrained_trunk_path, model.pretrained_embedder_path)
    )
