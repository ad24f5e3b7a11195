"""A study from the arguments of a Python call, which are checked as those of a study file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.core.budget import parse_budget
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import merged, nest, plain
from hpo.core.text import quoted
from hpo.study.checks import check_search
from hpo.study.schema import check_shape, values_of
from hpo.study.sections import SPLITS, DataSources, SearchOptions
from hpo.study.spec import StudySpec, anchored, check_study

PathLike = str | os.PathLike[str]
Data = PathLike | Mapping[str, PathLike]


def study_of_arguments(
    study: PathLike | None,
    data: Data | None,
    budget: str | int | None,
    spec: Mapping[str, Any] | None,
    weights: PathLike | None,
    name: str | None,
    options: Mapping[str, Any] | None,
) -> StudySpec:
    """Lay the arguments of `hpo.search` over a study.

    Raises:
        SpecError: for the first that is wrong, by its name.
    """
    from hpo.study.packaged import embedded_study, given_study

    given = nest(_mapping("spec", spec))
    address = None if weights is None else place_of("weights", weights)
    if study is not None:
        place = place_of("study", study)
        base = given_study(study if isinstance(study, str) else Path(place))
    elif data is None:
        base = embedded_study(address, given)
    else:
        base = StudySpec()
    changes: dict[str, Any] = {"spec": merged(base.spec, given)}
    if budget is not None:
        changes["budget"] = parse_budget(str(budget))
    if address is not None:
        changes["weights"] = address
    if data is not None:
        changes["data"] = _sources(data)
    if name is not None:
        check_shape(StudySpec, {"name": name}, "hpo.search")
        changes["name"] = name
    elif data is not None and not isinstance(data, Mapping) and study is None:
        changes["name"] = Path(data).resolve().name
    if options is not None:
        changes["search"] = _options(base.search, _mapping("options", options))
    wanted = anchored(replace(base, **changes), Path.cwd())
    check_study(wanted, str)
    return wanted


def place_of(where: str, path: PathLike) -> Any:
    """A path or address as text; an empty one would be taken for none.

    Raises:
        SpecError: it is empty, or no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise SpecError(f"{where}: must be text or a Path, got {quoted(path)}")
    if not (text := os.fspath(path)):
        raise SpecError(f"{where}: must name a folder, file or address, got an empty text")
    return text


def _mapping(where: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise SpecError(f"{where}: must be a mapping of keys to values, got {quoted(given)}")
    return dict(given or {})


def _sources(data: Data) -> DataSources:
    if not isinstance(data, Mapping):
        return DataSources(folder=place_of("data", data))
    unknown = sorted(map(str, set(data) - set(SPLITS)))
    if unknown:
        raise SpecError(f"data: unknown {unknown[0]!r}; the splits are {', '.join(SPLITS)}")
    return DataSources(**{key: place_of(f"data.{key}", path) for key, path in data.items()})


def _options(base: SearchOptions, options: Mapping[str, Any]) -> SearchOptions:
    given = plain(options)
    check_shape(SearchOptions, given, "options")
    wanted = base.updated(values_of(SearchOptions, given))
    check_search(wanted, "options.")
    return wanted
