"""Infers spec values from a job's place: its folder, parent and earlier runs.

The functions bear the names that `spec_params` of a skill uses. A function that finds nothing
leaves its field alone; one that must find something and cannot is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpo.core.errors import RunError, SpecError
from hpo.jobs.parents import CHECKPOINT, Model, Parent, model_of
from hpo.run.checkpoints import newest_checkpoint

ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "export.checkpoint": (CHECKPOINT,),
    "checkpoint": (CHECKPOINT, "onnx_file"),
    "onnx_file": ("onnx_file",),
    "trt_engine": ("trt_engine",),
}
"""A field, or the last part of one -> the kinds of model that it takes, the best fitting first."""

_MADE_BY: Mapping[str, tuple[str, str]] = {
    CHECKPOINT: ("a checkpoint", "train"),
    "onnx_file": ("an ONNX file", "export"),
    "trt_engine": ("an engine", "gen_trt_engine"),
}
"""Kind of model -> its name in messages, and the action that makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """Where a job stands when its spec is filled in."""

    results_dir: Path
    parent: Parent | None = None
    checkpoint: str | int = "best_model"
    """Which checkpoint of a parent is meant: `best_model`, `latest_model` or an epoch."""
    base_checkpoint: str = ""
    """Weights to start a training from; several are joined by commas."""
    is_resumed: bool = False

    def model(self) -> Model | None:
        """The parent's model; None without a parent."""
        return None if self.parent is None else model_of(self.parent, self.checkpoint)


Found = tuple[str, str] | None
"""A value and how it was found, or nothing."""


def _output_dir(_field: str, context: JobContext) -> Found:
    return str(context.results_dir), "the job's own folder"


def _parent_model(field: str, context: JobContext) -> Found:
    model = context.model()
    if model is None:
        return None
    kinds = accepted_kinds(field)
    if model.kind not in kinds:
        name = context.parent.name if context.parent else ""
        wanted, maker = _MADE_BY[kinds[0]]
        held = _MADE_BY[model.kind][0] if model.kind in _MADE_BY else model.kind
        raise RunError(
            f"{field}: must be {wanted}, and {name} holds {held}; "
            f"name a job of `{maker}` as the parent"
        )
    return str(model.path), model.how


def _parent_model_folder(_field: str, context: JobContext) -> Found:
    model = context.model()
    return None if model is None else (str(model.path.parent), model.how)


def _own_file(name: str) -> Callable[[str, JobContext], Found]:
    def find(_field: str, context: JobContext) -> Found:
        return str(context.results_dir / name), "in the job's own folder"

    return find


def _resume_model(_field: str, context: JobContext) -> Found:
    newest = newest_checkpoint(context.results_dir) if context.is_resumed else None
    return None if newest is None else (str(newest), "the job's own newest checkpoint")


def _ptm_if_no_resume_model(_field: str, context: JobContext) -> Found:
    if _resume_model("", context) is not None:
        return None
    if context.base_checkpoint:
        return context.base_checkpoint, "base checkpoint"
    model = context.model()
    return None if model is None else (str(model.path), f"weights of {model.how}")


def _nothing(_field: str, _context: JobContext) -> Found:
    return None


FUNCTIONS: Mapping[str, Callable[[str, JobContext], Found]] = {
    "output_dir": _output_dir,
    "parent_model": _parent_model,
    "parent_model_folder": _parent_model_folder,
    "create_onnx_file": _own_file("model.onnx"),
    "create_engine_file": _own_file("model.engine"),
    "create_cal_cache": _own_file("cal.bin"),
    "resume_model": _resume_model,
    "ptm_if_no_resume_model": _ptm_if_no_resume_model,
    "key": _nothing,  # nothing is encrypted here
}
"""Inference function -> what it finds for a field."""


def accepted_kinds(field: str) -> tuple[str, ...]:
    """The kinds of model that a field takes, by its name or last part; any for other fields."""
    kinds = ACCEPTED.get(field) or ACCEPTED.get(field.rsplit(".", 1)[-1])
    return kinds or (CHECKPOINT, "onnx_file", "trt_engine")


def infer_fields(
    params: Mapping[str, str], context: JobContext, given: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Fill the fields of `spec_params`.

    Args:
        params: field -> function.
        context: where the job stands.
        given: fields that the user has set; they are left alone.

    Returns:
        Field -> (value, how it was found), for the fields with a value.

    Raises:
        SpecError: for a function that is not known here.
        RunError: when the parent has no fitting model.
    """
    filled: dict[str, tuple[str, str]] = {}
    for field, function in params.items():
        if field in given:
            continue
        if function not in FUNCTIONS:
            raise SpecError(
                f"{field}: the skill asks for {function!r}, which is not known here; set the field"
            )
        found = FUNCTIONS[function](field, context)
        if found is not None and found[0]:
            filled[field] = found
    return filled
