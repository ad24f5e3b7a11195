"""The trainer's interface for a harness: validate, probe, fit, evaluate, export.

Importing it costs no torch: whatever needs torch or pictures is imported when it is called. The
harness knows the methods, not this class; this package knows nothing of the harness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.tree import keys_that_hold
from trainer.errors import SpecError
from trainer.exported_models import ExportedModels
from trainer.inactive import inactive_keys
from trainer.spec import parse_spec, spec_to_dict

if TYPE_CHECKING:
    from trainer.data.decoding import Progress

Report = Callable[[Mapping[str, Any]], bool]
"""Called with one validated epoch; returns False when training should end."""

_SOURCE_KEYS: Mapping[str, str] = {
    "train": "dataset.train_dataset",
    "reference": "dataset.val_dataset.reference",
    "query": "dataset.val_dataset.query",
    "weights": "model.pretrained_trunk_path",
}

_HELD_OUT = frozenset({"test_reference", "test_query"})
"""Sources that belong to no train spec: they are evaluated on, once, afterwards."""


class RecognitionTrainer(ExportedModels):
    """Training, evaluation and export of `ml_recog` behind plain mappings.

    Example: `spec = TRAINER.validate({"train": {"num_epochs": 3}} | data)`, then in a worker
    `TRAINER.fit(spec, report)`, `TRAINER.evaluate(spec | {"evaluate": {"checkpoint": path}})`.
    """

    name = "ml_recog"
    skill_dir = Path(__file__).parent / "skill"
    monitoring_metric = "val_precision_at_1"
    direction = "maximize"
    epochs_key = "train.num_epochs"
    seed_key = "train.seed"
    devices_key = "train.num_gpus"
    multiple_of: Mapping[str, str] = {"train.batch_size": "dataset.num_instance"}
    """Parameter -> the parameter of which it must be a multiple."""
    parent_key = "train.head_checkpoint"
    restart_keys = (
        "model", "train.optim.name", "train.optim.layer_decay", "train.optim.decay_norms",
        "train.head_epochs", "train.head_checkpoint", "train.loss.name", "train.loss.start",
        "train.loss.memory_size", "train.loss.subcenter_arcface.sub_centers",
        "train.train_trunk", "train.train_embedder",
    )  # fmt: skip
    """Keys, or sections, that no checkpoint can go on under once they have changed."""
    path_keys = keys_that_hold("path")
    weight_keys = keys_that_hold("weights")

    def validate(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the train spec, nested, with defaults filled in.

        Sources may still be missing; `inspect_data` and `fit` demand them.

        Args:
            spec: nested or dotted keys; sections of other actions are checked and kept.

        Raises:
            SpecError: naming every wrong key in one line.
        """
        return spec_to_dict(parse_spec(spec, "train", is_complete=False))

    def inactive(self, spec: Mapping[str, Any]) -> dict[str, str]:
        """Return parameter -> reason for those that do nothing under this spec."""
        return inactive_keys(parse_spec(spec, "train", is_complete=False))

    def limits(self, spec: Mapping[str, Any]) -> dict[str, tuple[float | None, float | None]]:
        """Return parameter -> (low, high) where the spec and its pictures leave less room.

        A warm-up takes at most half of the run's optimizer steps; a batch holds at least two
        classes, for losses that compare them, and no more than there are (no more pictures than
        there are where any are drawn). What depends on pictures is left out while they are not at
        hand.
        """
        from trainer.limits import limits

        return limits(parse_spec(spec, "train", is_complete=False))

    def data_overrides(self, sources: Mapping[str, str]) -> dict[str, Any]:
        """Turn sources (train, reference, query, weights) into dotted spec keys.

        Held-out sources are left out: no training may see them.

        Raises:
            SpecError: for a source of another name.
        """
        unknown = sorted(set(sources) - set(_SOURCE_KEYS) - _HELD_OUT)
        if unknown:
            legal = ", ".join((*_SOURCE_KEYS, *sorted(_HELD_OUT)))
            raise SpecError(f"{unknown[0]}: no such source; the sources are {legal}")
        return {path: str(sources[name]) for name, path in _SOURCE_KEYS.items() if name in sources}

    def cache_folder(self) -> dict[str, str]:
        """Return where what is made of pictures is kept: `folder`, and `warning` if that is odd.

        Raises:
            SpecError: no such folder can be written.
        """
        from trainer.data.location import choose_cache_folder

        chosen = choose_cache_folder()
        return {"folder": str(chosen.path), "warning": chosen.warning}

    def choose_start(
        self,
        given: Mapping[str, Any],
        *,
        gpus: int,
        budget_s: float | None,
        screened: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Choose weights, network, picture size and recipe where `given` sets none of them."""
        from trainer.start import choose_start

        return choose_start(given, gpus=gpus, budget_s=budget_s, screened=screened)

    def split_data(
        self, folder: str, out: Path, *, seed: int, class_disjoint: bool, group_by: str = ""
    ) -> dict[str, str]:
        """Split one folder of classes, or one list, into sources below `out`, by links."""
        from trainer.data.location import cache_settings
        from trainer.data.split import split_folder

        cache_settings()  # warns of a folder that may not last
        return split_folder(
            folder, out, seed=seed, class_disjoint=class_disjoint, group_by=group_by
        )

    def settle_sources(
        self, sources: Mapping[str, str], out: Path, *, group_by: str = ""
    ) -> dict[str, str]:
        """Give each source of a list with several splits its own rows; refuse groups in two."""
        from trainer.data.split import settle_sources

        return settle_sources(sources, out, group_by=group_by)

    def demo_data(self, folder: Path, seed: int) -> dict[str, str]:
        """Draw the embedded data set below `folder` and return its sources."""
        from trainer.data.demo import make_demo_data
        from trainer.data.location import cache_settings

        cache_settings()  # warns of a folder that may not last
        return make_demo_data(folder, seed)

    def inspect_data(
        self, spec: Mapping[str, Any], *, opens: bool = True, beside: Any = None
    ) -> dict[str, Any]:
        """Look at all data of a train spec, or at lists alone; return `{"splits", "findings"}`."""
        from trainer.data.inspect import inspect_data

        return inspect_data(parse_spec(spec, "train"), opens=opens, beside=beside)

    def stage(self, source: str) -> Path:
        """Fetch and unpack one source (folder, archive, address) once; return its local folder.

        A list of pictures is checked, and stays where it is: of that it is the folder that a
        gallery of them is relative to.
        """
        from trainer.data.lists import is_list
        from trainer.data.sources import pictures_of
        from trainer.data.staging import stage
        from trainer.gallery import gallery_root

        return gallery_root(pictures_of(source)) if is_list(source) else stage(source)

    def listed_files(self, source: str) -> dict[str, str]:
        """Return name -> file of each picture of a list or a folder; else empty."""
        from trainer.data.sources import listed_files

        return listed_files(source)

    def diagnose_data(
        self, sources: Mapping[str, str], progress: Progress | None = None,
        group_by: str = "", class_disjoint: bool = False, seed: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """Look for every fault of the pictures (see `trainer.doctor`); none is raised."""
        from trainer.doctor.diagnosis import diagnose

        how: dict[str, Any] = {"class_disjoint": class_disjoint, "seed": seed}
        return diagnose(sources, progress=progress, group_by=group_by, **how)

    def prepare(self, spec: Mapping[str, Any], progress: Progress | None = None) -> None:
        """Unpack archives and decode pictures once, before several runs share them."""
        from trainer.data.prepare import prepare_data

        prepare_data(parse_spec(spec, "train", is_complete=False), progress)

    def feature_statistics(self, address: str) -> dict[str, dict[str, list[float]]]:
        """Return `mean` and `variance` of a source's cached features, by what they were made with.

        Args:
            address: as in `dataset`.
        """
        from trainer.data.feature_statistics import feature_statistics

        return feature_statistics(address)

    def list_caches(self) -> dict[str, Any]:
        """Return what is kept of pictures on disk: `folder`, `limit_bytes` and `caches`.

        Each of `caches`, the last used first, has `name`, `kind` (`images`, `features`; `staged`:
        files), `source`, `images`, `bytes`, `last_used` (seconds since 1970), `in_use`, but for
        files `height`, `width`, `channels`, and `views`, `features` (length), `trunk` of features.
        """
        from trainer.data.cached_sets import list_caches
        from trainer.data.location import cache_settings

        settings = cache_settings()
        return {
            "folder": str(settings.folder),
            "limit_bytes": settings.limit_bytes,
            "caches": [entry.as_dict() for entry in list_caches()],
        }

    def clear_caches(
        self, names: Sequence[str] = (), older_than_s: float = 0.0
    ) -> list[dict[str, Any]]:
        """Remove cached sets that nobody uses, and return them as `list_caches` does.

        Args:
            names: beginnings of their names, or their sources; default: all.
            older_than_s: leave those used within so many seconds.

        Raises:
            SpecError: a name fits none.
        """
        from trainer.data.cached_sets import clear_caches

        return [e.as_dict() for e in clear_caches(names=names, older_than_s=older_than_s)]

    def probe(self, spec: Mapping[str, Any], brief: bool = False) -> dict[str, Any]:
        """Measure seconds per epoch and peak memory by a few steps; `brief`: memory alone."""
        from trainer.probing import probe

        return probe(parse_spec(spec, "train"), brief=brief)

    def limit_memory(self, share: float) -> None:
        """Keep this process within a share of its GPU's memory from now on."""
        from trainer.devices import limit_memory

        limit_memory(share)

    def measure(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Measure a model in use: `latency_ms` of one picture, and `params`."""
        from trainer.measuring import measure

        return measure(parse_spec(spec, "train", is_complete=False))

    def find_candidates(
        self,
        given: Mapping[str, Any],
        *,
        weights: Sequence[str] = (),
        trunks: Sequence[str] = (),
        sizes: Sequence[int] = (),
        gpus: int = 0,
    ) -> dict[str, Any]:
        """List what a network could start from; see `trainer.candidates.find_candidates`."""
        from trainer.candidates import find_candidates

        return find_candidates(given, weights=weights, trunks=trunks, sizes=sizes, gpus=gpus)

    def screen(
        self,
        spec: Mapping[str, Any],
        most: int | None = None,
        with_cost: bool = True,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Tell what a spec's trunk is worth untrained: Precision@1 of its features, and its cost.

        See `trainer.features.screening.screen`; training pictures are not needed.
        """
        from trainer.features.screening import screen

        checked = parse_spec(spec, "train", is_complete=False)
        return screen(checked, most=most, with_cost=with_cost, progress=progress)

    def fit(
        self,
        spec: Mapping[str, Any],
        report: Report,
        resume_from: Path | None = None,
        start_epoch: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Train and return the receipt: the values read back from the live objects.

        With `start_epoch`, `resume_from` is another run's checkpoint of that epoch. A run on
        several devices gets processes of its own, which end with this call.
        """
        from trainer.multi_process import fit_anywhere

        return fit_anywhere(parse_spec(spec, "train"), report, resume_from, start_epoch, progress)

    def fit_heads(
        self,
        specs: Sequence[Mapping[str, Any]],
        report: Callable[[int, Mapping[str, Any]], bool],
        progress: Progress | None = None,
    ) -> Sequence[dict[str, Any] | Exception]:
        """Train many heads on a frozen trunk together, each as `fit` would train it alone.

        Returns the receipt of each, or the error that ended it; see `trainer.many_heads`.
        """
        from trainer.many_heads import fit_heads

        return fit_heads([parse_spec(spec, "train") for spec in specs], report, progress)

    def save_start(self, spec: Mapping[str, Any], path: Path) -> None:
        """Write the weights that a train spec starts from, so that they can be evaluated."""
        from trainer.start_weights import save_start

        save_start(parse_spec(spec, "train"), path)

    def shares_start(self, spec: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether the weights of two train specs' runs can be averaged: one network, one start."""
        from trainer.same_start import shares_start

        first, second = (parse_spec(each, "train", is_complete=False) for each in (spec, other))
        return shares_start(first, second)

    def average(self, spec: Mapping[str, Any], files: Sequence[Path], out: Path) -> dict[str, Any]:
        """Average checkpoints, the best first, as long as validation does not fall."""
        from trainer.averaging import average

        return average(parse_spec(spec, "train"), files, out)

    def evaluate(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Evaluate `evaluate.checkpoint` (or the engine): metrics and per-query hits.

        The monitored metric is the mean that training monitors.
        """
        from trainer.actions.evaluate import evaluate

        checked = parse_spec(spec, "evaluate")
        over_classes = checked.train.report_accuracy_per_class
        asked = replace(checked.evaluate, report_accuracy_per_class=over_classes)
        return evaluate(replace(checked, evaluate=asked))

    def explain(self, spec: Mapping[str, Any], with_map: bool = True) -> dict[str, Any]:
        """Look up every query by `evaluate.checkpoint`: neighbours, doubtful labels, a map."""
        from trainer.actions.explain import explain

        return explain(parse_spec(spec, "evaluate"), with_map=with_map)

    def export(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Write a checked ONNX file of `export.checkpoint`, and the gallery index."""
        from trainer.actions.export import export

        return export(parse_spec(spec, "export"))

    def export_form(self, folder: Path, form: str, out: Path, name: str) -> dict[str, Any]:
        """Write a further form of the export in `folder`: `pixels`, `timm` or `triton`."""
        from trainer.forms.write import write_form

        return write_form(folder, form, out, name)

    def check_calibration(self, folder: Path, trainings: int) -> None:
        """See whether unknown pictures can be calibrated by trainings without some classes."""
        from trainer.cross_training import CrossTraining

        CrossTraining(folder, trainings)

    def calibrate_unknowns(
        self, folder: Path, work: Path, trainings: int, progress: Progress
    ) -> dict[str, Any]:
        """Train so often without a part of the classes; keep what comes of it in the gallery."""
        from trainer.cross_training import CrossTraining

        return CrossTraining(folder, trainings).calibrate(work, self.fit, progress)

    def infer(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Label the pictures of `inference.input_path`."""
        from trainer.actions.inference import infer

        return infer(parse_spec(spec, "inference"))

    def gen_trt_engine(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Build an engine from `gen_trt_engine.onnx_file`."""
        from trainer.actions.engine import gen_trt_engine

        return gen_trt_engine(parse_spec(spec, "gen_trt_engine"))


TRAINER = RecognitionTrainer()
