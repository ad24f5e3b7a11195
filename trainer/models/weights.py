"""Reads weight files safely and loads them, reporting every missing key."""

import logging
import os
import pickle
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import CheckpointError, first_line
from trainer.models.layouts import Layout, arrange, resample_positions
from trainer.models.unpickle import CodeInFileError, load_restricted

logger = logging.getLogger(__name__)

FULL_UNPICKLING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_CONTAINERS = ("state_dict", "model_state_dict", "model", "teacher")
"""Keys under which training checkpoints keep the weights, first found first taken."""

SHOWN = 4
"""Keys named in a message before it only counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What became of every key when weights were loaded; keys are the model's where it has them."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    """`key: file 3x4, model 3x5`; those tensors keep the model's values."""
    resampled: tuple[str, ...]
    """Position tables brought to the model's grid, as `key: 37x37 -> 16x16`."""
    ignored: tuple[str, ...]
    """Keys of the file outside the part asked for, and classifiers."""

    @property
    def fits(self) -> bool:
        """Whether every weight of the model was in the file and every weight of the file used."""
        return not (self.missing or self.unexpected or self.mismatched)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a weight file's whole content onto the CPU, running nothing that is in it.

    `.safetensors` files, and files of `torch.save` under any other name (`.pth`, `.pth.tar`,
    `.ckpt`...). Objects that are neither tensors nor plain containers are dropped with a warning.

    Args:
        path: The file. `~` is expanded.

    Raises:
        CheckpointError: It is missing, damaged, holds code, or holds no mapping.
    """
    path = path.expanduser()
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path}: {kind}; a weight file is needed")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: must hold a mapping of weights, holds {type(content).__name__}; "
            "save the model's state_dict()"
        )
    return dict(content)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a file: its `state_dict` if it has one, else its own tensors.

    Raises:
        CheckpointError: As for `read_checkpoint`, or the file holds no tensors.
    """
    return find_state_dict(read_checkpoint(path), path)


