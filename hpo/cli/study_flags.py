"""Builds a study from the arguments of `hpo search`: the file first, flags on top."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.core.budget import parse_budget
from hpo.core.spec_dicts import flatten, merged, nest, parse_assignments
from hpo.study.checks import LONGEST_NAME, check_search
from hpo.study.packaged import embedded_study, given_study
from hpo.study.sections import SPLITS, DataSources, SearchOptions
from hpo.study.sharing import check_sharing
from hpo.study.spec import StudySpec, anchored, check_study
from hpo.study.text_values import read_assignments

SEARCH_FLAGS = (
    "algorithm",
    "pruner",
    "seed",
    "until_converged",
    "memory",
    "priors",
    "portfolio",
    "confirm",
    "average",
    "max_latency",
    "max_params",
)
"""Flags that stand for the key of the same name in `search`."""
FLAGS_OF = {"over": "--search-over", "data": "data"}
"""Keys of which the flag is spelt otherwise, or is one of several."""


def study_from_args(args: argparse.Namespace) -> StudySpec:
    """Merge study file and flags; flags win.

    Without a file and without images the embedded default study is used; its spec suits its
    pictures.

    Raises:
        SpecError: for anything that does not fit.
    """
    given = _data_from(args)
    base = given_study(args.study) if args.study else StudySpec()
    settings = read_assignments(args.set, base.find_skill)
    if args.study:
        study = base
    elif not given:
        study = embedded_study(args.weights, nest(settings))
    else:
        study = StudySpec(
            name=_name_from(anchored(_with_data(StudySpec(), given), Path.cwd()).data)
        )
    spec, search = _with_values(study, nest(settings), _search_from(args, study))
    changes: dict[str, Any] = {"spec": spec}
    if args.budget is not None:
        changes["budget"] = parse_budget(args.budget)
    for flag in ("weights", "name", "concurrent", "keep", "disk_quota"):
        if getattr(args, flag) is not None:
            changes[flag] = getattr(args, flag)
    changes |= _sharing_from(args, study)
    study = replace(study, **changes, search=search)
    study = anchored(_with_data(study, given), Path.cwd())
    check_study(study, _flag_of)
    return study


def _flag_of(key: str) -> str:
    return FLAGS_OF.get(key, f"--{key.replace('_', '-')}")


def _with_values(
    study: StudySpec, settings: dict[str, Any], search: SearchOptions
) -> tuple[dict[str, Any], SearchOptions]:
    """Let a flag's value of a key replace the file's, whether it is set there or fixed."""
    now, fixed = flatten(settings), study.search.fix
    of_file = {name for name, value in search.fix.items() if fixed.get(name, ...) == value}
    fix = {**search.fix, **{name: now[name] for name in now if name in of_file}}
    set_before = flatten(study.spec).keys() - now.keys()
    over = {n: v for n, v in search.fix.items() if n in set_before - of_file}
    return merged(study.spec, settings, nest(over)), replace(search, fix=fix)


def _sharing_from(args: argparse.Namespace, study: StudySpec) -> dict[str, Any]:
    """What the flags say of sharing GPUs; the last word on how many run at a time is a flag's."""
    if args.trials_per_gpu is not None:
        asked = check_sharing(args.trials_per_gpu, args.concurrent, "--trials-per-gpu")
        return {"trials_per_gpu": asked, "concurrent": None}
    if args.concurrent is not None and study.trials_per_gpu is not None:
        return {"trials_per_gpu": None}
    return {}


def _data_from(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags say of the data, by the names of `DataSources`."""
    given = {name: getattr(args, name) for name in (*SPLITS, "class_disjoint", "group_by")}
    given["folder"] = args.data
    return {name: value for name, value in given.items() if value}


def _with_data(study: StudySpec, given: dict[str, Any]) -> StudySpec:
    """Put flags over a study's data; a folder, or all three splits, take the place of all of it."""
    is_whole = "folder" in given or {"train", "reference", "query"} <= set(given)
    return replace(study, data=replace(DataSources() if is_whole else study.data, **given))


def _search_from(args: argparse.Namespace, study: StudySpec) -> SearchOptions:
    from hpo.cli.overlay_flags import overlay_changes

    options = study.search
    changes = overlay_changes(args, options, study.find_skill)
    for flag in SEARCH_FLAGS:
        if getattr(args, flag) is not None:
            changes[flag] = getattr(args, flag)
    if args.stages is not None:
        names = tuple(name.strip() for name in args.stages.split(","))
        changes |= {"stages": names, "earlier_stages": {}}
    if args.warm_start:
        from hpo.run.run_dir import find_run

        changes["warm_start"] = tuple(str(find_run(r, Path(args.out))) for r in args.warm_start)
    if args.algorithm_option:
        given = parse_assignments(args.algorithm_option, "--algorithm-option")
        changes["algorithm_options"] = {**options.algorithm_options, **given}
    options = options.updated(changes)
    check_search(options, "", _flag_of)
    return options


def _name_from(data: DataSources) -> str:
    """Name a study after its data folder."""
    path = Path(data.folder or data.train)
    generic = {"train", "known_classes", "data", "images", ""}
    names = [_as_name(part.split(".")[0]) for part in (path.name, *[p.name for p in path.parents])]
    return next((name for name in names if name.lower() not in generic), "study")


def _as_name(folder: str) -> str:
    """A folder's name as far as a study may bear it."""
    plain = "".join(sign if sign.isprintable() else "_" for sign in folder).strip()
    return plain.encode()[:LONGEST_NAME].decode(errors="ignore")
