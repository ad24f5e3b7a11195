"""Configurations a search starts with after the default: earlier runs, priors.

They come from earlier runs that the user names (`--warm-start`) or that were found
(`hpo.study.memory`), and from published settings (`--priors`).
Values that the new space does not search are left out, those outside its ranges are moved to the
nearest end, and what an earlier run did not set stays at its default.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.core.errors import RunError, SpecError
from hpo.core.selection import distinct, leading, ranked, with_params_of_their_own
from hpo.core.spec_dicts import flatten
from hpo.run.ledger import Ledger
from hpo.run.run_dir import LEDGER_FILE, STUDY_FILE, RunDir, is_run
from hpo.run.trial_specs import TrialSpecs
from hpo.study.first_trials import usable_point
from hpo.study.plan import read_plan
from hpo.study.spec import load_study

if TYPE_CHECKING:
    from search_spaces import SearchSpace

PRIORS = Path(__file__).resolve().parents[1] / "priors"
_BEST_OF_RUN = 3
"""Configurations that are taken from each earlier run."""
Row = tuple[Mapping[str, Any], str]
"""Values by parameter, and where they come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A configuration to begin with."""

    latents: dict[str, Any]
    params: dict[str, Any]
    source: str
    """Where it comes from, one line."""


def earlier_points(
    *,
    runs: Sequence[str],
    remembered: Mapping[str, Mapping[str, Any]],
    use_priors: bool,
    trainer: str,
    network: str,
) -> list[Row]:
    """Return what a search may begin with, the best of each earlier run first; see `starts_of`.

    Args:
        runs: directories of earlier runs.
        remembered: of earlier runs that were found: where they come from -> {parameter: value}.
        use_priors: whether published settings are added.
        trainer: registered name; earlier runs must be of the same.
        network: whose published settings are read.

    Raises:
        RunError: for a directory that is no run, or has nothing to tell.
        SpecError: for a run of another trainer, or when there are no published settings.
    """
    columns = [_best_of(Path(run), trainer) for run in runs]
    rows = [found for row in zip_longest(*columns) for found in row if found is not None]
    rows += [(values, source) for source, values in remembered.items()]
    return rows + (_published(network) if use_priors else [])


def starts_of(space: SearchSpace, rows: Iterable[Row]) -> list[Start]:
    """Fit (values, source) to a space; what comes to the default or to one before is left out."""
    default = space.encode(space.default())
    chosen: list[Start] = []
    for values, source in rows:
        latents = _latents(space, values)
        if latents != default and all(latents != start.latents for start in chosen):
            start = Start(latents=latents, params=space.decode(latents), source=source)
            chosen.append(start)
    return chosen


def _best_of(run: Path, trainer: str) -> list[Row]:
    """Full specs of the best trials of a run that were trained longest, best first."""
    if not is_run(run):
        raise RunError(f"--warm-start: {run} is not a run directory; `hpo ls` lists runs")
    study, plan = load_study(run / STUDY_FILE), read_plan(run)
    if study.trainer != trainer:
        raise SpecError(
            f"--warm-start: {run} was a search of {study.trainer}, this one is of {trainer}"
        )
    trials, direction = Ledger.read_trials(run / LEDGER_FILE)
    longest = leading(ranked([t for t in trials if not t.is_repeat], direction))
    longest = with_params_of_their_own(longest, trials)
    if not longest:
        raise RunError(
            f"--warm-start: {run} has no trial with a result to begin with (one that went on from "
            "another one with other parameters is none)"
        )
    specs = TrialSpecs(base_spec=plan.base_spec, seed_key="", run=RunDir(run))
    found: list[Row] = []
    for trial in islice(distinct(longest), _BEST_OF_RUN):
        measured = trial.best_measurement(direction)
        value = "" if measured is None else f" ({measured.value:.4f})"
        spec = flatten(specs.trained_spec(trial))
        found.append((spec, f"trial {trial.number} of {run.parent.name}/{run.name}{value}"))
    return found


def _published(network: str) -> list[Row]:
    path = PRIORS / f"{network}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRIORS.glob("*.json")))
        raise SpecError(f"--priors: none are published for {network}; there are some for {known}")
    data = json.loads(path.read_text(encoding="utf-8"))
    return [(prior["values"], f"{prior['name']}: {prior['source']}") for prior in data["priors"]]


def _latents(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Carry values over, one parameter at a time: one that does not fit stays at its default."""
    taken = {parameter.name: parameter.default for parameter in space.parameters}
    taken |= space.default()
    for parameter in space.parameters:
        if parameter.name not in values:
            continue
        trial = taken | {parameter.name: values[parameter.name]}
        with contextlib.suppress(TypeError, ValueError):
            usable_point(space, trial)
            taken = trial
    return usable_point(space, taken)[0]
