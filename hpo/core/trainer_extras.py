"""What a trainer may offer beyond `hpo.core.protocols.Trainer`, a protocol for each.

A search looks for them by `isinstance` and goes without what it does not find; a command that needs
one refuses a trainer without it (`hpo.study.trainers.demand`). Methods marked [worker] run in a
worker process, the others in the driver and must stay free of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hpo.core.averager import Averager
from hpo.core.list_reader import ListReader
from hpo.core.protocols import Progress, Spec
from hpo.core.unknown_calibrator import UnknownCalibrator

# Spec keys ----------------------------------------------------------------------------------------


@runtime_checkable
class MultiDevice(Protocol):
    """A trainer whose trials can train on several devices; `fit` starts its own processes there."""

    devices_key: str
    """Dotted name of the spec key that holds how many devices a trial trains on."""


@runtime_checkable
class RestartAware(Protocol):
    """A trainer that knows which changes of a spec no checkpoint can go on under."""

    restart_keys: Sequence[str]
    """Spec keys and sections; without it that is `model`."""


@runtime_checkable
class PathHolder(Protocol):
    """A trainer that knows which spec keys name files: relative ones are made absolute."""

    path_keys: Sequence[str]
    """Spec keys that hold a file or a folder, or a list of them."""
    weight_keys: Sequence[str]
    """Spec keys that hold a file of weights, or an address or name of some."""


@runtime_checkable
class SparseValidation(Protocol):
    """A trainer that names its spec key for the epochs between two validations."""

    validation_key: str
    """Dotted name of the spec key; without it that is `train.validation_interval`."""


# Before a search ----------------------------------------------------------------------------------


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
            empty leaves that list), `ranges` (name -> low, high, log), `reasons` (lines),
            `first_trials` (name -> {parameter: value}, worth trying after the default), where a
            `Screener` would help to choose, `candidates` as its `find_candidates` lists them, and
            `stages` that the search could have, in order, the last one trains in full. Of each that
            are `name`, `spec`, `search`, `ranges` and `options` (name -> values) over those above,
            `first_trials`, `batch` (trials in one launch), `trials` (at most), `share` (of the
            budget) and `carries` (names whose values later stages take over); of the last one
            `with_parent` (dotted key -> value, where a trial begins with an earlier one's
            checkpoint). `staged` says whether they are recommended.
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
        progress: Progress | None = None,
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


@runtime_checkable
class DataDoctor(Protocol):
    """A trainer that looks for faults of pictures (`hpo doctor`)."""

    def diagnose_data(
        self, sources: Mapping[str, str], progress: Progress | None = None,
        group_by: str = "", class_disjoint: bool = False, seed: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """Look for every fault of the pictures: `{"splits": {...}, "findings": [...]}`.

        Of one folder that is to be split (`images`), what `split_data` would refuse with the last
        three is an error. They are given only where they are asked for.
        """


@runtime_checkable
class SourceSettler(Protocol):
    """A trainer that checks or makes ready what given splits name (`--group-by`, lists)."""

    def settle_sources(
        self, sources: Mapping[str, str], out: Path, *, group_by: str = ""
    ) -> dict[str, str]:
        """Make given splits ready, below `out` where files are needed; refuse groups in two.

        A trainer whose sources are used as they are named leaves this method out.
        """


@runtime_checkable
class CacheFolder(Protocol):
    """A trainer with a folder of its own for what it makes of pictures."""

    def cache_folder(self) -> dict[str, str]:
        """Return where what is made of pictures is kept: `folder`, and `warning` if that is odd.

        Without it that is a folder among the temporary files.
        """


@runtime_checkable
class CacheKeeper(Protocol):
    """A trainer that keeps sets of decoded pictures or features on disk (`hpo cache`)."""

    def list_caches(self) -> dict[str, Any]:
        """Return what is kept of pictures on disk: `folder`, `limit_bytes`, `caches` (plain rows).

        A trainer that keeps none leaves this method and the next one out.
        """

    def clear_caches(
        self, names: Sequence[str] = (), older_than_s: float = 0.0
    ) -> list[dict[str, Any]]:
        """Remove sets that nobody uses, all or those of these names, and return their rows."""


@runtime_checkable
class PictureDescriber(Protocol):
    """A trainer that tells how alike two sources are, by features that it has in its cache."""

    def feature_statistics(self, address: str) -> dict[str, dict[str, list[float]]]:
        """Return `mean` and `variance` of a source's features by what made them; maybe none."""


# During a search ----------------------------------------------------------------------------------


@runtime_checkable
class StageStarter(Protocol):
    """A trainer whose trials can begin with what a trial of an earlier stage has learnt."""

    parent_key: str
    """Dotted name of the spec key that holds that trial's checkpoint."""


@runtime_checkable
class BatchTrainer(Protocol):
    """A trainer that trains several trials together where their trunk does not learn."""

    def fit_heads(
        self,
        specs: Sequence[Spec],
        report: Callable[[int, Mapping[str, Any]], bool],
        progress: Progress | None = None,
    ) -> Sequence[dict[str, Any] | Exception]:
        """[worker] Train trials together, each as `fit` would.

        Args:
            specs: of each.
            report: called as `Report` is, with the place of the trial among `specs` first.
            progress: as of `fit`.

        Returns:
            For each trial its receipt, or the error that ended it while the others went on.
        """


