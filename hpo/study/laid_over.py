"""Lays what flags or a Python call say over a study: what they say wins, by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.core.spec_dicts import flatten, merged, nest
from hpo.study.checks import LONGEST_NAME, WHOLE, Spelling, check_search
from hpo.study.packaged import embedded_study
from hpo.study.sections import DataSources
from hpo.study.sharing import check_sharing, refuse_several
from hpo.study.spec import StudySpec, anchored, check_study

_GENERIC = {"train", "known_classes", "data", "images", ""}
"""Names of folders that say nothing of what is in them."""


def laid_over(
    study: StudySpec,
    given: Mapping[str, Any],
    *,
    needed: Sequence[str] = WHOLE,
    in_process: bool = False,
    spell: Spelling = str,
    spell_search: Spelling = str,
    named: Callable[[str], str] = str.lower,
) -> StudySpec:
    """Return a study with what is given in place of its own, and its relative paths made absolute.

    Args:
        study: of a file, or one that says nothing.
        given: by the names of a study's fields. A folder, or all splits that are `needed`, take the
            place of all `data`; `spec` and the tables of `search` are merged by name.
        needed: splits that belong together.
        in_process: whether trials run one after the other, whatever a file says.
        spell: turns a key of the study into what the user wrote.
        spell_search: turns a key of `search` into it.
        named: as of `SearchOptions.updated`.

    Raises:
        SpecError: for the first thing that does not fit.
    """
    settings, of_search = nest(given.get("spec", {})), given.get("search", {})
    options, fixed = study.search.updated(of_search, named), of_search.get("fix", {})
    now = flatten(settings)
    # A value that is given takes the place of the study's, whether that is set there or fixed.
    fix = {n: now[n] if n in now and n not in fixed else v for n, v in options.fix.items()}
    set_before = flatten(study.spec).keys() - now.keys()
    over = {name: value for name, value in fixed.items() if name in set_before}
    values = {
        **given,
        **_sharing(study, given, spell, in_process=in_process),
        "data": _with_data(study.data, given.get("data", {}), needed),
        "spec": merged(study.spec, settings, nest(over)),
        "search": replace(options, fix=fix),
    }
    check_search(values["search"], "", spell_search)
    laid = anchored(replace(study, **values), Path.cwd())
    check_study(laid, spell, needed)
    return laid


def new_study(data: Mapping[str, Any], weights: str | None, spec: Mapping[str, Any]) -> StudySpec:
    """The study of who names none: named after the pictures, or the embedded one without any."""
    if not data:
        return embedded_study(weights, nest(spec))
    placed = anchored(StudySpec(data=DataSources(**data)), Path.cwd())
    return replace(StudySpec(), name=_name_from(placed.data))


def _with_data(data: DataSources, given: Mapping[str, Any], needed: Sequence[str]) -> DataSources:
    is_whole = "folder" in given or {*(needed or WHOLE)} <= set(given)
    return replace(DataSources() if is_whole else data, **given)


def _sharing(
    study: StudySpec, given: Mapping[str, Any], spell: Spelling, *, in_process: bool
) -> dict[str, Any]:
    """What is given of sharing GPUs; the last word on how many run at a time counts."""
    count, shared = given.get("concurrent"), given.get("trials_per_gpu")
    if shared is not None:
        shared = check_sharing(shared, count, spell("trials_per_gpu"))
    if in_process:
        refuse_several({spell("concurrent"): count, spell("trials_per_gpu"): shared})
    if given.get("trials_per_gpu") is not None:
        return {"trials_per_gpu": shared, "concurrent": None}
    if count is not None and study.trials_per_gpu is not None:
        return {"trials_per_gpu": None}
    return {}


def _name_from(data: DataSources) -> str:
    """Name a study after its data folder."""
    path = Path(data.folder or data.train)
    names = [_as_name(part.split(".")[0]) for part in (path.name, *[p.name for p in path.parents])]
    return next((name for name in names if name.lower() not in _GENERIC), "study")


def _as_name(folder: str) -> str:
    """A folder's name as far as a study may bear it."""
    plain = "".join(sign if sign.isprintable() else "_" for sign in folder).strip()
    return plain.encode()[:LONGEST_NAME].decode(errors="ignore")
