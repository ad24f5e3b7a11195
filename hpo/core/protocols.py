"""The contracts between the parts of the system, and so its map.

    Algorithm <- engine, a TrialDriver <- Executor -> Trainer
                    |
                    +-> Listener, Listener, ...

The engine asks the algorithm what to try and reports every epoch to it. The executor asks the
engine for launches, runs each in a worker by the trainer's `fit`, and passes on what that reports.
Listeners (the console, `state.json`, MLflow) are sent an event (`hpo.core.events`) of all that
happens.

What an algorithm or a trainer may offer beyond its contract is a small protocol, looked for by
`isinstance`: those of algorithms are below, those of trainers in `hpo.core.trainer_extras`. What
crosses a process border is plain JSON-like data, so a trainer needs no import of ours.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hpo.core.events import Event
from hpo.core.trial import Decision, Ended, Launch, Measurement, Suggestion, TrialRecord

Spec = Mapping[str, Any]
"""A train spec as nested mappings, as in the trainer's YAML files."""

Report = Callable[[Mapping[str, Any]], bool]
"""Called once per validated epoch; returns False when the trial should end here: after that it may
be called no more (in a Ray worker it raises what ends `fit`, no `Exception`).

Keys of the argument: `epoch` (counted from 1), `value` (the monitored metric), `metrics` (name ->
float), `seconds` (training and validation since the report before, or since the start),
`checkpoint` (path below the trial's folder or None), `replayed` (True when the line comes from a
resumed checkpoint's history).
"""


Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much; a total of 0 is not known."""

Emit = Callable[[Event], None]
"""Sends an event to all listeners."""


class Listener(Protocol):
    """Takes every event of a run, and returns quickly; its failure never reaches the search."""

    def handle(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """No more events will come."""


class Algorithm(Protocol):
    """Decides what to try. Single-threaded; deterministic for a seed and an order of calls.

    Example: `ask(0)` -> the default configuration; `report(0, epoch 1)` -> CONTINUE; `ask(1)`
        while 0 runs; `tell(0)`; `ask(2)` -> drawn with the result of 0. After a restart the engine
        replays `restore` / `report` / `tell` in recorded order and the next `ask` proposes what it
        would have proposed.

    It may be an `EventSource`, a `BackgroundAlgorithm`, a `WarmStarter`, a `GroupedPruning`, a
    `Narrowable`, an `OptunaView` or a `StagedSearch` too.
    """

    def ask(self, number: int) -> Suggestion | None:
        """Propose trial `number`, or None when a running trial must end first, or a thought."""

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial as started, in place of `ask`."""

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Take one epoch of a running trial into account and decide whether it goes on."""

    def tell(self, trial: TrialRecord) -> None:
        """Take the end of a trial into account (complete, pruned or failed)."""


@runtime_checkable
class EventSource(Protocol):
    """An algorithm that emits events of what it does."""

    def attach(self, emit: Emit) -> None:
        """Send events, such as `AlgorithmStep`, from now on; called once, after the replay."""


@runtime_checkable
class BackgroundAlgorithm(Protocol):
    """An algorithm that works on proposals in the background; `ask` returns None meanwhile."""

    def settle(self) -> bool:
        """Wait until another `ask` is worth it; False where there is nothing to wait for."""


@runtime_checkable
class GroupedPruning(Protocol):
    """An algorithm that compares a trial with some of the others alone."""

    def peers(self, number: int) -> frozenset[int] | None:
        """Trials that one is compared with; None where that is all."""


@runtime_checkable
class Narrowable(Protocol):
    """An algorithm whose ranges can be narrowed while it works."""

    def narrow(self, limits: Mapping[str, tuple[float, float]]) -> None:
        """Keep what is proposed from now on in these (low, high) of dimensions, latent scale."""


@runtime_checkable
class OptunaView(Protocol):
    """An algorithm that knows its dimensions as Optuna does, so that Optuna reads the ledger."""

    @property
    def distributions(self) -> Mapping[str, Any] | None:
        """Latent dimension -> Optuna's distribution; None where there is none."""


@runtime_checkable
class WarmStarter(Protocol):
    """What an algorithm must also have when it proposes trials with `start_from`.

    Checkpoints are removed by it (`keep: best`): without this method no trial is ever taken to
    start from one that has ended.

    Example: rungs of 1 and 3 epochs, one in three goes on: with trials 0 and 1 at the first rung
        `{0, 1}`; with trial 2 told, which closes the rung, `{1}`; after `ask` took it up, none.
    """

    def start_points(self) -> Collection[int]:
        """Trials that a later `ask` may still name in `start_from` or as a parent, of those ended.

        Those that others start from at this moment need not be named.
        """


@runtime_checkable
class StagedSearch(Protocol):
    """An algorithm that proposes batches, and whose stages end by the budget (`staged`)."""

    def pace(self, share: float) -> None:
        """Receive the share of the budget that is used up, before each `ask`."""

    def open_batch(self) -> int | None:
        """The first trial of a batch that the next `ask` belongs to; None where none is open."""


