"""Measures latency and size of each searched architecture and applies the limits.

An architecture is what the `model` section of a spec says. Each one that the search may come to is
measured once, before the first trial; configurations beyond a limit are refused before they start,
and count as no trial. The measurements are kept in the run, so that a resumed search has the same.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.core.durable_files import write_atomically
from hpo.core.errors import SpecError
from hpo.core.event_json import from_dict
from hpo.core.protocols import Executor, Trainer
from hpo.core.selection import leading, ranked
from hpo.core.spec_dicts import merged
from hpo.core.trainer_extras import CostMeter
from hpo.core.trial import Direction, TrialRecord
from hpo.run.run_dir import RunDir
from hpo.study.model_limits import ModelLimits

if TYPE_CHECKING:
    from search_spaces import Dimension, Parameter, SearchSpace

PREFIX = "model."
"""Parameters below it make the architecture."""
FILE = "architectures.json"
MOST = 64
"""More architectures than this are not measured one by one."""


class Architectures:
    """What the architectures of a search cost.

    Example: `found = Architectures(run, space, base_spec, limits)`; `found.measure(executor)` in
        the review; then `found.refuse(params)` for every suggestion.
    """

    def __init__(
        self,
        run: RunDir | None,
        space: SearchSpace,
        base_spec: Mapping[str, Any],
        limits: ModelLimits,
        earlier: Iterable[SearchSpace] = (),
    ) -> None:
        """Take the space of the last stage, and those of stages whose values it takes over.

        A range of theirs with too many values is measured at its ends alone: a network that is
        larger in one number costs more.
        """
        self._file = None if run is None else run.path / FILE
        self._earlier = tuple(earlier) if limits else ()
        self._ranged = {
            parameter.name
            for space in self._earlier
            for parameter in _shaping(space)
            if not all(map(_is_short, parameter.dimensions))
        }
        self._space, self._base_spec, self._limits = space, base_spec, limits
        self._names = [p.name for p in _shaping(space)]
        self.rows = [] if run is None else read_costs(run)
        """`{"architecture": {...}, "latency_ms", "params", "device", "refused"}`, one for each."""

    def measure(
        self,
        executor: Executor,
        trainer: Trainer,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        """Measure every new architecture once: where there is a limit, or more than one of them.

        Raises:
            SpecError: when there is a limit and the architectures cannot be listed or measured, or
                none of them keeps it.
        """
        if not (self._limits or self._names):
            return
        try:
            wanted = self._list(trainer)
        except SpecError:
            if self._limits:
                raise
            return
        known = [row["architecture"] for row in self.rows]
        wanted = [own for own in wanted if own not in known]
        for number, architecture in enumerate(wanted, 1):
            cost = dict(executor.call("measure", merged(self._base_spec, architecture)))
            refused = self._limits.broken_by(cost)
            self.rows.append({"architecture": architecture, **cost, "refused": refused})
            if progress is not None:
                progress("architectures measured", number, len(wanted))
        if all(row["refused"] for row in self.rows):
            least = min(self.rows, key=lambda row: row["latency_ms"])
            raise SpecError(
                "limits: no architecture is within them; raise --max-latency or --max-params; the "
                f"quickest, {describe(least['architecture'])}: {least['refused']}"
            )
        self._refuse_mixed()
        if wanted and self._file is not None:
            write_atomically(self._file, json.dumps(self.rows, indent=1) + "\n")

    def refuse(self, params: Mapping[str, Any]) -> str:
        """Why a configuration is not tried; empty when it may be."""
        row = cost_of(self.rows, params) or self._end_of(params)
        return (
            f"{describe(row['architecture'])}: {row['refused']}" if row and row["refused"] else ""
        )

    def _end_of(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row of an end of the range that a value lies in; all of its rows say the same."""
        own = self._listed(_own(params))
        return next((row for row in self.rows if self._listed(row["architecture"]) == own), None)

    def _listed(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        return {n: value for n, value in architecture.items() if n not in self._ranged}

    def _refuse_mixed(self) -> None:
        """Refuse a range of which only a part keeps the limits."""
        ends = [row for row in self.rows if self._ranged & row["architecture"].keys()]
        for low, high in itertools.combinations(ends, 2):
            one, other = (self._listed(row["architecture"]) for row in (low, high))
            if one == other and bool(low["refused"]) != bool(high["refused"]):
                broken = low if low["refused"] else high
                name, end = ", ".join(sorted(self._ranged)), describe(broken["architecture"])
                raise SpecError(
                    f"limits: {name} has too many values to measure each, and a part of its range "
                    f"is beyond them ({end}: {broken['refused']}); give it --options, or a --range "
                    "within the limits"
                )

    def _list(self, trainer: Trainer) -> list[dict[str, Any]]:
        """Every combination of the searched architecture parameters, the default first."""
        if not isinstance(trainer, CostMeter):
            raise SpecError(
                f"limits: {trainer.name} cannot measure what a model costs; leave them out"
            )
        found = list(_combinations(self._space, _values))
        for space in self._earlier:
            found += [own for own in _combinations(space, _ends) if own not in found]
        if len(found) > MOST:
            raise SpecError(
                f"search: more than {MOST} architectures would have to be measured; search fewer "
                f"options of {', '.join(self._names)}"
            )
        return found


def _shaping(space: SearchSpace) -> list[Parameter]:
    """The searched parameters that make the architecture."""
    return [p for p in space.parameters if p.name.startswith(PREFIX)]


def _combinations(
    space: SearchSpace, values_of: Callable[[Dimension], Iterable[Any]]
) -> Iterator[dict[str, Any]]:
    """Every combination of a space's architecture parameters once, the default first."""
    shapes = [dimension for parameter in _shaping(space) for dimension in parameter.dimensions]
    choices = [values_of(dimension) for dimension in shapes]
    default = space.encode(space.default())
    found = [_own(space.default())]
    yield found[0]
    for combination in itertools.islice(itertools.product(*choices), MOST**2):
        drawn = dict(zip((d.name for d in shapes), combination, strict=True))
        # Beside the default, what it leaves idle has no latents; these may make it active.
        own = _own(space.decode(space.completed(default | drawn)))
        if own not in found:
            found.append(own)
            yield own


def read_costs(run: RunDir) -> list[dict[str, Any]]:
    """What was measured in a run; empty where nothing was, or where that is damaged."""
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads((run.path / FILE).read_text(encoding="utf-8"))
        _ = from_dict(_Rows, {"rows": kept})
        return list(kept)
    return []


@dataclass(frozen=True, kw_only=True)
class _Row:
    architecture: Mapping[str, Any]
    latency_ms: float
    params: float
    refused: str


@dataclass(frozen=True, kw_only=True)
class _Rows:
    rows: Sequence[_Row]


def cost_of(rows: Iterable[dict[str, Any]], params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The measured row of a configuration's architecture."""
    return next((row for row in rows if row["architecture"] == _own(params)), None)


def _own(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name.startswith(PREFIX)}


def _values(dimension: Dimension) -> Iterable[Any]:
    """Everything a dimension can be.

    Raises:
        SpecError: when that is not a short list.
    """
    from search_spaces import Choice, Integer

    if isinstance(dimension, Choice):
        return list(dimension.choices)
    if isinstance(dimension, Integer) and dimension.high - dimension.low <= MOST * dimension.step:
        return range(dimension.low, dimension.high + 1, dimension.step)
    raise SpecError(
        f"search: {dimension.name} has too many values to measure each; give it --options to be "
        "searched under a limit on latency or parameters"
    )


def _is_short(dimension: Dimension) -> bool:
    try:
        _values(dimension)
    except SpecError:
        return False
    return True


def _ends(dimension: Dimension) -> Iterable[Any]:
    """Everything a dimension can be, or its ends."""
    from search_spaces import Choice

    if isinstance(dimension, Choice) or _is_short(dimension):
        return _values(dimension)
    return dimension.low, dimension.high


def pareto(
    trials: Iterable[TrialRecord], costs: Iterable[dict[str, Any]], direction: str
) -> list[dict[str, Any]]:
    """The best trial of each architecture, the quickest first, and whether another one beats it.

    A row is on the front when no quicker architecture has a value as good.
    """
    searched = leading([t for t in ranked(trials, direction) if not t.is_repeat])
    sign = Direction(direction).sign
    rows: dict[str, dict[str, Any]] = {}
    for trial in searched:
        cost, best = cost_of(costs, trial.params), trial.best_measurement(direction)
        if cost is None or best is None:
            continue
        name = describe(cost["architecture"])
        if name not in rows:
            told = {key: cost[key] for key in ("architecture", "latency_ms", "params")}
            rows[name] = {**told, "name": name, "trial": trial.number, "value": best.value}
    ordered = sorted(rows.values(), key=lambda row: (row["latency_ms"], -sign * row["value"]))
    top = float("-inf")
    for row in ordered:
        row["on_front"] = sign * row["value"] > top
        top = max(top, sign * row["value"])
    return ordered


def describe(architecture: Mapping[str, Any]) -> str:
    """An architecture in a few words."""
    if not architecture:
        return "the model of the spec"
    return ", ".join(f"{name.removeprefix(PREFIX)}={value}" for name, value in architecture.items())