@runtime_checkable
class CostMeter(Protocol):
    """A trainer that measures what a model costs in use; limits on models need it."""

    def measure(self, spec: Spec) -> dict[str, Any]:
        """[worker] Measure a model in use: `latency_ms` of one picture, `params`, `device`."""


@runtime_checkable
class MemoryLimiter(Protocol):
    """A trainer whose trials can be kept apart where they share a GPU."""

    def limit_memory(self, share: float) -> None:
        """[worker] Keep this process within a share of its GPU's memory from now on.

        Without it trials that share a GPU are only kept apart by the margin they were packed with.
        """


@runtime_checkable
class StartSaver(Protocol):
    """A trainer that can write the weights which a spec starts from, untrained."""

    def save_start(self, spec: Spec, path: Path) -> None:
        """[worker] Write a checkpoint of them, as `evaluate` reads it."""


# After a search -----------------------------------------------------------------------------------


@runtime_checkable
class Explainer(Protocol):
    """A trainer that shows how single queries were matched; reports have pictures by it."""

    def explain(self, spec: Spec, with_map: bool = True) -> dict[str, Any]:
        """[worker] Look every query up: `queries`, `suspects`, `map`, for people to look at.

        Without `with_map` only `queries` are used. Without the method reports show no pictures.
        """


@runtime_checkable
class PictureFinder(Protocol):
    """A trainer that finds pictures in folders and archives, for `hpo predict`."""

    def find_pictures(self, sources: Sequence[str]) -> dict[str, Any]:
        """List what is to be labelled: `pictures` (paths), `errors` (`image`, `error`), `notes`.

        Without it `hpo predict` takes files alone.
        """


@runtime_checkable
class PictureLabeller(Protocol):
    """A trainer that labels pictures one by one, and tells those of unknown classes."""

    def label_pictures(
        self, folder: Path, images: Sequence[Path], topk: int, *, unknown_at: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Label images by the exported model and gallery in `folder`, as `predict` does.

        Args:
            folder: of the export.
            images: picture files.
            topk: classes to list for each.
            unknown_at: asked share of pictures of unknown classes that are taken for known.

        Yields:
            A row per image, in order: `image`, `label` (the nearest class, or `unknown` where
            none fits), `unknown` where that is asked for (a class may be called so), and of the
            nearest classes `labels`, `scores` and `distances`; or `image` and `error`.
        """

    def describe_threshold(self, folder: Path, rate: float) -> dict[str, Any]:
        """Return `limit` (pictures that score higher are unknown), `rate_interval`, `rejected`."""


@runtime_checkable
class FormExporter(Protocol):
    """A trainer that writes an export in further forms, checked on real pictures."""

    def export_form(self, folder: Path, form: str, out: Path, name: str) -> dict[str, Any]:
        """Write a form of the export in `folder` below `out`, and return its facts.

        Args:
            folder: `model.onnx`, `model.ckpt` and `spec.yaml`.
            form: `pixels` (preprocessing inside), `timm` or `triton`.
            out: where it is put.
            name: of the model.
        """


@runtime_checkable
class GalleryEditor(Protocol):
    """A trainer that changes the classes of an exported gallery without training."""

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


@runtime_checkable
class GalleryKeeper(GalleryEditor, Protocol):
    """A trainer that also merges galleries, keeps them in several ways and undoes changes.

    What can be undone lies in `gallery.history/` beside `gallery.npz`: a later hand-off of the same
    model takes both over.
    """

    def merge_gallery(self, folder: Path, other: Path) -> dict[str, Any]:
        """Add all pictures of another gallery of the same model; returns as `add_classes`."""

    def set_gallery(
        self, folder: Path, *, kind: str | None = None, matching: str | None = None
    ) -> dict[str, Any]:
        """Keep it in another way; returns `classes`, `pictures`, `kind`, `matching` and `bytes`."""

    def undo_gallery(self, folder: Path) -> dict[str, Any]:
        """Undo the last change of the exported gallery; returns `classes` and `pictures` in it."""


@runtime_checkable
class GalleryMeter(Protocol):
    """A trainer that measures what other ways to keep an exported gallery would give and cost."""

    def measure_gallery(self, folder: Path) -> list[dict[str, Any]]:
        """Measure the exported gallery in `folder` in every way it could be kept; change nothing.

        Returns:
            Rows of `kind`, `matching`, `length` (of an embedding), `shortened` (`no`, or how),
            `precision_at_1` (of `num_queries`), `same` (share with the first row's answer),
            `bytes`, `milliseconds`.
        """


_HERE: list[type] = [
    value for value in vars().values() if getattr(value, "_is_runtime_protocol", False)
]
EXTRAS: tuple[type, ...] = tuple(dict.fromkeys((Averager, UnknownCalibrator, ListReader, *_HERE)))
"""All of them."""


def members_of(extra: type) -> list[str]:
    """Names of an extra's keys and methods, inherited ones first."""
    known = [vars(kind) for kind in reversed(extra.__mro__)]
    names = [name for own in known for name in (*own.get("__annotations__", ()), *own)]
    return [name for name in names if not name.startswith("_")]
