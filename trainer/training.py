"""`fit`: trains one spec and returns its receipt.

    receipt = fit(spec, report=lambda epoch: epoch["value"] < 0.99)

A run is one Lightning fit; between epochs `trainer.epochs` validates, records and reports. Nothing
of a run outlives it in the process but the decoded images, which `trainer.data` keeps for the next
run on the same data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainer import checkpoints
from trainer.config.growing import STEP, grows
from trainer.config.root import Spec
from trainer.data.batches import build_data
from trainer.data.value_range import with_value_range
from trainer.devices import image_layout, pick_device, training_devices, wants_bf16
from trainer.distributed import Rank, find_place
from trainer.embedding import needed
from trainer.epochs import CallersSigterm, EpochReporter, Report
from trainer.errors import InfrastructureError, SpecError
from trainer.features import trains_on_features
from trainer.features.data import FeatureData, build_feature_data
from trainer.features.loop import FeatureLoop
from trainer.head_first import prepare_head
from trainer.isolation import isolated
from trainer.lightning import LightningEnvironment, pl
from trainer.models.recognizer import build_recognizer
from trainer.models.trunk_facts import trunk_facts
from trainer.module import EpochBatches, RecognitionModule
from trainer.receipt import build_receipt
from trainer.spec import parse_spec
from trainer.state import adopt_best, restore, restore_random

if TYPE_CHECKING:
    from trainer.data.batches import RecognitionData
    from trainer.data.decoding import Progress


CHECKPOINT_PATIENCE_S = 20.0
"""How long a run waits for a checkpoint that another process is still writing."""


def fit(
    spec: Spec | Mapping[str, Any],
    report: Report,
    resume_from: Path | None = None,
    start_epoch: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train one spec.

    After each validated epoch (every `train.validation_interval` and the last) the checkpoint and a
    line of `status.jsonl` are written below `results_dir`, then `report` is called with `epoch`
    (from 1), `value` (the monitored Precision@1), `metrics`, `seconds` (since the report before),
    `checkpoint` (below `results_dir`: `ckpt/best.ckpt` when this epoch is the best so far, else
    `ckpt/last.ckpt`, None where none was due) and `replayed`; the first live report also has
    `receipt`. The newest checkpoint may still be on its way to the disk while its epoch is
    reported; it is there when `fit` returns or raises.

    Args:
        spec: a checked spec, or nested data to check. `results_dir` is this run's own folder.
        report: returns False to end the run after this epoch; what it raises leaves `fit`
            unchanged.
        resume_from: a checkpoint of this trainer to go on from, in place of
            `train.resume_training_checkpoint_path`. Its epochs are reported first, with `replayed`
            true.
        start_epoch: given when `resume_from` belongs to another run: the epoch it must be of.
            Training goes on from its state under this spec; its history and best stay there, so
            nothing is reported before the next epoch.
        progress: called with (what, done, total) for what is done before the first epoch, and with
            an empty word when that begins.

    Returns:
        The receipt (see `trainer.receipt`), with `epochs`, `best` (epoch and value), `checkpoints`
        and `seconds`.

    Raises:
        SpecError: the spec is wrong.
        DataError: the images cannot be trained on.
        CheckpointError: a weights file or checkpoint is missing or does not fit.
        DivergedError: loss, embeddings or metrics stopped being finite.
        DeviceMemoryError: the device has too little memory.
        InfrastructureError: a checkpoint cannot be written.
    """
    spec = checked_spec(spec)
    started = time.perf_counter()
    place = find_place(spec.train)
    device = pick_device(*spec.train.gpu_ids, rank=place.local_rank)
    path = resume_from or _named_checkpoint(spec)
    with isolated(spec, device):
        payload = None if path is None else _load_start(path, start_epoch)
        # No name here holds the run, so that nothing keeps it alive while it is cleaned away.
        run = partial(_Run, place=place, payload=payload, progress=progress)
        receipt = run(spec, device, report).go(path, is_own=start_epoch is None)
    return receipt | {"seconds": time.perf_counter() - started}


