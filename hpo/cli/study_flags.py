"""Builds a study from the arguments of `hpo search`: the file first, flags on top."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hpo.core.budget import parse_budget
from hpo.core.spec_dicts import parse_assignments
from hpo.study.laid_over import laid_over, new_study
from hpo.study.packaged import given_study
from hpo.study.sections import SPLITS
from hpo.study.spec import StudySpec
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
_FIELDS = ("weights", "name", "concurrent", "trials_per_gpu", "keep", "disk_quota")
FLAGS_OF = {"over": "--search-over", "data": "data"}
"""Keys of which the flag is spelt otherwise, or is one of several."""


def study_from_args(args: argparse.Namespace) -> StudySpec:
    """Merge study file and flags; flags win.

    Without a file and without images the embedded default study is used; its spec suits its
    pictures.

    Raises:
        SpecError: for anything that does not fit.
    """
    from hpo.algorithms.registry import canonical_name

    given = data_from(args)
    study = given_study(args.study) if args.study else StudySpec()
    settings = read_assignments(args.set, study.find_skill)
    if not args.study:
        study = new_study(given, args.weights, settings)
    values = {name: getattr(args, name) for name in _FIELDS if getattr(args, name) is not None}
    if args.budget is not None:
        values["budget"] = parse_budget(args.budget)
    return laid_over(
        study,
        {**values, "data": given, "spec": settings, "search": _search_from(args, study)},
        in_process=args.in_process,
        spell=flag_of,
        spell_search=flag_of,
        named=canonical_name,
    )


def flag_of(key: str) -> str:
    """The flag that stands for a key of a study."""
    return FLAGS_OF.get(key, f"--{key.replace('_', '-')}")


def data_from(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags say of the data, by the names of `DataSources`."""
    flags = {name: name for name in (*SPLITS, "class_disjoint", "group_by")} | {"folder": "data"}
    given = {name: getattr(args, flag, None) for name, flag in flags.items()}
    return {name: value for name, value in given.items() if value}


def _search_from(args: argparse.Namespace, study: StudySpec) -> dict[str, Any]:
    from hpo.cli.overlay_flags import overlay_changes

    changes = overlay_changes(args, study.find_skill)
    for flag in SEARCH_FLAGS:
        if getattr(args, flag) is not None:
            changes[flag] = getattr(args, flag)
    if args.stages is not None:
        changes["stages"] = tuple(name.strip() for name in args.stages.split(","))
    if args.warm_start:
        from hpo.run.run_dir import find_run

        changes["warm_start"] = tuple(str(find_run(r, Path(args.out))) for r in args.warm_start)
    if args.algorithm_option:
        given = parse_assignments(args.algorithm_option, "--algorithm-option")
        changes["algorithm_options"] = given
    return changes
