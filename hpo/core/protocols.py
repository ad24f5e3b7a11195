"""The contracts of the harness: what algorithms, trainers and executors must offer.

Everything that crosses a process border is plain JSON-like data, so a trainer needs no import of
ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hpo.core.events import Event
from hpo.core.trial import Decision, Ended, Job, Measurement, Suggestion, TrialRecord

Spec = Mapping[str, Any]
"""A train spec as nested mappings, as in the trainer's YAML files."""

Report = Callable[[Mapping[str, Any]], bool]
"""Called once per validated epoch; returns False when the trial should end here.

Keys of the argument: `epoch` (counted from 1), `value` (the monitored metric), `metrics` (name ->
float), `seconds` (training and validation of this epoch), `checkpoint` (path below the trial's
folder or None), `replayed` (True when the line comes from a resumed checkpoint's history).
"""


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

    It may also have `attach(emit)`, called once after the replay: `emit(AlgorithmStep(...))`
    then tells listeners what it does. One that needs more than a moment for a
    proposal returns None from `ask` meanwhile and has `settle()`, which waits until another `ask`
    is worth it, and returns False where there is nothing to wait for (`hpo.core.asking`). One whose
    proposals start from other trials is a `WarmStarter` too.
    """

    def ask(self, number: int) -> Suggestion | None:
        """Propose trial `number`, or None when a running trial must end first, or a thought."""

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded trial as started, in place of `ask`."""

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Hear one epoch of a running trial and decide whether it goes on."""

    def tell(self, trial: TrialRecord) -> None:
        """Hear that a trial has ended (complete, pruned or failed)."""


class WarmStarter(Protocol):
    """What an algorithm must also have when it proposes trials with `start_from`.

    Checkpoints are removed by it (`keep: best`): without this method no trial is ever taken to
    start from one that has ended.

    Example: rungs of 1 and 3 epochs, one in three goes on: with trials 0 and 1 at the first rung
        `{0, 1}`; with trial 2 told, which closes the rung, `{1}`; after `ask` took it up, none.
    """

    def start_points(self) -> Collection[int]:
        """Trials that a later `ask` may still name in `start_from`, among those told to have ended.

        Those that others start from at this moment need not be named.
        """


class TrialDriver(Protocol):
    """What an executor asks and tells: the engine, seen from below. Called from one thread.

    Example: `next_job()` -> job 0; `next_job()` -> None, so nothing more to start now;
        `on_epoch(0, ...)` -> True; `on_epoch(0, ...)` -> False, so the trial is stopped;
        `on_end(0, Ended())`; `is_over()` -> True: go home.
    """

    def next_job(self) -> Job | None:
        """Return a trial to start now, or None."""

    def is_over(self) -> bool:
        """Whether no further job will come, even when all running trials have ended."""

    def rest(self) -> bool:
        """Let a moment of a pause pass; True when a job may come later though none does now.

        An executor asks where nothing runs and it would go home otherwise.
        """

    def on_epoch(self, number: int, payload: Mapping[str, Any]) -> bool:
        """Hear what a trainer passed to `Report`; False when the trial should be stopped."""

    def on_end(self, number: int, ended: Ended) -> None:
        """Hear that a trial no longer runs, for whatever reason; called once per started job."""


class Executor(Protocol):
    """Runs trials and single trainer calls somewhere."""

    def run(self, driver: TrialDriver) -> None:
        """Start jobs as slots are free until the driver is over and nothing runs."""

    def call(self, method: str, *args: Any) -> Any:
        """Call one [worker] method of the trainer and return its result."""

    def call_in_all_slots(self, method: str, *args: Any) -> list[Any]:
        """Call it in as many workers as trials run at a time, all at once: what they then get."""

    def divide(self, slots: Any) -> None:
        """Place what starts from now on in other slots (`hpo.executors.division.Slots`)."""

    def close(self) -> None:
        """Give workers back; may be called twice."""


@runtime_checkable
class StartChooser(Protocol):
    """What a trainer also has when it recommends what a search starts from."""

    def choose_start(
        self,
        given: Spec,
        *,
        gpus: int,
        budget_s: float | None,
        screened: Sequence[Mapping[str, Any]] = (),
    ) -> Mapping[str, Any]:
        """Choose the spec keys that the user has not set; called in the driver, free of torch.

        Args:
            given: what the user has set, nested.
            gpus: GPUs of the machine.
            budget_s: seconds that the search may take; None where it is limited otherwise.
            screened: what came of the candidates of an earlier answer, a row each.

        Returns:
            `spec` (dotted key -> value), `search` (names to search in place of the schema's list;
            empty leaves that list), `ranges` (name -> low, high, log), `reasons` (lines), and where
            a `Screener` would help to choose, `candidates` as its `find_candidates` lists them.
        """


@runtime_checkable
class Screener(Protocol):
    """What a trainer also has when it can compare networks before any of them is trained."""

    def find_candidates(
        self,
        given: Spec,
        *,
        weights: Sequence[str] = (),
        trunks: Sequence[str] = (),
        sizes: Sequence[int] = (),
        gpus: int = 0,
    ) -> Mapping[str, Any]:
        """List what a network could start from; called in the driver, free of torch.

        Args:
            given: what the user has set, nested.
            weights: addresses of weights or folders of them; those at hand where nothing is named.
            trunks: networks, for weights that go with several.
            sizes: sides of the pictures in pixels.
            gpus: GPUs of the machine.

        Returns:
            `candidates` (each with `name`, `weights` and `spec`, dotted keys to lay over a spec)
            and `notes` (lines).
        """

    def screen(
        self,
        spec: Spec,
        most: int | None = None,
        with_cost: bool = True,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Mapping[str, Any]:
        """[worker] Match the validation pictures by an untrained network's features.

        Args:
            spec: with its pictures; those to train on are not needed.
            most: use no more than so many pictures of the gallery and of the queries.
            with_cost: also measure what a picture costs.
            progress: called with (what, done, total).

        Returns:
            `value` (the metric that a search watches) with its `interval` (low, high), `nearest`
            and `prototypes` (each with `class_mean` and `class_mean_interval`), `trunk`, `height`,
            `width`, `params`, and with cost `latency_ms` and `export_bytes`.
        """


OPTIONAL = frozenset(
    {
        *("explain", "measure", "diagnose_data", "list_caches", "clear_caches"),
        *("list_gallery", "add_classes", "remove_classes", "merge_gallery", "set_gallery"),
        *("undo_gallery", "find_pictures", "limit_memory", "cache_folder"),
    }
)
"""Methods of a trainer without which a search runs all the same; `hpo.study.trainers.demand`."""


class Trainer(Protocol):
    """A trainer found by the entry-point group `hpo.trainers`. Importing it must not import torch.

    Methods marked [worker] run in a worker process, the others in the driver and must stay free of
    torch. It may also have `restart_keys`, a tuple of spec keys or sections that no checkpoint can
    go on under once they have changed (without it that is `model`), and `devices_key`, the spec key
    that holds how many devices a trial trains on; `fit` then starts its own processes on them.
    """

    name: str
    skill_dir: Path
    monitoring_metric: str
    direction: str
    epochs_key: str
    """Dotted name of the spec key that holds the number of epochs."""
    seed_key: str
    """Dotted name of the spec key that holds the random seed."""
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

    def cache_folder(self) -> dict[str, str]:
        """Return where what is made of pictures is kept: `folder`, and `warning` if that is odd.

        Without it that is a folder among the temporary files.
        """

    def split_data(
        self, folder: str, out: Path, *, seed: int, class_disjoint: bool, group_by: str = ""
    ) -> dict[str, str]:
        """Split one folder of classes, or a list, into sources below `out` (no copies).

        `group_by` says what pictures have in common that must stay in one split; a trainer may
        leave it out, and is then never given it.
        """

    def settle_sources(
        self, sources: Mapping[str, str], out: Path, *, group_by: str = ""
    ) -> dict[str, str]:
        """Make given splits ready, below `out` where files are needed; refuse groups in two.

        A trainer whose sources are used as they are named leaves this method out.
        """

    def demo_data(self, folder: Path, seed: int) -> dict[str, str]:
        """Make the embedded default data set below `folder` and return its sources."""

    def inspect_data(self, spec: Spec) -> dict[str, Any]:
        """Look at all data: `{"splits": {...}, "findings": [...]}`; raise if it cannot be used."""

    def stage(self, source: str) -> Path:
        """Fetch and unpack one source (folder, archive, address) once; return its local folder."""

    def diagnose_data(
        self,
        sources: Mapping[str, str],
        progress: Callable[[str, int, int], None] | None = None,
        group_by: str = "",
    ) -> dict[str, Any]:
        """Look for every fault of the pictures: `{"splits": {...}, "findings": [...]}`.

        `group_by` is given only where it is asked for.
        """

    def prepare(self, spec: Spec, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Stage archives and decode images once, before trials share them."""

    def list_caches(self) -> dict[str, Any]:
        """Return what is kept of pictures on disk: `folder`, `limit_bytes`, `caches` (plain rows).

        A trainer that keeps none leaves this method and the next one out.
        """

    def clear_caches(
        self, names: Sequence[str] = (), older_than_s: float = 0.0
    ) -> list[dict[str, Any]]:
        """Remove sets that nobody uses, all or those of these names, and return their rows."""

    def probe(self, spec: Spec) -> dict[str, Any]:
        """[worker] Measure seconds per epoch and peak memory by a few steps."""

    def measure(self, spec: Spec) -> dict[str, Any]:
        """[worker] Measure a model in use: `latency_ms` of one picture, `params`, `device`.

        A trainer may leave this method out; searches then take no limits on models.
        """

    def fit(
        self,
        spec: Spec,
        report: Report,
        resume_from: Path | None = None,
        start_epoch: int | None = None,
    ) -> dict[str, Any]:
        """[worker] Train one trial and return its receipt: values read back from live objects.

        With `start_epoch`, `resume_from` is another trial's checkpoint, which must be of that
        epoch: training goes on from it under this spec, and its history stays the other trial's.
        """

    def limit_memory(self, share: float) -> None:
        """[worker] Keep this process within a share of its GPU's memory from now on.

        Without it trials that share a GPU are only kept apart by the margin they were packed with.
        """

    def evaluate(self, spec: Spec) -> dict[str, Any]:
        """[worker] Evaluate `evaluate.checkpoint`: metrics and per-query hits."""

    def explain(self, spec: Spec, with_map: bool = True) -> dict[str, Any]:
        """[worker] Look every query up: `queries`, `suspects`, `map`, for people to look at.

        Without it reports show no pictures.
        """

    def export(self, spec: Spec) -> dict[str, Any]:
        """[worker] Write a checked ONNX file and the gallery index."""

    def list_gallery(self, folder: Path) -> dict[str, int]:
        """Return class -> number of pictures of the exported gallery in `folder`."""

    def add_classes(self, folder: Path, images: str) -> dict[str, Any]:
        """Add `<class>/<picture>` to the exported gallery in `folder`, without training.

        Returns:
            `classes` and `pictures` in it now, `new_classes`, `new_pictures`, `known_pictures`
            (there already, and not added again), and `errors`: `image` and `error` of each picture
            that was not added.
        """

    def remove_classes(self, folder: Path, names: Sequence[str]) -> dict[str, Any]:
        """Take classes out of the exported gallery in `folder`; all of them, or an error and none.

        Returns:
            `classes` and `pictures` in it now, `removed_classes` and `removed_pictures`.
        """

    def merge_gallery(self, folder: Path, other: Path) -> dict[str, Any]:
        """Add all pictures of another gallery of the same model; returns as `add_classes`."""

    def set_gallery(
        self, folder: Path, *, kind: str | None = None, matching: str | None = None
    ) -> dict[str, Any]:
        """Keep and search the exported gallery in `folder` in another way.

        Returns:
            `classes`, `pictures`, `kind`, `matching` and `bytes` of it now.
        """

    def undo_gallery(self, folder: Path) -> dict[str, Any]:
        """Undo the last change of the exported gallery; returns `classes` and `pictures` in it."""

    def find_pictures(self, sources: Sequence[str]) -> dict[str, Any]:
        """List what is to be labelled: `pictures` (paths), `errors` (`image`, `error`), `notes`.

        Without it `hpo predict` takes files alone.
        """

    def predict(self, folder: Path, images: list[Path], topk: int) -> list[dict[str, Any]]:
        """[worker] Label images by the exported model and gallery in `folder`.

        Returns:
            A row per image, in order: `image` and, best first, `labels` and `distances`; or `image`
            and `error`, where it cannot be read.
        """