def find_state_dict(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the weights in what `read_checkpoint` gave for `path`.

    Raises:
        CheckpointError: There are none.
    """
    for inner in (*(content.get(name) for name in _CONTAINERS), content):
        if isinstance(inner, Mapping) and (state := _tensors(inner)):
            return state
    names = ", ".join(map(str, list(content)[:SHOWN]))
    raise CheckpointError(f"{path}: holds no weights; top-level keys: {names or 'none'}")


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: dict[str, Tensor] = load_file(path, device="cpu")
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path}: damaged or no safetensors file: {e}") from e
    return state


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Of pickle protocols that torch knows less well.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # A foreign object or damage: the restricted reader tells the two apart.
        pass
    except Exception as e:
        if "TorchScript" in str(e):
            raise CheckpointError(
                f"{path}: must be a weight file, and is a TorchScript program; save its "
                "state_dict() and give that"
            ) from e
        raise _damaged(path) from e
    try:
        content, dropped = load_restricted(path)
    except CodeInFileError as e:
        return _read_fully(path, f"holds code that would run on opening ({e})", e)
    except pickle.UnpicklingError as e:
        if str(e).startswith("damaged"):
            raise _damaged(path) from e
        return _read_fully(path, f"cannot be read as tensors alone: {first_line(e)}", e)
    if dropped:
        names = ", ".join(dropped[:SHOWN]) + (", ..." if len(dropped) > SHOWN else "")
        logger.warning(
            "%s: took the tensors, dropped %d other types: %s", path, len(dropped), names
        )
    return content


def _damaged(path: Path) -> CheckpointError:
    size = path.stat().st_size
    what = "empty" if size == 0 else f"damaged, cut off or something else ({size} bytes)"
    return CheckpointError(f"{path}: must be a weight file, and is {what}; fetch or save it again")


def _read_fully(path: Path, reason: str, cause: Exception) -> Any:
    if os.environ.get(FULL_UNPICKLING, "").lower() not in {"1", "y", "yes", "true"}:
        raise CheckpointError(
            f"{path}: {reason}; refused. If you trust its author, set {FULL_UNPICKLING}=1 "
            "to unpickle it in full, which runs whatever it holds"
        ) from cause
    logger.warning("%s: %s; unpickled in full, as %s asks", path, reason, FULL_UNPICKLING)
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as e:
        raise CheckpointError(f"{path}: {reason}; in full: {first_line(e)}") from e


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    what: str,
    strict: bool = True,
    optional: Collection[str] = (),
) -> LoadReport:
    """Load weights in any of the known layouts into a trunk, a head or a whole recognizer.

    Args:
        module: Keeps its values wherever the report does not say `loaded`.
        state: Weights under the names of some file.
        what: What is loaded from where, for messages: `trunk fan_tiny from x.pth`.
        strict: Refuse, before anything is changed, unless every weight of both sides is used
            (classifiers and other parts of the file aside).
        optional: Weights that the file may lack; they keep their values then.

    Raises:
        CheckpointError: Strict and something does not fit, or weights are not finite.
    """
    target = module.state_dict(keep_vars=True)
    layout = arrange(state, target)
    values, resampled = resample_positions(module, layout.state)
    _fill_aliases(values, target, what)
    fitting = {k: v for k, v in values.items() if k in target and v.shape == target[k].shape}
    report = _report(layout, values, fitting, target, optional, resampled)
    if strict and not report.fits:
        raise CheckpointError(_complaint(report, what, len(target)))
    for key, value in fitting.items():
        if isinstance(target[key], nn.Parameter) and not value.isfinite().all():
            raise CheckpointError(f"{what}: {key} holds numbers that are not finite")
    module.load_state_dict(fitting, strict=False)
    for line in resampled:
        logger.warning("%s: position table resampled, %s", what, line)
    return report


def _report(
    layout: Layout,
    values: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    optional: Collection[str],
    resampled: tuple[str, ...],
) -> LoadReport:
    missing = [
        key
        for key in target
        if key not in values and key not in optional and not key.endswith("num_batches_tracked")
    ]
    mismatched = [
        f"{key}: file {_shape(value)}, model {_shape(target[key])}"
        for key, value in values.items()
        if key in target and key not in fitting
    ]
    return LoadReport(
        loaded=tuple(fitting),
        missing=tuple(missing),
        unexpected=tuple(key for key in values if key not in target),
        mismatched=tuple(mismatched),
        resampled=resampled,
        ignored=layout.outside + layout.dropped,
    )


def _complaint(report: LoadReport, what: str, total: int) -> str:
    groups = {
        "missing in the file": report.missing,
        "unknown to the model": report.unexpected,
        "of another shape": report.mismatched,
    }
    parts = [f"{what}: {len(report.loaded)} of {total} weights fit"]
    for name, keys in groups.items():
        if keys:
            more = ", ..." if len(keys) > SHOWN else ""
            parts.append(f"{len(keys)} {name} ({', '.join(keys[:SHOWN])}{more})")
    return "; ".join(parts) + "; nothing was loaded. Name a file of this model"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _fill_aliases(values: dict[str, Tensor], target: Mapping[str, Tensor], what: str) -> None:
    """Give a tensor registered under two names the file's value for either of them."""
    names: dict[int, list[str]] = {}
    for key, tensor in target.items():
        names.setdefault(id(tensor), []).append(key)
    for group in names.values():
        first, *others = [key for key in group if key in values] or [""]
        # Numbers that are not finite are refused as such where they are loaded.
        same = [torch.equal(values[first].nan_to_num(), values[k].nan_to_num()) for k in others]
        if not all(same):
            raise CheckpointError(f"{what}: {' and '.join(group)} must be equal, and differ")
        if first:
            values.update(dict.fromkeys(group, values[first]))
