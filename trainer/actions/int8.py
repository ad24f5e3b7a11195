"""INT8 forms of ONNX files with Q/DQ pairs, which keep the accuracy of the original.

Of the ways to find value ranges the one with the best Precision@1 on the validation pictures is
taken; then the layers that harm most stay in float32 until the loss is as small as asked.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.actions.calibration import (
    METHODS,
    calibration_batches,
    calibration_files,
    write_ranges,
)
from trainer.actions.half import share_of_weights, to_half
from trainer.actions.scoring import Score, Scorer, make_scorer
from trainer.data.names import name_bytes
from trainer.durable_files import write_atomically, write_text
from trainer.errors import DataError
from trainer.gallery import model_digest
from trainer.onnx_model import OnnxModel, add_metadata
from trainer.retrieval import normalize

if TYPE_CHECKING:
    from trainer.config.root import Spec

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_HARM_PICTURES = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a network is quantised."""

    method: str
    """A key of `METHODS`."""
    kept: tuple[str, ...] = ()
    """Nodes that stay in float32."""


def quantize(source: Path, target: Path, spec: Spec, *, keep: Collection[str]) -> dict[str, Any]:
    """Write `target`, the INT8 form of an ONNX file.

    Symmetric 8-bit weights (a range per channel) and activations (ranges from the pictures) as QDQ
    pairs; biases stay in float32. Ranges and choice are kept in and beside `cal_cache_file`, and
    used again for the same ONNX file and pictures.

    Args:
        source: the float32 file.
        target: the file to write.
        spec: its `gen_trt_engine.tensorrt.calibration`, and the validation pictures.
        keep: nodes that stay in float32 in any case.

    Returns:
        `quantized_onnx`, `num_calibration_images`, `cache_reused`, `method`, `kept_layers` (name
        and share of the weights) and `kept_without_weights` (number of other nodes); where the spec
        names reference and query also `precision_at_1` (`fp32`, `fp16`, `int8`, `num_queries`: none
        of them calibrated on, but chosen by), `milliseconds` a picture and `bytes`.

    Raises:
        DataError: there are fewer than `cal_batch_size` x `cal_batches` pictures.
        CheckpointError: the file's picture size is open.
    """
    calibration = spec.gen_trt_engine.tensorrt.calibration
    model = OnnxModel(source)
    files = calibration_files(spec)
    scorer = make_scorer(spec, model, files)
    cache = Path(calibration.cal_cache_file or "")
    pictures = _digest_of(files)
    known = _known_choice(spec, source, pictures, is_measured=scorer is not None)
    with tempfile.TemporaryDirectory(prefix="ml_recog_int8_") as name:
        quantiser = _Quantiser(source, files, spec, Path(name), tuple(keep))
        if known is not None:
            quantiser.take_ranges(known.method, cache)
        choice = known or _choose(quantiser, source, scorer, spec)
        write_atomically(target, lambda path: quantiser.write(path, choice.method, choice.kept))
        add_metadata(target, model.facts)
        if known is None:
            asked = {"asked": calibration.method, "measured": scorer is not None}
            facts = {**asdict(choice), **asked, "pictures": pictures}
            _keep_choice(spec, quantiser.ranges(choice.method), facts, source)
        layers = quantiser.weighted()
        listed = [name for name in choice.kept if name in layers]
        kept = share_of_weights(quantiser.prepared, (*keep, *listed))
        scores = _compare(source, target, Path(name), scorer)
    return {
        "quantized_onnx": str(target),
        "num_calibration_images": len(files),
        "cache_reused": known is not None,
        "method": choice.method,
        "kept_layers": kept,
        "kept_without_weights": len(choice.kept) - len(listed),
        **scores,
    }


