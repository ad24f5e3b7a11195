"""Composes a job's full spec from template, parent, data, overrides and inferred values."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.core.errors import DataError, SpecError
from hpo.core.spec_dicts import flatten, merged, nest, value_at
from hpo.jobs.data_sources import UNSET_MARKS, as_absolute, resolve_data_sources
from hpo.jobs.inference import JobContext, accepted_kinds, infer_fields
from hpo.jobs.parent_data import carried_sections, inherited_data, is_known
from hpo.jobs.parents import Parent, model_of
from hpo.study.overrides import find_new_keys
from hpo.study.skill import Skill

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a job is asked to do."""

    action: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Spec keys, dotted, nested or shorthand; they beat everything else."""
    roots: Mapping[str, str] = field(default_factory=dict)
    data_format: str = ""
    base: Mapping[str, Any] | None = None
    """A whole spec in place of the template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A full spec, and how the values that nobody wrote were found."""

    spec: dict[str, Any]
    new: tuple[str, ...]
    """Keys of it that neither skill nor trainer know."""
    inferred: dict[str, str]
    roots: dict[str, str]


def choose_page(pages: list[Skill], request: JobRequest, context: JobContext) -> Skill:
    """Of the pages that know an action, the one that takes what the job is started from.

    Args:
        pages: in the skill's order; the first is taken where nothing tells them apart.
        request: its overrides may name a page's input, such as `evaluate.trt_engine`.
        context: its parent's model may fit the field of one page alone.
    """
    flat = flatten(nest(request.overrides))
    fields = [_model_fields(page, request.action) for page in pages]
    for page, names in zip(pages, fields, strict=True):
        if any(flat.get(name) for name in names):
            return page
    parent = context.parent
    if parent is None or len(pages) == 1:
        return pages[0]
    kind = model_of(parent, context.checkpoint).kind
    order = [(accepted_kinds(n), page) for page, names in zip(pages, fields, strict=True)
             for n in names]  # fmt: skip
    fitting = [(kinds.index(kind), page) for kinds, page in order if kind in kinds]
    return min(fitting, key=lambda pair: pair[0])[1] if fitting else pages[0]


def compose(
    page: Skill,
    request: JobRequest,
    context: JobContext,
    line: list[Parent],
    also_known: Mapping[str, Any] | None = None,
) -> Composed:
    """Build the spec of a job.

    Args:
        page: where the action stands.
        request: what is asked for.
        context: folder, parent and weights.
        line: the parent and its ancestors, nearest first.
        also_known: nested keys of a registered trainer, which are legal beside the skill's.

    Raises:
        SpecError: for a misspelt override; or naming every mandatory input and source that
            nothing gives.
        RunError: when the parent has no fitting model.
    """
    action = request.action
    template, known, faults = page.starter_spec(action)
    for fault in faults:
        logger.warning("%s; the job goes on without it", fault)
    given = _given(page, request)
    legal = merged(known, also_known or {})
    new = (
        find_new_keys(given, lambda key: is_known(key, legal), set(flatten(legal)), page)
        if known
        else ()
    )
    roots = _all_roots(request, line)
    # Examples of data and of files that are found or made stay behind.
    examples = {*page.data_entries(action), *page.spec_params(action)}
    base = {} if request.base is not None else without(template, examples)
    carried = carried_sections(page, action, known, context.parent)
    kept, notes = inherited_data(page, action, {**flatten(base), **given}, roots, line)
    data, problem = _resolved(page, request, roots, {**kept, **given})
    set_fields = [name for name, value in given.items() if value]
    filled = infer_fields(page.spec_params(action), context, set_fields)
    values = {name: value for name, (value, _) in filled.items()}
    spec = _without_marks(merged(base, carried, given, data, values))
    missing = _missing_inputs(page, action, spec)
    if missing or problem is not None:
        raise SpecError("; ".join([*missing, *([str(problem)] if problem else [])])) from problem
    inferred = {**notes, **{name: how for name, (_, how) in filled.items()}}
    return Composed(spec=spec, new=new, inferred=inferred, roots=roots)


def _model_fields(page: Skill, action: str) -> list[str]:
    params = page.spec_params(action)
    return [name for name, what in params.items() if what.startswith("parent_model")]


def _all_roots(request: JobRequest, line: list[Parent]) -> dict[str, str]:
    roots: dict[str, str] = {}
    for more in (dict(request.roots), *(parent.roots for parent in line)):
        roots = {**more, **roots}
    return {name: as_absolute(root) for name, root in roots.items() if root}


def _given(page: Skill, request: JobRequest) -> dict[str, Any]:
    """Overrides over a whole given spec, dotted, without marks for what is still to be given."""
    layers = [request.base or {}, page.expand(request.overrides)]
    return flatten(_without_marks(merged(*layers)))


def without(spec: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """A spec without some keys, nested."""
    return nest({name: value for name, value in flatten(spec).items() if name not in names})


def _without_marks(spec: Mapping[str, Any]) -> dict[str, Any]:
    flat = flatten(spec)
    return nest({k: v for k, v in flat.items() if not (isinstance(v, str) and v in UNSET_MARKS)})


def _resolved(
    page: Skill, request: JobRequest, roots: Mapping[str, str], given: Mapping[str, Any]
) -> tuple[dict[str, Any], DataError | None]:
    """The data, or what is wrong with them, to be told with all else that is missing."""
    try:
        found = resolve_data_sources(
            page, request.action, roots, given, data_format=request.data_format
        )
    except DataError as error:
        return {}, error
    return found, None


def _missing_inputs(page: Skill, action: str, spec: Mapping[str, Any]) -> list[str]:
    """A line about mandatory inputs that are still unset; data keys have been seen to before."""
    data = page.data_entries(action)
    missing = [
        name
        for name in page.inputs(action)
        if not (name in data or page.is_optional_input(action, name) or value_at(spec, name))
    ]
    if not missing:
        return []
    return [
        f"{', '.join(missing)}: must be given for {action}; name a parent job that holds it, "
        "or set it"
    ]


def results_dir_of(spec: Mapping[str, Any], action: str, folder: Path) -> str:
    """Where the action writes, where that is not the job's own folder; empty where it is."""
    own = value_at(spec, f"{action}.results_dir")
    wanted = str(own or spec.get("results_dir") or folder)
    return "" if Path(wanted).absolute() == folder else str(Path(wanted).absolute())