class _Run:
    """The live objects of one run."""

    def __init__(
        self,
        spec: Spec,
        device: torch.device,
        report: Report,
        *,
        place: Rank,
        payload: checkpoints.Payload | None,
        progress: Progress | None,
    ) -> None:
        self.use_bf16 = wants_bf16(spec.train.precision, device)
        self.place = place
        self.progress = progress or _say_nothing
        self.data, self.module = build_parts(
            spec, device, share=place, payload=payload, progress=progress
        )
        self.spec = with_value_range(spec, self.data.framing.value_range)
        self.report = report
        self.payload = payload

    def go(self, path: Path | None, *, is_own: bool) -> dict[str, Any]:
        """Replay, train, and return the receipt."""
        payload, replaces_best = self.payload, False
        if payload is not None and path is not None:
            if payload["loss_state"]:  # whose rows stand for classes, by number
                classes = needed(self.data.train, "train_dataset").class_names
                checkpoints.demand_classes(payload, classes, str(path))
            restore(self.module, payload, path)
            if is_own and self.place.is_first:
                replaces_best = adopt_best(payload, path, Path(self.spec.results_dir))
        began = time.perf_counter()
        load_features(self.data, self.module, use_bf16=self.use_bf16, progress=self.progress)
        first_epoch = self.module.progress.epoch

        def receipt() -> dict[str, Any]:
            return build_receipt(self.module, loop, self.data, self.spec, first_epoch=first_epoch)

        reporter = EpochReporter(
            self.spec, self.data, self.report, receipt,
            use_bf16=self.use_bf16,
            history=payload["history"] if payload is not None and is_own else [],
            is_first=self.place.is_first,
        )  # fmt: skip
        reporter.replaces_best = replaces_best
        loop = self._loop(self.spec.train.num_epochs - first_epoch, reporter)
        with reporter.closing():
            if reporter.replay() and first_epoch < self.spec.train.num_epochs:
                if payload is not None:
                    restore_random(payload)
                else:
                    prepare_head(
                        self.module, self.data, self.spec, self.progress, use_bf16=self.use_bf16
                    )
                reporter.unreported_s += time.perf_counter() - began
                self.progress("", 0, 0)
                if isinstance(loop, FeatureLoop):
                    loop.fit(self.module, reporter)
                else:
                    with _ending_others(loop):
                        loop.fit(self.module, EpochBatches(self.data, self.module))
        return receipt() | outcome_of(self.spec, self.module, reporter)

    def _loop(self, max_epochs: int, reporter: EpochReporter) -> pl.Trainer | FeatureLoop:
        """Return what does nothing but the loop: Lightning's trainer, or that of features."""
        train = self.spec.train
        if isinstance(self.data, FeatureData):
            return FeatureLoop(
                self.data,
                max_epochs=max(max_epochs, 0),
                use_bf16=self.use_bf16,
                accumulate=train.accumulate_grad_batches,
            )
        accelerator, devices = training_devices(train)
        return pl.Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=train.num_nodes,
            strategy="auto" if self.place.world_size == 1 else "ddp",
            plugins=[LightningEnvironment()],  # as `find_place`, not what Lightning guesses
            precision="bf16-mixed" if self.use_bf16 else "32-true",
            max_epochs=max(max_epochs, 0),
            accumulate_grad_batches=train.accumulate_grad_batches,
            callbacks=[reporter, CallersSigterm()],
            limit_val_batches=0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=self.spec.results_dir,
        )


@contextlib.contextmanager
def _ending_others(loop: pl.Trainer) -> Iterator[None]:
    """Kill the processes that Lightning has started for a run when this one fails.

    It does so on Ctrl-C alone; elsewhere they would wait for this one, on GPUs for half an hour.
    """
    try:
        yield
    except BaseException:
        started = getattr(loop.strategy.launcher, "procs", [])
        others = started[:]
        started.clear()  # Lightning would take their end for a reason to kill this process
        for process in others:
            process.kill()
        raise


def outcome_of(spec: Spec, module: RecognitionModule, reporter: EpochReporter) -> dict[str, Any]:
    """Return what a receipt says of a run's end: `epochs`, `best` and `checkpoints`."""
    best, folder = reporter.best(), Path(spec.results_dir)
    written = [n for n in (checkpoints.LAST, checkpoints.BEST) if (folder / n).is_file()]
    return {
        "epochs": module.progress.epoch,
        "best": None if best is None else {"epoch": best["epoch"], "value": best["value"]},
        "checkpoints": {Path(name).stem: name for name in written},
    }


