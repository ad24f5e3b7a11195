"""Reads `automl_settings`: both spellings of every key, checked against the algorithms."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from hpo.automl.errors import AutoMLError
from hpo.automl.metrics import DEFAULT_METRIC
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, plain
from hpo.core.text import nearest
from hpo.run.run_dir import AUTOML_FACTS, AUTOML_JOBS
from hpo.study.checks import LARGEST_SEED, check_name

DEFAULT_ALGORITHM = "bayesian"
DEFAULT_RECOMMENDATIONS = 20
MAX_RECOMMENDATIONS = "automl_max_recommendations"
MAX_EPOCHS = "max_epochs"
SAMPLE_COUNT = "train_sample_count"
SAMPLE_COUNT_NAMES = (
    SAMPLE_COUNT,
    *("training_sample_count", "num_train_samples", "train_samples", "dataset_sample_count"),
    *("dataset_size", "samples_per_epoch"),
    *(f"custom.train_dataset.{name}" for name in ("sample_count", "num_samples", "size")),
    *("dataset.train_sample_count", "dataset.num_train_samples", "data.train_sample_count"),
    "train.num_samples",
)
"""How the number of training samples may be called in settings, arguments and spec."""
UNSAFE_BATCH = "allow_unsafe_effective_batch"
_OWN_FILES = (AUTOML_FACTS.stem, AUTOML_JOBS.stem)
_RETENTION = ("auto", "best", "terminal")
EVALUATION_KEYS = (
    *("run_baseline", "baseline_metric", "baseline_record_path", "evaluation_records_dir"),
    *("run_final_evaluation", "final_evaluation", "final_evaluation_metric"),
    *("final_evaluation_record_path", "reuse_best_metric_for_final_evaluation"),
)
"""What says how the start and the best trial are evaluated."""
WORDS = {"true": True, "yes": True, "on": True, "1": True,
         "false": False, "no": False, "off": False, "0": False}  # fmt: skip
"""What text may stand for true and false."""


@runtime_checkable
class SupportsDict(Protocol):
    """A value that has a form as plain data, such as a `ResearchProgram`."""

    def to_dict(self) -> dict[str, Any]:
        """Return it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One setting that belongs to no single algorithm."""

    name: str
    kind: type
    default: Any = None
    aliases: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()
    """The only texts that it may be; empty where any may."""


def _key(name: str, kind: type, default: Any = None, *aliases: str, **more: Any) -> Key:
    return Key(name=name, kind=kind, default=default, aliases=aliases, **more)


KEYS = (
    _key("algorithm", str, "", "automl_algorithm"),
    _key("metric", str, DEFAULT_METRIC),
    _key("direction", str, ""),
    _key("metric_weight", float, 1.0, low=0.0),
    _key("metric_scale", float, 1.0),
    _key("objectives", list),
    _key("multi_objective", bool, False, "latency_objective", "include_latency"),
    _key("latency_metric", str, "latency"),
    _key("latency_direction", str, "minimize"),
    _key("latency_weight", float, 1.0, low=0.0),
    _key("latency_scale", float, 1.0),
    _key(MAX_RECOMMENDATIONS, int, None,
         "num_recommendations", "max_recommendations", "automl_num_recommendations", low=1),
    _key("automl_max_concurrent", int, None, "max_concurrent", low=1),
    _key("automl_delete_intermediate_ckpt", bool),
    _key("automl_checkpoint_retention_strategy", str, "auto", words=_RETENTION),
    _key("override_automl_disabled_params", bool, False),
    _key("automl_range_override", list),
    _key(SAMPLE_COUNT, int, None, *SAMPLE_COUNT_NAMES[1:], low=1),
    _key(UNSAFE_BATCH, bool, False),
    _key("algorithm_specific_params", dict),
    _key("session_id", str, ""),
    _key("experiment_id", str, ""),
    _key("run_baseline", bool, True),
    _key("baseline_metric", float),
    _key("baseline_record_path", str, ""),
    _key("evaluation_records_dir", str, ""),
    _key("run_final_evaluation", bool, True),
    _key("final_evaluation", dict),
    _key("final_evaluation_metric", float),
    _key("final_evaluation_record_path", str, ""),
    _key("reuse_best_metric_for_final_evaluation", bool, False),
    _key("evolvable_text_parameters", list),
    _key("seed", int, 0, low=0, high=LARGEST_SEED),
    _key("pruner", str, "none"),
    _key("confirm", int, 0, low=0),
    _key("force", bool, False),
)  # fmt: skip
"""The last four are this project's own: the search's seed, early stopping of trials beside an
algorithm that trains each in full, finalists trained again, and a batch of a single class."""

NAME_KEYS = frozenset(n for key in KEYS if key.kind is str for n in (key.name, *key.aliases))
"""Keys whose values are names, which may look like anything."""
_BY_NAME = {name: key for key in KEYS for name in (key.name, *key.aliases)}

AUTOML_SETTING_ALIASES = {alias: key.name for key in KEYS for alias in key.aliases}
"""Another spelling of a setting -> its own name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoMLSettings:
    """The settings of one run, complete."""

    algorithm: str
    """Registered name."""
    values: Mapping[str, Any]
    """The settings of `KEYS`."""
    options: Mapping[str, Any]
    """The algorithm's own, complete with the route's defaults; no secrets."""
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options that may stand in no file."""
    given: frozenset[str] = frozenset()
    """Keys that were given, by their own name."""
    stops_trials: bool = False
    """Whether the algorithm gives trials unequal budgets of epochs."""
    ends_itself: bool = False
    """Whether the algorithm decides by itself how many trials there are."""
    warnings: tuple[str, ...] = ()

    @property
    def max_recommendations(self) -> int | None:
        """How many trials there are at most; None where the algorithm decides."""
        asked = self.values[MAX_RECOMMENDATIONS]
        if asked is not None:
            return int(asked)
        return None if self.ends_itself else DEFAULT_RECOMMENDATIONS

    @property
    def max_epochs(self) -> int | None:
        """The length of a full trial where the algorithm sets it."""
        asked = self.options.get(MAX_EPOCHS)
        return None if asked is None else int(asked)


def read_settings(
    given: Mapping[str, Any] | None, *, algorithm: str | None = None
) -> AutoMLSettings:
    """Check settings and fill in defaults.

    Args:
        given: by any spelling; `algorithm_specific_params` holds more of the same.
        algorithm: the same as the key, given apart; a contradiction is an error.

    Raises:
        AutoMLError: naming every key that is unknown, given twice or of a wrong type.
    """
    pairs = _flattened(given)
    problems: list[str] = []
    values: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in pairs:
        key = _BY_NAME.get(name)
        if key is None:
            rest[name] = value
        elif key.name in values and values[key.name] != value:
            problems.append(f"automl_settings.{name}: {key.name} is given twice")
        else:
            values[key.name] = _checked(key, value, problems)
    problems += _unusable_names(values)
    name = _algorithm_name(values, algorithm, problems)
    if problems:
        raise AutoMLError("; ".join(problems))
    complete = {key.name: key.default for key in KEYS} | {
        key: value for key, value in values.items() if value is not None
    }
    told = frozenset(key for key, value in values.items() if value is not None)
    return _with_options(name, complete, rest, told)


def _flattened(given: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """Every setting as a pair; those of nested sections by their dotted names."""
    if given is not None and not isinstance(given, Mapping):
        raise AutoMLError(f"automl_settings: must be a mapping of keys, got {given!r}")
    pairs: list[tuple[str, Any]] = []
    for name, value in plain(given or {}).items():
        if isinstance(value, SupportsDict):
            value = value.to_dict()  # noqa: PLW2901 - a research program is plain data in a study
        if name == "algorithm_specific_params":
            if not isinstance(value or {}, Mapping):
                raise AutoMLError(f"automl_settings.{name}: must be a mapping, got {value!r}")
            pairs += [(str(inner), found) for inner, found in (value or {}).items()]
        elif isinstance(value, Mapping) and str(name) not in _BY_NAME and _is_section(str(name)):
            pairs += [(f"{name}.{inner}", found) for inner, found in flatten(value).items()]
        else:
            pairs.append((str(name), value))
    return pairs


def _is_section(name: str) -> bool:
    return any(key.startswith(f"{name}.") for key in _BY_NAME)


def _checked(key: Key, value: Any, problems: list[str]) -> Any:
    """A setting in its type; what is wrong with it is added to `problems`."""
    value = _converted(key, value)
    if value is not None and (why := _why_wrong(key, value)):
        problems.append(
            f"automl_settings.{key.name}: {why}, got {value!r}{nearest(str(value), key.words)}"
        )
    return value


def _converted(key: Key, value: Any) -> Any:
    """A value in the type of a setting, where it is another spelling of it."""
    if key.kind is bool and isinstance(value, str):
        value = WORDS.get(value.strip().lower(), value)
    if key.kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if key.kind is list and isinstance(value, str | tuple):
        value = [value] if isinstance(value, str) else list(value)
    return _plain_number(value, key.kind) if key.kind in (int, float) else value


def _why_wrong(key: Key, value: Any) -> str:
    """What must hold of a value; empty where it does."""
    if not isinstance(value, key.kind) or (isinstance(value, bool) and key.kind is not bool):
        return f"must be {_NAMED.get(key.kind, 'a mapping')}"
    if isinstance(value, int | float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, int | float) and key.low is not None and value < key.low:
        return f"must be at least {key.low:g}"
    if isinstance(value, int | float) and key.high is not None and value > key.high:
        return f"must be at most {key.high:.0f}"
    is_known = not key.words or str(value).strip().lower() in key.words
    return "" if is_known else f"must be one of {', '.join(key.words)}"


def _unusable_names(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the values that name files in a workspace."""
    problems = []
    for name in ("session_id", "experiment_id"):
        value, where = values.get(name), f"automl_settings.{name}"
        if not value or not isinstance(value, str):
            continue
        try:
            check_name(value, where)
        except SpecError as error:
            problems.append(str(error))
        if name == "session_id" and value in _OWN_FILES:
            problems.append(f"{where}: must not be {value!r}, a file of the workspace itself")
    return problems


