"""A study from the arguments of a Python call, which are checked as those of a study file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpo.core.budget import parse_budget
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import nest, plain
from hpo.core.text import quoted
from hpo.study.laid_over import laid_over, new_study
from hpo.study.packaged import given_study
from hpo.study.schema import check_shape, values_of
from hpo.study.sections import SPLITS, DataSources, SearchOptions
from hpo.study.spec import StudySpec

PathLike = str | os.PathLike[str]
Data = PathLike | Mapping[str, Any]
FIELDS = ("concurrent", "trials_per_gpu", "keep", "disk_quota")
"""Fields of a study that a call gives by their own names."""


def study_of_arguments(
    study: PathLike | None,
    data: Data | None,
    budget: str | int | None,
    spec: Mapping[str, Any] | None,
    weights: PathLike | None,
    options: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None = None,
    *,
    named: Callable[[str], str] = str.lower,
) -> StudySpec:
    """Lay the arguments of `hpo.search` over a study; of the `settings` the name and `FIELDS`.

    `named` is as of `SearchOptions.updated`.

    Raises:
        SpecError: for the first that is wrong, by its name.
    """
    given = nest(_mapping("spec", spec))
    address = None if weights is None else place_of("weights", weights)
    sources = {} if data is None else _sources(data)
    if study is not None:
        place = place_of("study", study)
        base = given_study(place if isinstance(study, str) else Path(place))
    else:
        base = new_study(sources, address, given)
    more = settings or {}
    changes = {key: more[key] for key in ("name", *FIELDS) if more.get(key) is not None}
    check_shape(StudySpec, changes, "hpo.search")
    if budget is not None:
        changes["budget"] = parse_budget(str(budget))
    if address is not None:
        changes["weights"] = address
    return laid_over(
        base,
        {**changes, "data": sources, "spec": given, "search": _options(options)},
        in_process=more.get("executor") == "inprocess",
        spell_search=lambda key: f"options.{key}",
        named=named,
    )


def place_of(where: str, path: PathLike) -> Any:
    """A path or address as text, `~` spelt out; an empty one would be taken for none.

    Raises:
        SpecError: it is empty, or no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise SpecError(f"{where}: must be text or a Path, got {quoted(path)}")
    if not (text := os.fspath(path)):
        raise SpecError(f"{where}: must name a folder, file or address, got an empty text")
    return os.path.expanduser(text)  # noqa: PTH111 - a Path would take addresses apart


def _mapping(where: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise SpecError(f"{where}: must be a mapping of keys to values, got {quoted(given)}")
    return dict(given or {})


def _sources(data: Data) -> dict[str, Any]:
    """The section `data` of a study file; a place alone is one folder."""
    if not isinstance(data, Mapping):
        return {"folder": place_of("data", data)}
    places = {
        key: place_of(f"data.{key}", place)
        for key, place in data.items()
        if key in (*SPLITS, "folder")
    }
    given = {**data, **places}
    check_shape(DataSources, given, "data")
    return given


def _options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    given = plain(_mapping("options", options))
    check_shape(SearchOptions, given, "options")
    return values_of(SearchOptions, given)
