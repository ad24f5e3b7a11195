"""What features depend on, as fingerprints: the trunk's weights, and the keys of a spec.

Keys that change no feature are listed; all others of `model` and `dataset` count, so a key that is
added to these sections makes new features unless it is listed here.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch

from trainer.config.dataset import AUGMENTATION
from trainer.spec import spec_to_dict

if TYPE_CHECKING:
    from torch import nn

    from trainer.config.root import Spec

VIEW_SEED = 0
"""Of the augmented views; not the run's own seed, so that runs of other seeds share them."""

_NO_PART_OF_MODEL = frozenset(
    {
        *("feat_dim", "weights"),
        *("pretrained_model_path", "pretrained_trunk_path", "pretrained_embedder_path"),
    }
)
"""The trunk's weights count themselves, wherever they came from."""

_NO_PART_OF_DATA = frozenset(
    {
        *("train_dataset", "val_dataset", "workers", "class_map", "num_instance"),
        *("sampling", "matching", "flip_average", "ignore_unmatched", "cache", "feature_views"),
        "first_size",
    }
)
"""The pictures count by their own fingerprint."""


def weights_digest(module: nn.Module) -> str:
    """Fingerprint of all weights and statistics of a module, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        held = tensor.detach().cpu().contiguous().reshape(-1)
        if held.numel():
            digest.update(memoryview(held.view(torch.uint8).numpy()))
    return digest.hexdigest()


def preprocessing(spec: Spec) -> dict[str, Any]:
    """Return the keys that decide what the trunk computes of a picture that is not augmented."""
    nested = spec_to_dict(spec)
    model, dataset = nested["model"], nested["dataset"]
    left_out = {*_NO_PART_OF_DATA, *AUGMENTATION}
    return {
        "model": {key: value for key, value in model.items() if key not in _NO_PART_OF_MODEL},
        "dataset": {key: value for key, value in dataset.items() if key not in left_out},
    }


def augmentation(spec: Spec) -> dict[str, Any]:
    """Return the keys that decide how training pictures are augmented."""
    dataset = spec_to_dict(spec)["dataset"]
    return {key: dataset[key] for key in AUGMENTATION}


def fingerprint(*parts: object) -> str:
    """Fingerprint of plain data, 32 hex digits."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
