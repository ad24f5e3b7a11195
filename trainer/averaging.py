"""Averages weights of several trainings, one by one, as long as validation does not fall.

The greedy order is that of "model soups" (Wortsman et al. 2022, arXiv:2203.05482): the first is
kept, and every further one that does not lower Precision@1 of the mean. Statistics of batch norm
that training updates do not fit the mean of the weights and are made anew from training pictures
(arXiv:2301.10092); those that it keeps as they were stay.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from trainer import checkpoints
from trainer.data.batches import build_data
from trainer.devices import pick_device, wants_bf16
from trainer.durable_files import remove_drafts, write_atomically
from trainer.encoders import ModelFile, as_trained, load_model
from trainer.epochs import MONITORED, embedded_by, match_queries
from trainer.errors import CheckpointError
from trainer.features import trains_on_features
from trainer.features.data import build_feature_data
from trainer.isolation import isolated
from trainer.models.trunk import batch_norms
from trainer.models.weights import find_state_dict, read_state_dict

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.batches import RecognitionData
    from trainer.features.data import FeatureData
    from trainer.models.recognizer import Recognizer

COUNT = "averaged"
"""Key of a checkpoint that holds how many trainings its weights are the mean of."""

State = Mapping[str, Tensor]


def average(spec: Spec, files: Sequence[Path], out: Path) -> dict[str, Any]:
    """Average checkpoints in the given order and write the mean; nothing where none is added.

    Args:
        spec: of the first one's training.
        files: checkpoints of one network and start (`trainer.same_start`), the best first. The
            first one may be an average of earlier ones: it then counts as many times.
        out: written where another one than the first is kept, as `evaluate`, `export` and
            `inference` take it; it cannot be trained on.

    Returns:
        `alone` and `value` (Precision@1 on the validation queries of the first one and of the
        mean), `kept` (places in `files`), `values` (of the mean with each of the others, in order),
        `statistics` (`made anew`, `kept` or `none`) and `seconds`.

    Raises:
        CheckpointError: a file is missing, damaged, or of another network than the first.
        TrainerError: the pictures cannot be used.
    """
    began = time.perf_counter()
    remove_drafts(out.parent, out.name)  # of a search that was killed here
    first = ModelFile(files[0])
    spec = as_trained(first, spec)
    device = pick_device(spec.train.gpu_ids[0])
    with isolated(spec, device):
        content = first.content
        mean, count = _doubled(find_state_dict(content, files[0])), int(content.get(COUNT, 1))
        model = load_model(first, spec, device)
        statistics = _statistics(spec, model.trunk)
        data, part = _data(spec, model, device, need_train=statistics == "made anew")
        alone = value = _value(part, data, spec)
        kept, values = [0], []
        best: State = {}
        for place, file in enumerate(files[1:], start=1):
            tried = mixed(mean, count, read_state_dict(file), name=str(file))
            model.load_state_dict(tried)
            if statistics == "made anew":
                remake_statistics(model, (images for images, _ in data.train_batches(0)))
            values.append(_value(part, data, spec))
            if values[-1] >= value:
                mean, count, value = tried, count + 1, values[-1]
                kept.append(place)
                best = checkpoints.snapshot(model.state_dict())
    if best:
        told: checkpoints.Payload = {
            key: content[key] for key in ("spec", "class_names") if key in content
        }
        payload = {"state_dict": best, COUNT: count, **told}
        write_atomically(out, partial(torch.save, payload))
    return {
        "alone": alone,
        "value": value,
        "kept": kept,
        "values": values,
        "statistics": statistics,
        "seconds": time.perf_counter() - began,
    }


def mixed(mean: State, count: int, state: State, *, name: str) -> dict[str, Tensor]:
    """Return the mean of `count` states and one more, in float64; counters stay the mean's.

    Raises:
        CheckpointError: they are not of one network.
    """
    for key in sorted(mean.keys() | state.keys()):
        if key not in mean or key not in state or mean[key].shape != state[key].shape:
            raise CheckpointError(
                f"{name}: must be of the network that it is averaged with, and differs in {key}"
            )
    return {
        key: (count * value + state[key].double()) / (count + 1)
        if value.is_floating_point()
        else value
        for key, value in mean.items()
    }


def remake_statistics(model: nn.Module, images: Iterable[Tensor]) -> None:
    """Make the statistics of batch norm anew: means over these batches, each counting the same."""
    device = next(model.parameters()).device
    update_bn(images, model, device)


def _doubled(state: State) -> dict[str, Tensor]:
    return {k: v.double() if v.is_floating_point() else v for k, v in state.items()}


def _statistics(spec: Spec, trunk: nn.Module) -> str:
    """What becomes of the statistics of batch norm."""
    if not batch_norms(trunk):
        return "none"
    is_updated = spec.train.train_trunk and spec.train.batch_norm == "update"
    return "made anew" if is_updated else "kept"


def _data(
    spec: Spec, model: Recognizer, device: torch.device, *, need_train: bool
) -> tuple[RecognitionData | FeatureData, nn.Module]:
    """Return what training would validate on, and the part of the model that it goes through.

    A trunk that does not learn is the same in all: its features are cached.
    """
    if not trains_on_features(spec):
        # Statistics are those of pictures as large as training ends with.
        full = replace(spec, dataset=replace(spec.dataset, first_size=1.0))
        return build_data(full, device, need_train=need_train), model
    data = build_feature_data(spec, device)
    use_bf16 = wants_bf16(spec.train.precision, device)
    data.load(model.trunk, use_bf16=use_bf16)
    return data, model.embedder


def _value(model: nn.Module, data: RecognitionData | FeatureData, spec: Spec) -> float:
    """The monitored metric of a model, or of a head on features, as training validates it."""
    use_bf16 = wants_bf16(spec.train.precision, next(model.parameters()).device)
    embedded = embedded_by(model, data, spec, use_bf16=use_bf16)
    return match_queries(data, spec, embedded)[0][MONITORED]
