"""Ends an epoch: validation, checkpoint, status line, report."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import checkpoints, metrics
from trainer.config.growing import areas
from trainer.distributed import from_first, share_statistics
from trainer.durable_files import remove_drafts
from trainer.embedding import embed, needed
from trainer.errors import DivergedError
from trainer.features.data import FeatureData
from trainer.lightning import pl
from trainer.matching import make_entries, mean_of_views
from trainer.module import MatchFacts, RecognitionModule
from trainer.retrieval import search
from trainer.state import best_entry, capture
from trainer.status import StatusFiles, reason

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from trainer.config.root import Spec
    from trainer.data.batches import RecognitionData
    from trainer.data.splits import Split

Report = Callable[[Mapping[str, Any]], bool]
"""Called once per validated epoch; False ends the run there."""

_FEATURES_INTERVAL_S = 2.0
"""Between two checkpoints of a run on features: what is repeated after a kill."""

MONITORED = "val_precision_at_1"
"""The metric that a search goes by."""

logger = logging.getLogger(__name__)


Embedded = Callable[["Split", bool], "NDArray[Any]"]
"""Returns the embeddings of a split's pictures, or of their mirror images."""


def validate(
    module: RecognitionModule,
    data: RecognitionData | FeatureData,
    spec: Spec,
    *,
    use_bf16: bool,
    embedded: Embedded | None = None,
) -> dict[str, float]:
    """Look every query up in the reference and return Precision@1 under its three names.

    Args:
        module: whose weights are validated.
        data: the images, or their features.
        spec: how they are matched.
        use_bf16: arithmetic of the forward pass.
        embedded: in place of a forward pass of this module alone.

    Raises:
        DivergedError: when an embedding is not finite.
    """
    share_statistics(module.validated)
    own = embedded_by(module.validated, data, spec, use_bf16=use_bf16)
    values, module.match_facts = match_queries(data, spec, embedded or own)
    return values


def embedded_by(
    model: nn.Module, data: RecognitionData | FeatureData, spec: Spec, *, use_bf16: bool
) -> Embedded:
    """Return what embeds the splits of some data by a model."""

    def embedded(split: Split, is_mirrored: bool) -> NDArray[Any]:
        batches = data.eval_batches(split, spec.train.val_batch_size, is_mirrored=is_mirrored)
        return embed(model, batches, use_bf16=use_bf16)

    return embedded


def match_queries(
    data: RecognitionData | FeatureData, spec: Spec, embedded: Embedded
) -> tuple[dict[str, float], MatchFacts]:
    """Return Precision@1 under its three names, and how the queries were matched.

    Neighbours (or prototypes, as `dataset.matching` says) are nearest by Euclidean distance between
    unit vectors, as the losses compare embeddings.

    Args:
        data: names the pictures' classes.
        spec: how they are matched.
        embedded: gives their embeddings.

    Raises:
        DivergedError: when an embedding is not finite.
    """
    gallery, _ = _views("reference", spec, embedded)
    query, num_views = _views("query", spec, embedded)
    labels_Q = needed(data.query, "val_dataset.query").labels
    labels_G = needed(data.reference, "val_dataset.reference").labels
    entries = make_entries(gallery, labels_G, spec.dataset.matching)
    nearest, _ = search(query, entries.unit, 1)
    hits_Q = entries.labels_E[nearest[:, 0]] == labels_Q
    means = metrics.precision_at_1(hits_Q, labels_Q)
    per_class = spec.train.report_accuracy_per_class
    monitored = means[metrics.CLASS_MEAN if per_class else metrics.QUERY_MEAN]
    values = {MONITORED: monitored} | {f"{MONITORED}_{name}": v for name, v in means.items()}
    return values, MatchFacts(matching=entries.matching, num_views=num_views)


def _views(split: Split, spec: Spec, embedded: Embedded) -> tuple[NDArray[Any], int]:
    """Embed a split as the spec wants its pictures matched; return the number of views too."""
    plain = embedded(split, False)
    if not spec.dataset.flip_average:
        return plain, 1
    return mean_of_views(plain, embedded(split, True)), 2


