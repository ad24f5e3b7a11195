"""Reads and writes study files: what to search, on which data, for how long.

The schema is typed and versioned; messages start with the path of the wrong key.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from hpo.core.budget import DEFAULT_BUDGET, Budget, parse_budget
from hpo.core.bytes import parse_size
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, nest
from hpo.core.text import is_number, quoted
from hpo.core.yaml_io import as_written, parse_texts, parse_yaml, read_text
from hpo.run.checkpoint_retention import BEST, check_keep
from hpo.study.checks import (
    MOST_CONCURRENT,
    WHOLE,
    Spelling,
    check_count,
    check_name,
    check_search,
    check_sources,
)
from hpo.study.schema import check_shape, values_of
from hpo.study.sections import LAST, SPLITS, DataSources, SearchOptions
from hpo.study.sharing import check_sharing
from hpo.study.skill import Skill, load_skill
from hpo.study.skill_address import from_file, to_file
from hpo.study.spec_paths import anchored_path, anchored_search, anchored_spec
from hpo.study.text_values import with_texts
from hpo.study.trainers import find_trainer, refuse_code
from hpo.study.weights import anchored_weights

if TYPE_CHECKING:
    from search_spaces import Overlay

SCHEMA_VERSION = 1
DEFAULT_TRAINER = "ml_recog"
_CUT_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/([^/].*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySpec:
    """One study, merged from its file and the command line."""

    schema_version: int = SCHEMA_VERSION
    """Version of this file's form."""
    name: str = "study"
    """Of the folder below the run root, and of the experiment in MLflow."""
    description: str = ""
    """For people."""
    trainer: str = DEFAULT_TRAINER
    """Registered name of what is trained; a workspace of the AutoML route has its skill folder."""
    data: DataSources = field(default_factory=DataSources)
    """Where the images are; see `data`."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Overrides of the trainer's spec, nested."""
    weights: str = ""
    """Pretrained weights: a file, or an address such as `timm://resnet18`, `lite0`, `none`."""
    budget: Budget = DEFAULT_BUDGET
    """How long to search: `20`, `2h`, `3gpuh`, `500epochs`, several joined by commas."""
    search: SearchOptions = field(default_factory=SearchOptions)
    """How trials are chosen; see `search`."""
    concurrent: int | None = None
    """Trials at a time; None lets the machine decide."""
    trials_per_gpu: int | str | None = None
    """Trials that share a GPU: a number, or `auto` for as many as fit by what one takes."""
    keep: str = BEST
    """Checkpoints that stay on disk: `best`, those that something can still need, or `all`."""
    disk_quota: str = ""
    """What the run directory may take, such as `20GB`; a search that has reached it waits."""

    def find_skill(self) -> Skill:
        """Read the skill folder of the trainer."""
        return load_skill(find_trainer(self.trainer).skill_dir)

    @property
    def overlay(self) -> Overlay:
        """The changes to the compiled search space."""
        from search_spaces import Overlay

        search = self.search
        instead = tuple(name for name in search.over if not name.startswith("+"))
        return Overlay(
            hyperparameters=instead or None,
            extra=tuple(name[1:] for name in search.over if name.startswith("+")),
            ranges={name: _range(name, value) for name, value in search.ranges.items()},
            options={name: _values(name, values) for name, values in search.options.items()},
            fixed=dict(search.fix),
            custom_param_ranges=dict(search.custom_param_ranges),
            override_automl_disabled_params=search.override_automl_disabled_params,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the form of a study file."""
        data = asdict(self)
        data["budget"] = self.budget.to_text()
        data["trainer"] = to_file(self.trainer)
        for name in ("over", "warm_start", "stages"):
            data["search"][name] = list(data["search"][name])
        return {key: value for key, value in data.items() if value not in ("", None)}


def load_study(path: Path) -> StudySpec:
    """Read and validate the study file of a run; its `earlier_stages` are settled.

    Relative data paths are taken from the file's folder.

    Raises:
        SpecError: with the path of the wrong key.
    """
    return _load(path, is_given=False)


def _load(path: Path, *, is_given: bool) -> StudySpec:
    text = read_text(path)
    data = parse_yaml(text, str(path))
    if not isinstance(data, Mapping):
        raise SpecError(
            f"{path}: a study file must be a mapping of keys, got {quoted(data)}; "
            f"it begins with `schema_version: {SCHEMA_VERSION}`"
        )
    data = data if is_given else _settled(data)
    study = parse_study(data, where=str(path), texts=parse_texts(text, str(path)))
    if "name" not in data:
        study = replace(study, name=path.stem)
        check_name(study.name, f"{path}: name")
    return _with_sources_at(study, path.parent)


def _settled(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out `stages` beside others: earlier releases went by `earlier_stages` then."""
    match data:
        case {"search": {"earlier_stages": Mapping() as earlier, "stages": names, **others}} if (
            earlier and names != [*earlier, LAST]
        ):
            return {**data, "search": {**others, "earlier_stages": earlier}}
    return data


def load_given_study(path: Path) -> StudySpec:
    """Read a study file that may come from anywhere, so that it may not have code run.

    Raises:
        SpecError: with the path of the wrong key.
    """
    study = _load(path, is_given=True)
    refuse_code(study.trainer, f"{path}: trainer")
    study = _with_written_texts(study, parse_texts(read_text(path), str(path)))
    return anchored(study, path.parent)


def _with_written_texts(study: StudySpec, texts: Mapping[str, Any]) -> StudySpec:
    """Take values of spec keys that hold text as they are written in the study's file."""
    spec, own = texts.get("spec"), texts.get("search")
    search = own if isinstance(own, Mapping) else {}
    flat = flatten(spec) if isinstance(spec, Mapping) else {}
    find, old = study.find_skill, study.search
    return replace(
        study,
        spec=nest(with_texts(flatten(study.spec), flat, find)),
        search=replace(
            old,
            fix=with_texts(old.fix, search.get("fix", {}), find),
            options=with_texts(old.options, search.get("options", {}), find),
        ),
    )


def parse_study(
    data: Mapping[str, Any], where: str = "study", *, texts: Mapping[str, Any] | None = None
) -> StudySpec:
    """Turn plain data into a `StudySpec`; unknown keys and wrong types are errors.

    Args:
        data: by key, as YAML is read.
        where: stands before messages.
        texts: the same with every value as it is written; names are taken from it.
    """
    version = data.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise SpecError(
            f"{where}: schema_version must be {SCHEMA_VERSION}, got {quoted(version)}; "
            f"write `schema_version: {SCHEMA_VERSION}` at the top"
        )
    if isinstance(trainer := data.get("trainer"), Mapping):
        data = {**data, "trainer": from_file(trainer, f"{where}: trainer")}
        texts = {**(texts or {}), "trainer": data["trainer"]}
    named = _as_named(StudySpec, data, texts)
    check_shape(StudySpec, named, where)
    values = values_of(StudySpec, named)
    values["data"] = DataSources(**values_of(DataSources, named.get("data")))
    values["search"] = SearchOptions().updated(values_of(SearchOptions, named.get("search")))
    with _inside(f"{where}: spec"):
        values["spec"] = nest(values.get("spec") or {})
    with _inside(where):
        if "trials_per_gpu" in values:
            values["trials_per_gpu"] = check_sharing(
                values["trials_per_gpu"], values.get("concurrent"), "trials_per_gpu"
            )
        if "budget" in values:
            values["budget"] = parse_budget(str(values["budget"]))
        study = StudySpec(**values)
        _ = study.overlay  # so that wrong ranges are refused before anything starts
    check_study(study, lambda key: f"{where}: {key}")
    check_search(study.search, f"{where}: search.")
    return study


@contextlib.contextmanager
def _inside(where: str) -> Iterator[None]:
    """Put the place in front of a message."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error


def _as_named(kind: type, data: Any, texts: Any) -> Any:
    """Take values of fields that hold names as they are written: names look like anything."""
    if not isinstance(data, Mapping) or not isinstance(texts, Mapping):
        return data
    hints = get_type_hints(kind)
    named = dict(data)
    for key in data.keys() & hints.keys():
        if hints[key] in (str, Budget, tuple[str, ...]):
            named[key] = as_written(data[key], texts.get(key))
        elif is_dataclass(hints[key]):
            named[key] = _as_named(hints[key], data[key], texts.get(key))
    return named


def check_study(study: StudySpec, spell: Spelling, needed: Sequence[str] = WHOLE) -> None:
    """Refuse values that no study can have, besides those of `search`.

    Args:
        study: of a file, or of a file and flags.
        spell: turns a key into what the user wrote.
        needed: splits that belong together.

    Raises:
        SpecError: for the first of them.
    """
    check_count(study.concurrent, spell("concurrent"), least=1, most=MOST_CONCURRENT)
    check_name(study.name, spell("name"))
    check_sources(study.data, spell("data"), needed)
    check_keep(study.keep, spell("keep"))
    parse_size(study.disk_quota, spell("disk_quota"))


def anchored(study: StudySpec, folder: Path) -> StudySpec:
    """Make the relative paths of a study relative to `folder`, those in the spec too."""
    study, search = _with_sources_at(study, folder), study.search
    if not (study.spec or search.fix or search.options or search.earlier_stages):
        return study
    trainer = find_trainer(study.trainer)
    spec = anchored_spec(study.spec, trainer, folder)
    return replace(study, spec=spec, search=anchored_search(study.search, trainer, folder))


def _with_sources_at(study: StudySpec, folder: Path) -> StudySpec:
    """Make paths of pictures, weights and runs relative to `folder`; `~` is the user's home."""

    def absolute(text: str) -> str:
        if "://" not in text and (cut := _CUT_ADDRESS.match(text)):
            raise SpecError(
                f"data: {text}: must be an address with two slashes, as {cut[1]}://{cut[2]}; "
                "give it as text, as a Path takes one of them away"
            )
        return anchored_path(text, folder)

    places: dict[str, Any] = {
        name: absolute(getattr(study.data, name)) for name in (*SPLITS, "folder")
    }
    data = replace(study.data, **places)
    runs = tuple(absolute(run) for run in study.search.warm_start)
    search = replace(study.search, warm_start=runs)
    weights = anchored_weights(study.weights, folder)
    return replace(study, data=data, weights=weights, search=search)


def _range(name: str, value: Any) -> tuple[float, float, bool | None]:
    low, high, log = None, None, None
    if isinstance(value, Mapping) and {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        low, high, log = value["low"], value["high"], value.get("log")
    elif isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
    if is_number(low) and is_number(high) and (log is None or isinstance(log, bool)):
        return low, high, log
    raise SpecError(
        f"search.ranges.{name}: must be [low, high] or {{low, high, log}} with two numbers, "
        f"got {quoted(value)}"
    )


def _values(name: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple) or not values:
        raise SpecError(f"search.options.{name}: must be a list of values, got {quoted(values)}")
    return tuple(values)
