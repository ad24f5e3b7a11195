"""Trains many heads on features of one trunk at once, each as `trainer.training.fit` would.

    receipts = fit_heads(specs, report)

A head's own module, loss, optimizer, schedule, reporter and folder are those of a run of its own;
only the forward and backward pass of heads whose losses have one name is shared (`trainer.stack`).
Heads that cannot be stacked are trained one by one.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from trainer.data.value_range import with_value_range
from trainer.devices import image_layout, pick_device, wants_bf16
from trainer.errors import TrainerError
from trainer.features import trains_on_features
from trainer.features.data import FeatureData, build_feature_data
from trainer.features.loop import one_thread
from trainer.heads_together import HeadReport, HeadRun, train_together
from trainer.isolation import isolated, seeded
from trainer.models.heads import LinearHead
from trainer.models.recognizer import add_head, build_recognizer, random_trunk
from trainer.module import RecognitionModule
from trainer.multi_process import fit_anywhere
from trainer.spec import spec_to_dict
from trainer.training import checked_spec

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.decoding import Progress

STACKED_CPU, STACKED_CUDA = 8, 256
"""Heads in one stack: on a CPU, what the caches hold."""


def fit_heads(
    specs: Sequence[Spec | Mapping[str, Any]],
    report: HeadReport,
    progress: Progress | None = None,
) -> list[dict[str, Any] | TrainerError]:
    """Train heads on a frozen trunk together.

    Each gets the weights, the curve, the files and the receipt of its run alone, but for rounding;
    checkpoints of its best and its last epoch are written when it has ended.

    Args:
        specs: one for each head, each with its own `results_dir`.
        report: called once per validated epoch of each head; False ends that head.
        progress: as of `trainer.training.fit`.

    Returns:
        For each head its receipt, or the error that ended it while the others went on.

    Raises:
        SpecError: a spec is wrong.
    """
    checked = [checked_spec(spec) for spec in specs]
    outcomes: dict[int, dict[str, Any] | TrainerError] = {}
    stackable: dict[str, list[int]] = {}
    for number, spec in enumerate(checked):
        if _can_stack(spec):
            stackable.setdefault(_trunk_key(spec), []).append(number)
        else:
            outcomes[number] = _alone(spec, number, report, progress)
    for numbers in stackable.values():
        outcomes |= _of_one_trunk({n: checked[n] for n in numbers}, report, progress)
    return [outcomes[number] for number in range(len(checked))]


def _can_stack(spec: Spec) -> bool:
    model, train = spec.model, spec.train
    is_own = model.pretrained_embedder_path or model.pretrained_model_path
    is_resumed = train.resume_training_checkpoint_path
    return (
        trains_on_features(spec)
        and train.train_embedder
        and not (is_own or is_resumed or train.compile)
    )


def _alone(
    spec: Spec, number: int, report: HeadReport, progress: Progress | None
) -> dict[str, Any] | TrainerError:
    try:
        return fit_anywhere(spec, lambda told: report(number, told), progress=progress)
    except TrainerError as error:
        return error


def _trunk_key(spec: Spec) -> str:
    """Equal for heads that share trunk, seed, arithmetic and switches of the process."""
    held = spec_to_dict(spec)
    held["model"].pop("feat_dim", None)
    shared = ("seed", "precision", "gpu_ids", "batch_norm", "cudnn")
    return json.dumps([held["model"], *(held["train"][key] for key in shared)])


def _of_one_trunk(
    specs: Mapping[int, Spec], report: HeadReport, progress: Progress | None
) -> dict[int, dict[str, Any] | TrainerError]:
    """Train the heads of one trunk, a stack at a time."""
    first = next(iter(specs.values()))
    device = pick_device(first.train.gpu_ids[0])
    heads: dict[int, HeadRun] = {}
    outcomes: dict[int, dict[str, Any] | TrainerError] = {}
    began = time.perf_counter()
    try:
        with isolated(first, device):
            makers = _HeadMaker(first, device, progress)
            if not makers.has_linear_head:
                return {n: _alone(spec, n, report, progress) for n, spec in specs.items()}
            for n, spec in specs.items():
                try:
                    heads[n] = makers.make(n, spec, report)
                except TrainerError as error:
                    outcomes[n] = error
            for head in heads.values():  # features were made for all of them
                head.reporter.unreported_s += time.perf_counter() - began
            if progress is not None:
                progress("", 0, 0)
            most = STACKED_CUDA if device.type == "cuda" else STACKED_CPU
            _train([head for head in heads.values() if not head.outcome], most)
    except TrainerError as error:
        outcomes = {n: outcomes.get(n, error) for n in specs}
    return outcomes | {n: head.outcome for n, head in heads.items() if head.outcome}


def _train(heads: list[HeadRun], most: int) -> None:
    """Train a stack at a time; the checkpoints of one are written while the next trains."""
    try:
        with one_thread():
            for group in _groups(heads, most):
                train_together(group)
    finally:
        for head in heads:
            if head.is_trained and head.outcome is None:
                head.end()


class _HeadMaker:
    """Builds heads on one trunk, with the random values that each would draw alone."""

    def __init__(self, spec: Spec, device: torch.device, progress: Progress | None) -> None:
        self._device, self._progress = device, progress
        with seeded(spec.train.seed, device):
            trunk = random_trunk(spec.model)
            self._random = torch.get_rng_state()
            whole = build_recognizer(spec, trunk=trunk)
        self.has_linear_head = isinstance(whole.embedder, LinearHead)
        self._weights = whole.weights
        self._trunk = whole.trunk.to(device)
        self._trunk = self._trunk.to(memory_format=image_layout(whole, device))
        self._use_bf16 = wants_bf16(spec.train.precision, device)
        self._data: dict[str, FeatureData | TrainerError] = {}
        self._first: RecognitionModule | None = None

    def make(self, number: int, spec: Spec, report: HeadReport) -> HeadRun:
        """Build a head, its data loaded, and make it ready."""
        data = self._data_of(spec)
        with seeded(spec.train.seed, self._device):
            torch.set_rng_state(self._random)
            model = add_head(self._trunk, spec.model).to(self._device)
            model.weights = self._weights
            module = RecognitionModule(
                spec,
                model,
                num_classes=data.num_classes,
                num_batches=data.num_batches,
                takes_features=True,
            )
        if self._first is None:
            self._first = module
        module.share_fixed_state(self._first)
        spec = with_value_range(spec, data.framing.value_range)
        head = HeadRun(number, spec, module, data, report, use_bf16=self._use_bf16)
        head.prepare(self._progress)
        return head

    def _data_of(self, spec: Spec) -> FeatureData:
        """The features and batches of a head, shared by those with the same."""
        facts = [spec_to_dict(spec)["dataset"], spec.train.batch_size, spec.train.seed]
        key = json.dumps(facts, sort_keys=True)
        if key not in self._data:
            self._data[key] = self._loaded(spec)
        found = self._data[key]
        if isinstance(found, TrainerError):
            raise found
        return found

    def _loaded(self, spec: Spec) -> FeatureData | TrainerError:
        try:
            data = build_feature_data(spec, self._device)
            data.load(self._trunk, use_bf16=self._use_bf16, progress=self._progress)
        except TrainerError as error:
            return error
        return data


def _groups(heads: list[HeadRun], most: int) -> Iterator[list[HeadRun]]:
    """Heads that train in one stack, those of like sizes together."""
    ordered = sorted(heads, key=lambda head: (head.group_key, head.size))
    for _, same in itertools.groupby(ordered, key=lambda head: head.group_key):
        own = list(same)
        num_stacks = math.ceil(len(own) / most)
        size = math.ceil(len(own) / num_stacks)
        yield from (own[start : start + size] for start in range(0, len(own), size))
