"""Reads `automl_settings`: both spellings of every key, checked against the algorithms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.automl.metrics import DEFAULT_METRIC
from hpo.core.errors import SpecError
from hpo.core.text import nearest

DEFAULT_RECOMMENDATIONS = 20
NO_LIMIT = 10_000
"""Trials where the algorithm or the budget ends a search: more than any has."""
MAX_RECOMMENDATIONS = "automl_max_recommendations"
MAX_EPOCHS = "max_epochs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One setting that belongs to no single algorithm."""

    name: str
    kind: type
    default: Any
    aliases: tuple[str, ...] = ()
    low: int | None = None


KEYS = (
    Key(name="algorithm", kind=str, default="", aliases=("automl_algorithm",)),
    Key(name="metric", kind=str, default=DEFAULT_METRIC),
    Key(name="direction", kind=str, default=""),
    Key(
        name=MAX_RECOMMENDATIONS,
        kind=int,
        default=None,
        aliases=("num_recommendations", "max_recommendations", "automl_num_recommendations"),
        low=1,
    ),
    Key(name="automl_max_concurrent", kind=int, default=None, aliases=("max_concurrent",), low=1),
    Key(name="automl_delete_intermediate_ckpt", kind=bool, default=False),
    Key(name="override_automl_disabled_params", kind=bool, default=False),
    Key(name="train_sample_count", kind=int, default=None, low=1),
    Key(name="algorithm_specific_params", kind=dict, default=None),
    Key(name="session_id", kind=str, default=""),
    Key(name="run_final_evaluation", kind=bool, default=True),
    Key(name="seed", kind=int, default=0, low=0),
    Key(name="pruner", kind=str, default="none"),
    Key(name="confirm", kind=int, default=0, low=0),
    Key(name="force", kind=bool, default=False),
)
"""The last four are this project's own: the search's seed, early stopping of trials beside an
algorithm that trains each in full, finalists trained again, and a batch of a single class."""

NAME_KEYS = frozenset(n for key in KEYS if key.kind is str for n in (key.name, *key.aliases))
"""Keys whose values are names, which may look like anything."""
_BY_NAME = {name: key for key in KEYS for name in (key.name, *key.aliases)}


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
    def metric(self) -> str:
        """The metric as it was named."""
        return str(self.values["metric"])

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
    name = _algorithm_name(values, algorithm, problems)
    if problems:
        raise AutoMLError("; ".join(problems))
    complete = {key.name: key.default for key in KEYS} | {
        key: value for key, value in values.items() if value is not None
    }
    told = frozenset(key for key, value in values.items() if value is not None)
    return _with_options(name, complete, rest, told)


def _flattened(given: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    if given is not None and not isinstance(given, Mapping):
        raise AutoMLError(f"automl_settings: must be a mapping of keys, got {given!r}")
    pairs = [(str(name), value) for name, value in (given or {}).items()]
    nested = dict(pairs).get("algorithm_specific_params") or {}
    if not isinstance(nested, Mapping):
        raise AutoMLError(
            f"automl_settings.algorithm_specific_params: must be a mapping, got {nested!r}"
        )
    own = [pair for pair in pairs if pair[0] != "algorithm_specific_params"]
    return own + [(str(name), value) for name, value in nested.items()]


def _checked(key: Key, value: Any, problems: list[str]) -> Any:
    is_whole = isinstance(value, float) and value.is_integer() and key.kind is int
    value = int(value) if is_whole else value
    if value is None:
        return None
    if not isinstance(value, key.kind) or (isinstance(value, bool) and key.kind is not bool):
        words = {int: "a whole number", bool: "true or false", str: "text"}
        problems.append(
            f"automl_settings.{key.name}: must be {words.get(key.kind, 'a mapping')}, got {value!r}"
        )
    elif isinstance(value, int) and key.low is not None and value < key.low:
        problems.append(f"automl_settings.{key.name}: must be at least {key.low}, got {value!r}")
    return value


def _algorithm_name(values: Mapping[str, Any], apart: str | None, problems: list[str]) -> str:
    named = str(values.get("algorithm") or "").strip()
    apart = (apart or "").strip()
    if named and apart and named.lower() != apart.lower():
        problems.append(
            f"automl_algorithm: {apart!r} contradicts automl_settings['algorithm'] {named!r}"
        )
    if not (named or apart):
        problems.append("automl_settings.algorithm: is required; " + ", ".join(known_algorithms()))
    return named or apart


def known_algorithms() -> list[str]:
    """Every algorithm by name."""
    from hpo.algorithms import ALGORITHMS

    return list(ALGORITHMS)


def _with_options(
    name: str, values: dict[str, Any], rest: dict[str, Any], given: frozenset[str]
) -> AutoMLSettings:
    """Resolve the algorithm and its options; another algorithm's setting is told, not refused."""
    from hpo.algorithms.options import resolve_options, without_secrets
    from hpo.algorithms.registry import ALGORITHMS, AUTO, find_algorithm

    try:
        entry = find_algorithm(name) if name.lower() != AUTO else None
    except SpecError as error:
        raise AutoMLError(f"automl_settings.algorithm: {_after_path(error)}") from error
    options = entry.options if entry else ()
    own = {spelling for option in options for spelling in option.names}
    others = {
        spelling: other.name
        for other in ALGORITHMS.values()
        for option in other.options
        for spelling in option.names
    }
    unknown = [key for key in rest if key not in own and key not in others]
    if unknown:
        raise AutoMLError(
            "; ".join(
                f"automl_settings.{key}: no such setting{nearest(key, [*_BY_NAME, *own, *others])}"
                for key in unknown
            )
        )
    warnings = tuple(
        f"automl_settings.{key}: a setting of {others[key]}, of no use to {name}"
        for key in rest
        if key not in own
    )
    mine = {key: value for key, value in rest.items() if key in own}
    if MAX_RECOMMENDATIONS in own:
        mine[MAX_RECOMMENDATIONS] = NO_LIMIT  # the budget counts trials, and can be extended
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
        given=given | (frozenset(mine) - {MAX_RECOMMENDATIONS}),
        stops_trials=bool(entry and entry.brings_pruning),
        ends_itself=any(option.name in ("rounds", "min_top_configs") for option in options),
        warnings=warnings,
    )


def _after_path(error: SpecError) -> str:
    return str(error).removeprefix("search.algorithm: ")