class EpochReporter(pl.Callback):
    """Validates, records and reports the epochs of one run.

    Args:
        spec: the whole spec; `results_dir` is the run's own folder.
        data: the images, or their features.
        report: called with each validated epoch.
        receipt: called for the values read back from the live objects; sent with the first report.
        use_bf16: arithmetic of validation.
        history: entries of a resumed run, oldest first.
        is_first: whether this process writes and reports, among several.
        saves_at_end: whether the checkpoints of the best and of the last epoch alone are written,
            at the end, as is done for many runs at once.

    Attributes:
        embedded: what validation takes in place of the module's own forward pass; None for that.
        replaces_best: whether `best.ckpt` is of an epoch that is trained again, so that the next
            validated one takes its place.
        unreported_s: seconds that the next report tells beside those of its epoch.
    """

    def __init__(
        self,
        spec: Spec,
        data: RecognitionData | FeatureData,
        report: Report,
        receipt: Callable[[], dict[str, Any]],
        *,
        use_bf16: bool,
        history: list[dict[str, Any]],
        is_first: bool = True,
        saves_at_end: bool = False,
    ) -> None:
        self._is_first = is_first
        self.embedded: Embedded | None = None
        self.replaces_best = False
        self.unreported_s = 0.0
        self.history = history
        self._spec = spec
        self._data = data
        self._report = report
        self._receipt: Callable[[], dict[str, Any]] | None = receipt
        self._use_bf16 = use_bf16
        self._folder = Path(spec.results_dir)
        self._status = StatusFiles(self._folder, spec.train.num_epochs, areas(spec))
        # Epochs on features take less time than their checkpoints.
        interval_s = _FEATURES_INTERVAL_S if isinstance(data, FeatureData) else 0.0
        self._writer = checkpoints.CheckpointWriter(interval_s)
        self._held: dict[str, checkpoints.Payload] | None = {} if saves_at_end else None
        self._since = time.perf_counter()
        self._step_saved = 0

    def replay(self) -> bool:
        """Rewrite the status lines of a resumed run and report its epochs; False to stop.

        What its process has left that was killed in writing a checkpoint goes.
        """
        if not self._is_first:
            return True
        remove_drafts((self._folder / checkpoints.LAST).parent)
        self._status.begin(self.history)
        return all(self._goes_on(entry, is_replayed=True) for entry in self.history)

    def on_train_start(
        self,
        trainer: pl.Trainer,  # noqa: ARG002 - a hook
        pl_module: pl.LightningModule,
    ) -> None:
        """Lightning's hook for `begin`."""
        self.begin(_recognition(pl_module))

    def begin(self, module: RecognitionModule) -> None:
        """Start the clock of the first epoch."""
        self._since = time.perf_counter()
        # Until the next step, batches only add to its gradient, which no checkpoint holds.
        self._step_saved = module.progress.step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,  # noqa: ARG002 - a hook
        pl_module: pl.LightningModule,
        *args: Any,  # noqa: ARG002 - a hook
        **kwargs: Any,  # noqa: ARG002 - a hook
    ) -> None:
        """Lightning's hook for `end_batch`."""
        self.end_batch(_recognition(pl_module))

    def end_batch(self, module: RecognitionModule) -> None:
        """Write a checkpoint within an epoch where `checkpoint_interval` counts steps."""
        train = self._spec.train
        if train.checkpoint_interval_unit != "step":
            return
        step = module.progress.step
        if step % train.checkpoint_interval == 0 and step != self._step_saved:
            self._step_saved = step
            self._save(module, [checkpoints.LAST])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook for `end_epoch`."""
        if not self.end_epoch(_recognition(pl_module)):
            trainer.should_stop = True

    def end_epoch(self, module: RecognitionModule) -> bool:
        """Finish an epoch; False when the report ends the run, which it also does by raising."""
        training = module.end_epoch()
        epoch = module.progress.epoch
        is_validated = self._is_due(epoch, self._spec.train.validation_interval)
        values = {}
        if is_validated:
            values = validate(
                module, self._data, self._spec, use_bf16=self._use_bf16, embedded=self.embedded
            )
        entry = self._entry(epoch, values, training | module.learning_rates())
        self._record(module, entry)
        goes_on = self._goes_on(entry, is_replayed=False)
        if not goes_on and self._held is not None and checkpoints.LAST not in self._held:
            self._save(module, [checkpoints.LAST])
        return goes_on

    def _goes_on(self, entry: dict[str, Any], *, is_replayed: bool) -> bool:
        """Report an epoch if it was validated, with what those before it took that were not."""
        self.unreported_s += entry["seconds"]
        if entry["value"] is None:
            return True
        message = {**entry, "seconds": self.unreported_s, "replayed": is_replayed}
        self.unreported_s = 0.0
        if is_replayed:
            return self._report(message)
        if self._receipt is not None:
            message["receipt"], self._receipt = self._receipt(), None
        return from_first(self._report(message) if self._is_first else True)

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Wait at the end, however it comes, for the last checkpoint, and say why it ended."""
        try:
            yield
        except BaseException as e:
            if self._is_first:
                self._status.end("FAILURE", reason(e))
            self.write_held()
            self._writer.settle()
            raise
        self.write_held()
        self._writer.wait()
        if self._is_first:
            self._status.end("SUCCESS", "Training finished successfully.")

    def write_held(self) -> None:
        """Begin to write what was kept for the end."""
        if self._held:
            held, self._held = self._held, {}
            self._writer.submit({self._folder / name: payload for name, payload in held.items()})

    def best(self) -> dict[str, Any] | None:
        """Return the entry whose weights `best.ckpt` holds."""
        return best_entry(self.history)

    def _entry(
        self, epoch: int, values: dict[str, float], others: dict[str, float]
    ) -> dict[str, Any]:
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        value = values.get(MONITORED)
        entry: dict[str, Any] = {
            "epoch": epoch,
            "value": value,
            "metrics": values | others,
            "seconds": seconds,
            "checkpoint": None,
        }
        broken = [name for name, number in entry["metrics"].items() if not math.isfinite(number)]
        if broken:
            raise DivergedError(f"epoch {epoch}: {', '.join(broken)} must be finite, but is not")
        return entry

    def _record(self, module: RecognitionModule, entry: dict[str, Any]) -> None:
        """Write the checkpoints that are due, then the status line."""
        previous = self.best()
        is_there = (self._folder / checkpoints.BEST).exists() and not self.replaces_best
        has_file = self._held is not None or is_there
        is_best = entry["value"] is not None and (
            previous is None or entry["value"] > previous["value"] or not has_file
        )
        train = self._spec.train
        is_due = train.checkpoint_interval_unit == "epoch" and self._is_due(
            entry["epoch"], train.checkpoint_interval
        )
        is_due = is_due and self._held is None
        names = [checkpoints.LAST] * (is_due or entry["epoch"] == train.num_epochs)
        names += [checkpoints.BEST] * is_best
        self.replaces_best &= not is_best
        entry["checkpoint"] = names[-1] if names else None
        self.history.append(entry)
        if names:
            self._save(module, names)
        if self._is_first:
            self._status.add(entry)
        logger.debug("epoch %d: %s", entry["epoch"], entry["metrics"])

    def _save(self, module: RecognitionModule, names: list[str]) -> None:
        """Copy the state and let the thread write it; wait only for files that nobody can find yet.

        A file that is there already holds the epoch before until the thread is done: a kill in this
        moment repeats one epoch.
        """
        if not self._is_first:
            return
        payload = capture(
            module, self.history, self._spec, needed(self._data.train, "train_dataset").class_names
        )
        if self._held is not None:
            self._held |= dict.fromkeys(names, payload)
            return
        paths = [self._folder / name for name in names]
        self._writer.submit(dict.fromkeys(paths, payload))
        if not all(path.exists() for path in paths):
            self._writer.wait()

    def _is_due(self, epoch: int, interval: int) -> bool:
        return epoch % interval == 0 or epoch == self._spec.train.num_epochs


def _recognition(module: pl.LightningModule) -> RecognitionModule:
    if not isinstance(module, RecognitionModule):
        raise TypeError(f"EpochReporter serves a RecognitionModule, got {type(module)}")
    return module


class CallersSigterm(pl.Callback):
    """Leaves SIGTERM to the caller's handler.

    Lightning's own, put in its place as training begins, lets the caller's run and then leaves the
    epoch as `SystemExit` without a code: a caller that was to finish the epoch and save could not,
    and its process would end as if all had gone well.
    """

    def __init__(self) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        self._handler = signal.getsignal(signal.SIGTERM) if in_main else None

    def on_train_start(
        self,
        trainer: pl.Trainer,  # noqa: ARG002 - a hook
        pl_module: pl.LightningModule,  # noqa: ARG002 - a hook
    ) -> None:
        """Put it back."""
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