_NAMED = {int: "a whole number", float: "a number", bool: "true or false", str: "text",
          list: "a list"}  # fmt: skip


def _plain_number(value: Any, kind: type) -> Any:
    """A number in its own type: 4.0 is a whole one, and 1 a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if kind is float:
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _algorithm_name(values: Mapping[str, Any], apart: str | None, problems: list[str]) -> str:
    named = str(values.get("algorithm") or "").strip()
    apart = (apart or "").strip()
    if named and apart and named.lower() != apart.lower():
        problems.append(
            f"automl_algorithm: {apart!r} contradicts automl_settings['algorithm'] {named!r}"
        )
    return named or apart or DEFAULT_ALGORITHM


def known_algorithms() -> list[str]:
    """Every algorithm by name."""
    from hpo.algorithms import ALGORITHMS

    return list(ALGORITHMS)


def _with_options(
    name: str, values: dict[str, Any], rest: dict[str, Any], given: frozenset[str]
) -> AutoMLSettings:
    """Resolve the algorithm and its options; a setting of another algorithm gives a warning."""
    from hpo.algorithms.options import resolve_options, without_secrets
    from hpo.algorithms.registry import ALGORITHMS, AUTO, find_algorithm

    try:
        entry = find_algorithm(name) if name.lower() != AUTO else None
    except SpecError as error:
        why = str(error).removeprefix("search.algorithm: ")
        raise AutoMLError(f"automl_settings.algorithm: {why}") from error
    options = entry.options if entry else ()
    own = {spelling: option.name for option in options for spelling in option.names}
    others = {
        spelling: other.name
        for other in ALGORITHMS.values()
        for option in other.options
        for spelling in option.names
    }
    unknown = [key for key in rest if key not in own and key not in others]
    if unknown:
        known = [*_BY_NAME, *own, *others]
        hints = (f"automl_settings.{key}: no such setting{nearest(key, known)}" for key in unknown)
        raise AutoMLError("; ".join(hints))
    mine = {key: value for key, value in rest.items() if key in own and value is not None}
    mine.pop(MAX_RECOMMENDATIONS, None)  # the budget counts trials, and can be extended
    if "automl_max_concurrent" in own and values["automl_max_concurrent"] is not None:
        mine["automl_max_concurrent"] = values["automl_max_concurrent"]
    try:
        full = resolve_options(name, options, mine, route=True, where="automl_settings")
    except SpecError as error:
        raise AutoMLError(str(error)) from error
    public = without_secrets(options, full)
    return AutoMLSettings(
        algorithm=entry.name if entry else AUTO,
        values=values,
        options={key: value for key, value in public.items() if value is not None},
        secrets={key: value for key, value in full.items() if key not in public and value},
        given=given | {own[key] for key in mine},
        stops_trials=bool(entry and entry.brings_pruning),
        ends_itself=bool(entry and entry.num_trials),
        warnings=_of_no_use(name, values, {key: others[key] for key in rest if key not in own}),
    )


def _of_no_use(name: str, values: Mapping[str, Any], others: Mapping[str, str]) -> tuple[str, ...]:
    """Warnings of settings that belong to other algorithms than the one that is used.

    Args:
        name: the algorithm.
        values: the settings of every search.
        others: setting -> the algorithm that it belongs to.
    """
    if values["evolvable_text_parameters"]:
        if name.lower() == "autoresearch":
            raise AutoMLError(
                "automl_settings.evolvable_text_parameters: texts cannot be rewritten here; give "
                "the texts to choose from as valid_options of custom_param_ranges"
            )
        others = {**others, "evolvable_text_parameters": "autoresearch"}
    return tuple(
        f"automl_settings.{key}: a setting of {owner}, not used by {name}"
        for key, owner in others.items()
    )


def __getattr__(name: str) -> Any:
    """`KNOWN_AUTOML_SETTINGS`: every spelling of every setting, those of algorithms included."""
    if name != "KNOWN_AUTOML_SETTINGS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hpo.algorithms import ALGORITHMS  # imported where it is first needed

    options = (option for entry in ALGORITHMS.values() for option in entry.options)
    return frozenset([*_BY_NAME, *(spelling for option in options for spelling in option.names)])
