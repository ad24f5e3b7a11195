"""Two sections of a study file: where the images are, and how trials are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SPLITS = ("train", "reference", "query", "test_reference", "test_query")
"""Sources of a data set that is split already."""

LAST = "full"
"""Name of the last stage, where trials are trained in full."""
NONE = "none"
"""In place of names of stages: only the last one."""
_TABLES = ("ranges", "options", "fix", "custom_param_ranges")
"""What is said of parameters by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSources:
    """Where the images are: nothing (the embedded default), the splits, or one folder to split."""

    train: str = ""
    """Folder of class folders, an archive of one, or a list of pictures."""
    reference: str = ""
    """Gallery that queries are matched against."""
    query: str = ""
    """Validation queries; P@1 on them is what is searched for."""
    test_reference: str = ""
    """Gallery of the final evaluation; `reference` where it is not given."""
    test_query: str = ""
    """Held-out queries, looked at once, after the search."""
    folder: str = ""
    """One folder of classes, or one list of pictures, split by the tool."""
    class_disjoint: bool = False
    """Whether the split keeps validation and test classes out of training."""
    group_by: str = ""
    """What pictures have in common that must not be in two splits: a regular expression over their
    paths, a column of a list, or `near-duplicates`."""

    @property
    def splits(self) -> dict[str, str]:
        """The splits that are given, by name."""
        return {name: place for name in SPLITS if (place := getattr(self, name))}

    @property
    def is_default(self) -> bool:
        """Whether nothing was named, so the embedded default is used."""
        return not (self.train or self.reference or self.query or self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How trials are chosen, stopped and confirmed."""

    algorithm: str = "auto"
    """`hpo algorithms` lists them."""
    algorithm_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the algorithm by name (`hpo algorithms` lists them); those of a file are left out
    where another algorithm is named."""
    pruner: str = "auto"
    """What ends trials early: auto, successive_halving, hyperband, median, patient, none."""
    seed: int | None = None
    """Of everything that is drawn, 0 where none is named. One that is named is the trainings' too,
    unless the spec has one (`train.seed`), and switches `memory` off where that is not named. It
    gives the same search again where one trial runs at a time, on as many threads, and the budget
    is one of trials or epochs."""
    stages: tuple[str, ...] = ()
    """Stages by name, in order, such as [heads, full]; [none] trains every trial in full; empty
    leaves it to the trainer."""
    earlier_stages: Mapping[str, Any] = field(default_factory=dict)
    """The one before the last: name -> spec, over, ranges, options, trials, batch, share,
    carries, with_parent, first_trials, remembered."""
    confirm: int = 0
    """How many of the best are trained again with new seeds, and the default beside them."""
    average: bool = False
    """Whether the weights of the best trials are averaged after the search, where that is not worse
    on the validation queries."""
    until_converged: float | None = None
    """End before the budget once so many minutes of training bring less than the noise; 0 takes as
    long as eight whole trials."""
    warm_start: tuple[str, ...] = ()
    """Directories of earlier runs whose best configurations are tried first."""
    memory: bool = True
    """Whether the best of earlier searches on similar pictures is tried first; false where a `seed`
    is named."""
    remembered: Mapping[str, Any] = field(default_factory=dict)
    """What that was when the search began, so that it begins so again: where it comes from ->
    {parameter: value}."""
    after: str | None = None
    """The newest earlier search on the same pictures when this one began, so that it is repeated:
    behind another one, other configurations are drawn, unless `memory` is false. Empty: there was
    none; null: not looked."""
    priors: bool = False
    """Whether published settings for the network are tried first."""
    portfolio: bool = True
    """Whether `first_trials` are tried."""
    first_trials: Mapping[str, Any] = field(default_factory=dict)
    """Tried right after the default: name -> {parameter: value}; where none are given, those that
    the trainer has learned on other data."""
    max_latency: str = ""
    """Time that a model may take for one picture, such as `5ms`; slower ones are not tried."""
    max_params: str = ""
    """Number of parameters that a model may have, such as `30M`; larger ones are not tried."""
    over: tuple[str, ...] = ()
    """Searched parameters, in place of the schema's default list; `+name` adds to that list."""
    ranges: Mapping[str, Any] = field(default_factory=dict)
    """name -> [low, high] or {low, high, log}."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """name -> list of values."""
    fix: Mapping[str, Any] = field(default_factory=dict)
    """name -> value, taken out of the search."""
    custom_param_ranges: Mapping[str, Any] = field(default_factory=dict)
    """The published form of ranges: name -> {valid_min, valid_max, valid_options, ...}."""
    override_automl_disabled_params: bool = False
    """Also search what the schema disables."""

    def __post_init__(self) -> None:
        names = (name.strip() for name in self.over)
        over = ("+" * (name[:1] == "+") + name.removeprefix("+").strip() for name in names)
        object.__setattr__(self, "over", tuple(over))

    @property
    def used_seed(self) -> int:
        """The seed, also where none is named."""
        return self.seed or 0

    @property
    def has_looked(self) -> bool:
        """Whether they say what earlier searches found, or that they found nothing.

        Those of a run do; runs of earlier releases do where something was found.
        """
        stages = [s for s in self.earlier_stages.values() if isinstance(s, Mapping)]
        found = self.remembered or any(stage.get("remembered") for stage in stages)
        return self.after is not None or bool(found)

    def updated(
        self, given: Mapping[str, Any], named: Callable[[str], str] = str.lower
    ) -> SearchOptions:
        """Return a copy with `given` in place; tables and options are merged by name.

        `named` turns what an algorithm is called, such as an alias, into its name.
        The last word on a parameter counts, so one that is given is taken out of the other tables.
        Options of an algorithm go where another one is given.
        `stages` that are given take the place of `earlier_stages`. Who names a seed wants the same
        search again, whatever was searched in between, so memory is off where it is not named too.
        """

        def kept(table: str) -> dict[str, Any]:
            others = {name for other in _TABLES if other != table for name in given.get(other, {})}
            return {n: value for n, value in getattr(self, table).items() if n not in others}

        laid = {table: {**kept(table), **given.get(table, {})} for table in _TABLES}
        algorithm, before = given.get("algorithm", self.algorithm), self.algorithm_options
        if self.algorithm != "auto" and named(str(algorithm)) != named(self.algorithm):
            before = {}
        laid["algorithm_options"] = {**before, **given.get("algorithm_options", {})}
        if "stages" in given:
            earlier = given.get("earlier_stages", {})
            laid["earlier_stages"] = {} if given["stages"] == (NONE,) else earlier
        new = replace(self, **{**given, **laid})
        is_named = given.get("seed") is not None
        is_seeded = is_named and "memory" not in given and not new.has_looked
        return replace(new, memory=False) if is_seeded else new