class TrialDriver(Protocol):
    """What an executor asks and reports to: the engine, seen from below. Called from one thread.

    Example: `next_launch()` -> trial 0; `next_launch()` -> None, so nothing more to start now;
        `on_epoch(0, ...)` -> True; `on_epoch(0, ...)` -> False, so the trial is stopped;
        `on_end(0, Ended())`; `is_over()` -> True: go home.
    """

    def next_launch(self) -> Launch | None:
        """Return a trial to start now, or None."""

    def is_over(self) -> bool:
        """Whether nothing more is to be started, even when all running trials have ended."""

    def rest(self) -> bool:
        """Let a moment of a pause pass; True when a launch may come later though none does now.

        An executor asks where nothing runs and it would go home otherwise.
        """

    def on_epoch(self, number: int, payload: Mapping[str, Any]) -> bool:
        """Receive what a trainer passed to `Report`; False when the trial should be stopped."""

    def emit(self, event: Event) -> None:
        """Pass on what a worker says between epochs."""

    def on_end(self, number: int, ended: Ended) -> None:
        """Receive the end of a trial, for whatever reason; once per trial of a launch."""


class Executor(Protocol):
    """Runs trials and single trainer calls somewhere."""

    def run(self, driver: TrialDriver) -> None:
        """Start trials as slots are free until the driver is over and nothing runs."""

    def call(self, method: str, *args: Any) -> Any:
        """Call one [worker] method of the trainer and return its result."""

    def call_in_all_slots(self, method: str, *args: Any) -> list[Any]:
        """Call it in as many workers as trials run at a time, all at once: what they then get."""

    def divide(self, slots: Any) -> None:
        """Place what starts from now on in other slots (`hpo.executors.division.Slots`)."""

    def close(self) -> None:
        """Give workers back; may be called twice."""


class Trainer(Protocol):
    """A trainer found by the entry-point group `hpo.trainers`. Importing it must not import torch.

    Methods marked [worker] run in a worker process, the others in the driver and must stay free of
    torch. This is what a search cannot do without; what else a trainer can do is one protocol each
    in `hpo.core.trainer_extras`.
    """

    name: str
    skill_dir: Path
    monitoring_metric: str
    direction: str
    epochs_key: str
    """Dotted name of the spec key that holds the number of epochs; empty where it has none."""
    seed_key: str
    """Dotted name of the spec key that holds the random seed; empty where it has none: then no
    trial can be confirmed."""
    multiple_of: Mapping[str, str]
    """Parameter -> the parameter of which its values must be multiples."""

    def validate(self, spec: Spec) -> dict[str, Any]:
        """Return the spec with defaults filled in; raise one line, dotted path first, if wrong."""

    def inactive(self, spec: Spec) -> dict[str, str]:
        """Return parameter -> reason for those that do nothing under this spec."""

    def limits(self, spec: Spec) -> dict[str, tuple[float | None, float | None]]:
        """Return parameter -> (low, high), tighter than the schema where the spec demands it."""

    def data_overrides(self, sources: Mapping[str, str]) -> dict[str, Any]:
        """Turn sources (train, reference, query) into spec keys."""

    def split_data(
        self, folder: str, out: Path, *, seed: int, class_disjoint: bool, group_by: str = ""
    ) -> dict[str, str]:
        """Split one folder of classes, or a list, into sources below `out` (no copies).

        `group_by` says what pictures have in common that must stay in one split; a trainer may
        leave it out, and is then never given it.
        """

    def demo_data(self, folder: Path, seed: int) -> dict[str, str]:
        """Make the embedded default data set below `folder` and return its sources."""

    def inspect_data(
        self, spec: Spec, *, opens: bool = True, beside: Spec | None = None
    ) -> dict[str, Any]:
        """Look at all data: `{"splits": {...}, "findings": [...]}`; raise if it cannot be used.

        Without `opens` no picture is opened: folders and lists are looked at alone. `beside` is the
        spec of a search whose held-out pictures these are: findings are those beyond its own, and
        name these pictures `test`. A trainer may leave both out, and is then never given them.

        Where the monitored metric is a share of the validation queries, `share_of` says of how many
        drawn at random a share would be as uncertain: fewer than there are, where classes of few
        count as much as others.
        """

    def stage(self, source: str) -> Path:
        """Fetch and unpack one source (folder, archive, address) once; return its local folder."""

    def prepare(self, spec: Spec, progress: Progress | None = None) -> None:
        """Stage archives and decode images once, before trials share them."""

    def probe(self, spec: Spec, brief: bool = False) -> dict[str, Any]:
        """[worker] Measure seconds per epoch and peak memory by a few steps.

        With `brief` only the memory matters; a trainer may leave it out, and is then never given
        it.
        """

    def fit(
        self,
        spec: Spec,
        report: Report,
        resume_from: Path | None = None,
        start_epoch: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """[worker] Train one trial and return its receipt: values read back from live objects.

        Of a receipt `applied` is read (dotted name -> value of each searched parameter); the rest
        is kept with the trial.

        `progress` is called with what is done before the first epoch ends, and with an empty word
        when that epoch begins; a trainer may leave it out, and is then never given it.

        With `start_epoch`, `resume_from` is another trial's checkpoint, which must be of that
        epoch: training goes on from it under this spec, and its history stays the other trial's.
        """

    def evaluate(self, spec: Spec) -> dict[str, Any]:
        """[worker] Evaluate `evaluate.checkpoint`: metrics and per-query hits."""

    def export(self, spec: Spec) -> dict[str, Any]:
        """[worker] Write a checked ONNX file and the gallery index."""

    def predict(self, folder: Path, images: list[Path], topk: int) -> list[dict[str, Any]]:
        """[worker] Label images by the exported model and gallery in `folder`.

        Returns:
            A row per image, in order: `image` and, best first, `labels` and `distances`; or `image`
            and `error`, where it cannot be read.
        """


def takes(method: Callable[..., Any], name: str) -> bool:
    """Whether a trainer's method takes an argument that a trainer may leave out."""
    return name in inspect.signature(method).parameters
