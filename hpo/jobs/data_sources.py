"""Resolves which data an action reads: exact spec keys first, then data roots.

A skill's `data_sources[action][key]` says where a source lies below the root of a data set: known
classes for training, classes that were never trained on for evaluation and inference. Its
`also_below` is a folder below the root in which the same may lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.addresses import is_missing, is_remote, without_file
from hpo.core.errors import DataError
from hpo.core.spec_dicts import flatten
from hpo.core.text import nearest_path
from hpo.jobs.pages import load_pages, pages_with
from hpo.study.skill import Skill

ROOTS = ("train_dataset_uri", "eval_dataset_uri", "calibration_dataset_uri")
"""Names of the roots: addresses or folders that hold what `data_sources` lists."""

UNSET_MARKS = ("???", "<required>")
"""What templates write where a value is still to be given."""

_OWN_ROOT: Mapping[str, str] = {
    "evaluate": "eval_dataset_uri",
    "inference": "eval_dataset_uri",
    "gen_trt_engine": "calibration_dataset_uri",
}
_ROOT_OF_SOURCE: Mapping[str, str] = {
    "train_dataset": "train_dataset_uri",
    "eval_dataset": "eval_dataset_uri",
    "inference_dataset": "eval_dataset_uri",
    "calibration_dataset": "calibration_dataset_uri",
}
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


def resolve_data_sources(
    skill: Skill,
    action: str,
    roots: Mapping[str, str],
    overrides: Mapping[str, Any],
    *,
    data_format: str = "",
) -> dict[str, Any]:
    """Give every data key of an action its source.

    Args:
        skill: a page of a skill folder; another page of the folder is taken where it does not know
            the action.
        action: such as `train`.
        roots: `train_dataset_uri`, `eval_dataset_uri` and `calibration_dataset_uri`, as far as
            given. The action's own root comes first, then that of the source, then the training
            root.
        overrides: dotted or nested spec keys; data keys among them beat the roots.
        data_format: what the user says the data are; must be the skill's.

    Returns:
        Dotted data key -> absolute path or address; a list where the skill says `list`. An optional
        source that is not there is left out; an explicitly empty one stays empty.

    Raises:
        DataError: one line naming every missing or empty source, or a refused format.
    """
    page = _page_of(skill, action)
    _check_format(page, data_format)
    flat = flatten(page.expand(overrides))
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    problems: list[str] = []
    for key, entry in page.data_entries(action).items():
        if not is_wanted(key, page, action, flat):
            continue
        try:
            value = _source_of(key, entry, page, action, roots, flat)
        except _NothingGiven:
            absent[key] = _path_of(entry, page)
        except DataError as error:
            problems.append(str(error))
        else:
            if value is not None:
                found[key] = value
    if absent:
        problems.append(_demand(action, absent))
    if problems:
        raise DataError("; ".join(problems))
    return found


class _NothingGiven(Exception):  # noqa: N818 - a fact about one source, told with the others
    """Neither an override nor a root says where a source is."""


def _demand(action: str, absent: Mapping[str, str]) -> str:
    listed = ", ".join(f"{key} ({path})" for key, path in absent.items())
    return (
        f"{action}: no data given for {listed}; set each key to a folder or archive, or give a "
        "root (train_dataset_uri, --data) that holds these"
    )


def is_wanted(key: str, page: Skill, action: str, flat: Mapping[str, Any]) -> bool:
    """Whether a source is of use: calibration pictures are for INT8 alone.

    Args:
        key: the source's dotted key.
        page: whose template tells the arithmetic that `flat` does not.
        action: what the source is for.
        flat: dotted overrides.
    """
    prefix, calibrates, _ = key.partition(".calibration.")
    if not calibrates or key in flat:
        return True
    name = f"{prefix}.data_type"
    return str(flat.get(name, flatten(page.starter_spec(action)[0]).get(name))) == "INT8"


def joined(root: str, path: str) -> str:
    """The place of a source below a root; a local archive that lies unpacked is its folder."""
    if is_remote(root):
        return f"{root.rstrip('/')}/{path}"
    place = _local_path(root) / path
    if not place.exists():
        for suffix in _ARCHIVES:
            folder = Path(str(place).removesuffix(suffix))
            if folder.is_dir():
                return str(folder)
    return str(place)


def _place_below(root: str, path: str, also_below: str) -> str:
    """The place of a source below a root, in whichever of the known layouts the data lie there.

    Published data lie some folders deeper than others: what is missing at the whole path is looked
    for without its first folders, and below the folder that the skill names. Only a local root can
    be looked into.

    Args:
        root: a folder or an address.
        path: of the source.
        also_below: a folder below the root that may hold the same path.
    """
    parts = path.split("/")
    paths = ["/".join(parts[begin:]) for begin in range(max(1, len(parts) - 1))]
    paths += [f"{also_below}/{path}"] if also_below else []
    places = [joined(root, each) for each in paths]
    there = (place for place in places if not is_remote(place) and Path(place).exists())
    return next(there, places[0])


def as_absolute(source: str) -> str:
    """A local path made absolute; addresses stay as they are."""
    return source if is_remote(source) else str(_local_path(source))


def _local_path(source: str) -> Path:
    """The path of a source on this machine."""
    return Path(without_file(source)).expanduser().absolute()


def _page_of(skill: Skill, action: str) -> Skill:
    if action in skill.actions or skill.data_entries(action):
        return skill
    return pages_with(load_pages(skill.path), action)[0]


def _check_format(page: Skill, data_format: str) -> None:
    legal = page.data_format
    if data_format and data_format != legal:
        raise DataError(f"data_format: must be {legal!r} for this skill, got {data_format!r}")


def _source_of(
    key: str,
    entry: Mapping[str, Any],
    page: Skill,
    action: str,
    roots: Mapping[str, str],
    flat: Mapping[str, Any],
) -> Any:
    """The checked value of one data key; None for an optional source that nobody gave."""
    is_optional = page.is_optional_input(action, key)
    value = flat.get(key)
    if value in ("", None, []) and key in flat:
        if is_optional:
            return ""
        raise DataError(f"{key}: must not be empty for {action}")
    if value is None or value in UNSET_MARKS:
        path = _path_of(entry, page)
        return _from_roots(key, entry, path, action, roots, is_optional=is_optional)
    values = [as_absolute(str(v)) for v in (value if isinstance(value, list) else [value])]
    for source in values:
        check_present(key, source)
    return values if entry.get("list") or isinstance(value, list) else values[0]


def _path_of(entry: Mapping[str, Any], page: Skill) -> str:
    """Where a source lies below its root; of several names for the skill's format the last."""
    by_format = entry.get("path_from_format")
    found = by_format.get(page.data_format) if isinstance(by_format, Mapping) else None
    if isinstance(found, list):
        found = found[-1] if found else None
    return str(entry.get("path", "") if found is None else found)


def _from_roots(
    key: str, entry: Mapping[str, Any], path: str, action: str, roots: Mapping[str, str],
    *, is_optional: bool,
) -> Any:  # fmt: skip
    root = root_for(action, str(entry.get("source", "")), roots)
    if root is None:
        if is_optional:
            return None
        raise _NothingGiven
    source = _place_below(root, path, str(entry.get("also_below") or ""))
    if is_optional and is_missing(source):
        return None
    check_present(key, source)
    return [source] if entry.get("list") else source


def root_for(action: str, source: str, roots: Mapping[str, str]) -> str | None:
    """The root below which a source of an action lies; None where none was given."""
    of_source = _ROOT_OF_SOURCE.get(source.removesuffix("s"), "")
    for name in (_OWN_ROOT.get(action, ""), of_source, "train_dataset_uri"):
        if roots.get(name):
            return str(roots[name])
    return None


def check_present(key: str, source: str) -> None:
    """Demand that a local source is there; an address is left to whoever fetches it.

    Raises:
        DataError: naming key and path.
    """
    if is_missing(source):
        hint = nearest_path(Path(source))
        raise DataError(f"{key}: {source}: no such folder or archive{hint}")