class _Quantiser:
    """Quantises one network in several ways; every method's ranges are found once."""

    def __init__(
        self, source: Path, files: list[Path], spec: Spec, folder: Path, keep: tuple[str, ...]
    ) -> None:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self.prepared = folder / "prepared.onnx"
        quant_pre_process(str(source), str(self.prepared), skip_symbolic_shape=True)
        self._model = OnnxModel(self.prepared)
        self._files, self._spec, self._folder, self._keep = files, spec, folder, keep

    def ranges(self, method: str) -> Path:
        """Return the file with a method's ranges, which is made where it is missing."""
        path = self._folder / f"{method}.json"
        if not path.is_file():
            logger.info("INT8: ranges by %s from %d pictures", method, len(self._files))
            write_ranges(self.prepared, self._batches(self._files), method, path)
        return path

    def weighted(self) -> set[str]:
        """Return the names of the layers with weights."""
        import onnx

        nodes = onnx.load(str(self.prepared)).graph.node
        return {str(node.name) for node in nodes if node.op_type in _WEIGHTED}

    def take_ranges(self, method: str, cache: Path) -> None:
        """Use the ranges of an earlier build."""
        shutil.copyfile(cache, self._folder / f"{method}.json")

    def write(
        self, target: Path, method: str, kept: Collection[str], only: Sequence[str] = ()
    ) -> None:
        """Write the INT8 form, with `kept` in float32, or with `only` in INT8."""
        if kept or only:
            self._quantize(target, method, kept, only)
        else:
            shutil.copyfile(self._whole(method), target)

    def _whole(self, method: str) -> Path:
        """Return the form with nothing kept, which is scored first and is mostly the answer."""
        path = self._folder / f"{method}.onnx"
        if not path.is_file():
            self._quantize(path, method, (), ())
        return path

    def _quantize(
        self, target: Path, method: str, kept: Collection[str], only: Sequence[str]
    ) -> None:
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        quantize_static(
            str(self.prepared),
            str(target),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(only),
            nodes_to_exclude=[*self._keep, *kept],
            calibrate_method=CalibrationMethod[METHODS[method]],
            # TensorRT's parser knows no INT32 biases.
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
            calibration_cache_path=self.ranges(method),
        )

    def by_harm(self, method: str) -> list[tuple[str, ...]]:
        """Return groups of nodes, first the one that turns the embeddings most when quantised.

        Every layer with weights is a group of its own; all others together are one.
        """
        layers, others = self._groups()
        count = min(len(self._files), _HARM_PICTURES)
        batches = list(self._batches(self._files[:count]))
        original = _embed(self._model, batches)
        harms = []
        for group in (*layers, *others):
            file = self._folder / "one.onnx"
            self.write(file, method, (), only=group)
            turned = 1 - (original * _embed(OnnxModel(file), batches)).sum(axis=1).mean()
            harms.append((float(turned), group))
        return [group for _, group in sorted(harms, key=lambda pair: -pair[0])]

    def _groups(self) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        import onnx

        full = self._folder / "full.onnx"
        self.write(full, next(iter(METHODS)), ())
        scaled = {
            name
            for node in onnx.load(str(full)).graph.node
            if node.op_type == "DequantizeLinear"
            for name in node.output
        }
        quantised = [
            node
            for node in onnx.load(str(full)).graph.node
            if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}
            and scaled & set(node.input)
        ]
        names = [(str(node.name), node.op_type in _WEIGHTED) for node in quantised]
        layers: list[tuple[str, ...]] = [(name,) for name, is_weighted in names if is_weighted]
        others = tuple(name for name, is_weighted in names if not is_weighted)
        return layers, [others] if others else []

    def _batches(self, files: list[Path]) -> Any:
        return calibration_batches(files, self._model, self._spec)


def _embed(model: OnnxModel, batches: list[NDArray[np.float32]]) -> NDArray[Any]:
    return normalize(np.concatenate([model.run(batch) for batch in batches]))