def build_parts(
    spec: Spec,
    device: torch.device,
    *,
    share: Rank,
    payload: checkpoints.Payload | None = None,
    progress: Progress | None = None,
) -> tuple[RecognitionData | FeatureData, RecognitionModule]:
    """Build the data of a run and its module, which fit each other: pictures, or features.

    Features are loaded afterwards, by `load_features`, when the trunk holds its weights.

    Args:
        spec: of the run.
        device: to compute on.
        share: this process's part of the batches.
        payload: the checkpoint that will be restored; weight files are then not needed.
        progress: called with (what, done, total) while pictures are decoded.
    """
    check_growth(spec)
    data: RecognitionData | FeatureData
    if trains_on_features(spec) and not _has_two_trunks(spec, payload):
        data = build_feature_data(spec, device, share=share)
    else:
        data = build_data(spec, device, share=share, progress=progress)
    return data, build_module(spec, data, device, load_pretrained=payload is None)


def check_growth(spec: Spec) -> None:
    """Refuse pictures that grow where the network does not take all of their sizes."""
    model, first = spec.model, spec.dataset.first_size
    size = (model.input_height, model.input_width)
    if grows(spec) and not trunk_facts(model.backbone, size, model.input_channels).grows:
        raise SpecError(
            f"dataset.first_size: must be 1 for {model.backbone}, which does not take pictures of "
            f"all sides in steps of {STEP}, got {first:g}"
        )


def _has_two_trunks(spec: Spec, payload: checkpoints.Payload | None) -> bool:
    """Whether a frozen trunk and its running mean differ, as after training with a mean."""
    raw = None if payload is None else payload["raw_state_dict"]
    if payload is None or raw is None or spec.train.ema_decay == 0:
        return False
    mean = payload["state_dict"]
    return any(not torch.equal(raw[k], mean[k]) for k in raw if k.startswith("trunk."))


def load_features(
    data: RecognitionData | FeatureData,
    module: RecognitionModule,
    *,
    use_bf16: bool,
    progress: Progress | None = None,
) -> None:
    """Find or compute the features that a run is to train on; nothing where it takes pictures."""
    if isinstance(data, FeatureData):
        data.load(module.model.trunk, use_bf16=use_bf16, progress=progress)


def _say_nothing(_what: str, _done: int, _total: int) -> None:
    """Nobody wants to know how far a run is."""


def build_module(
    spec: Spec,
    data: RecognitionData | FeatureData,
    device: torch.device,
    *,
    load_pretrained: bool = True,
) -> RecognitionModule:
    """Build model, loss and optimizer of a spec on the device."""
    model = build_recognizer(spec, load_pretrained=load_pretrained).to(device)
    model = model.to(memory_format=image_layout(model, device))
    return RecognitionModule(
        spec,
        model,
        num_classes=data.num_classes,
        num_batches=data.num_batches,
        takes_features=isinstance(data, FeatureData),
    )


def checked_spec(spec: Spec | Mapping[str, Any]) -> Spec:
    """Return a checked train spec with a folder to write to and a seed that is drawn if below 0."""
    checked = spec if isinstance(spec, Spec) else parse_spec(spec, "train")
    if not checked.results_dir:
        raise SpecError("results_dir: must name the folder of this run, got nothing")
    if checked.train.seed >= 0:
        return checked
    if checked.train.num_gpus * checked.train.num_nodes > 1:
        raise SpecError(
            "train.seed: must be 0 or more with several devices, which all need the same one, "
            f"got {checked.train.seed}"
        )
    train = dataclasses.replace(checked.train, seed=secrets.randbelow(2**31))
    return dataclasses.replace(checked, train=train)


def _load_start(path: Path, start_epoch: int | None) -> checkpoints.Payload:
    """Load a checkpoint; one of another run is waited for while it is still being written.

    Raises:
        InfrastructureError: when it is of another epoch than the one that was asked for.
    """
    deadline = time.monotonic() + CHECKPOINT_PATIENCE_S
    while True:
        payload = checkpoints.load(path)
        epoch = payload["progress"]["epoch"]
        if start_epoch in (None, epoch):
            return payload
        if epoch > (start_epoch or 0) or time.monotonic() > deadline:
            raise InfrastructureError(
                f"{path}: must be the checkpoint of epoch {start_epoch} to start from, but is of "
                f"epoch {epoch}"
            )
        time.sleep(0.1)


def _named_checkpoint(spec: Spec) -> Path | None:
    path = spec.train.resume_training_checkpoint_path
    return Path(path) if path else None