def _choose(quantiser: _Quantiser, source: Path, scorer: Scorer | None, spec: Spec) -> Choice:
    """Choose method and kept layers by the validation pictures."""
    calibration = spec.gen_trt_engine.tensorrt.calibration
    asked = calibration.method
    if scorer is None:
        logger.warning(
            "dataset.val_dataset names no reference and query beside those calibrated on: the loss "
            "of Precision@1 by INT8 is not measured"
        )
        return Choice(method=next(iter(METHODS)) if asked == "auto" else asked)
    methods = tuple(METHODS) if asked == "auto" else (asked,)
    target = quantiser.prepared.with_name("candidate.onnx")

    def score(method: str, kept: Collection[str]) -> float:
        quantiser.write(target, method, kept)
        return scorer.score(target).precision_at_1

    least = scorer.score(source).precision_at_1 - calibration.max_drop
    reached: dict[str, float] = {}
    for method in methods:
        reached[method] = score(method, ())
        if reached[method] == 1.0:  # no other can be better
            break
    best = max(reached, key=lambda method: reached[method])
    logger.info("INT8: Precision@1 %s; at least %.4f is wanted", _spelt(reached), least)
    if reached[best] >= least:
        return Choice(method=best)
    order = quantiser.by_harm(best)
    count = _fewest(len(order), lambda n: score(best, _names(order[:n])) >= least)
    return Choice(method=best, kept=_names(order[:count]))


def _fewest(most: int, is_enough: Callable[[int], bool]) -> int:
    """Return a number that is enough, by doubling and then halving the interval."""
    low, high = 0, 1
    while high < most and not is_enough(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _names(groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for group in groups for name in group)


def _spelt(reached: dict[str, float]) -> str:
    return ", ".join(f"{value:.4f} by {method}" for method, value in reached.items())


def _compare(source: Path, target: Path, folder: Path, scorer: Scorer | None) -> dict[str, Any]:
    """Return the figures of all three forms; nothing where there is nothing to score on."""
    if scorer is None:
        return {}
    half = folder / "half.onnx"
    to_half(source, half)
    forms = {"fp32": source, "fp16": half, "int8": target}
    scores: dict[str, Score] = {name: scorer.score(path) for name, path in forms.items()}
    for name, score in scores.items():
        logger.info(
            "%s: Precision@1 %.4f (class mean, %d queries), %.2f ms a picture, %.1f MB",
            name.upper(), score.precision_at_1, scorer.num_queries, score.milliseconds,
            score.num_bytes / 1e6,
        )  # fmt: skip
    return {
        "precision_at_1": {
            **{name: score.precision_at_1 for name, score in scores.items()},
            "num_queries": scorer.num_queries,
        },
        "milliseconds": {name: score.milliseconds for name, score in scores.items()},
        "bytes": {name: score.num_bytes for name, score in scores.items()},
    }


def _choice_file(cache: Path) -> Path:
    return cache.with_name(f"{cache.name}.model")


def _digest_of(files: Sequence[Path]) -> str:
    """What tells pictures that are calibrated on from others; they are not read for it."""
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        facts = path.stat()
        digest.update(name_bytes(f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}\n"))
    return digest.hexdigest()


def _known_choice(spec: Spec, source: Path, pictures: str, *, is_measured: bool) -> Choice | None:
    """Return what an earlier build chose for this ONNX file, these pictures and settings.

    What was chosen without a measurement does not count where one can be made.

    Raises:
        DataError: the ranges are of another model.
    """
    calibration = spec.gen_trt_engine.tensorrt.calibration
    cache = Path(calibration.cal_cache_file or "")
    if not cache.is_file():
        return None
    file = _choice_file(cache)
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError):  # none, or a damaged one, says nothing of the model
        found = json.loads(file.read_text(encoding="utf-8"))
        known = found if isinstance(found, dict) else {}
    if known.get("model") != model_digest(source):
        raise DataError(
            f"gen_trt_engine.tensorrt.calibration.cal_cache_file: {cache} holds the ranges of "
            "another model; delete it or name another file"
        )
    if is_measured and not known.get("measured"):
        return None
    wanted = {"max_drop": calibration.max_drop, "asked": calibration.method, "pictures": pictures}
    if any(known.get(name) != value for name, value in wanted.items()):
        return None
    logger.info("using the calibrated ranges in %s again", cache)
    return Choice(method=known["method"], kept=tuple(known["kept"]))


def _keep_choice(spec: Spec, ranges: Path, choice: Mapping[str, Any], source: Path) -> None:
    calibration = spec.gen_trt_engine.tensorrt.calibration
    cache = Path(calibration.cal_cache_file or "")
    write_atomically(cache, partial(shutil.copyfile, ranges))
    facts = {"model": model_digest(source), "max_drop": calibration.max_drop, **choice}
    write_text(_choice_file(cache), json.dumps(facts, indent=1))
