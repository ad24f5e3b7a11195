"""Writes the `.automl/` files that published tools look for, derived from the ledger.

```
.automl/controller/<session>.json        every recommendation, all its attributes
.automl/best_rec/<session>.json          {rec_number, rec_data} of the best so far
.automl/brain/<session>.json             algorithm, options, seed
.automl/specs/<session>.json             the spec that all trials share
.automl/current_rec/<session>.json       {rec_id} of the newest
.automl/custom_ranges/<experiment>.json  the caller's ranges
```
They are written for readers; nothing is restored from them. What a search itself needs lies beside
them: `.automl/controller/facts.json`, its constants, and `jobs.json`, which job each trial was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpo.automl.recommendation import Recommendation
from hpo.automl.workspace import AUTOML_DIR, WorkspaceFacts
from hpo.core.events import Event, Started, TrialEnded, TrialStarted, TrialSuspended
from hpo.core.pacing import Pacer
from hpo.core.selection import best_trial
from hpo.run.ledger import Ledger
from hpo.run.plain_files import write_json
from hpo.run.run_dir import RunDir
from hpo.study.plan import StudyPlan
from hpo.study.spec import StudySpec

logger = logging.getLogger(__name__)

_TOLD = (Started, TrialStarted, TrialEnded, TrialSuspended)


class Views:
    """Keeps the views up to date as trials start and end; implements a listener.

    Args:
        run: the workspace.
        ledger: the study.
        facts: constants of the search.
        constants: what does not change: `brain`, `specs` and `custom_ranges`.
        outline: shows a trial; no view has full specs.
    """

    def __init__(
        self,
        run: RunDir,
        ledger: Ledger,
        facts: WorkspaceFacts,
        constants: Mapping[str, Mapping[str, Any]],
        outline: Callable[[int], Recommendation],
    ) -> None:
        self._run, self._folder = run, run.path / AUTOML_DIR
        self._name = f"{facts.session_id or run.path.name}.json"
        self._ledger, self._outline = ledger, outline
        self._refused: set[Path] = set()
        self._is_behind, self._pacer = False, Pacer()
        for kind, data in constants.items():
            name = facts.experiment_id if kind == "custom_ranges" else ""
            self._write(self._folder / kind / (f"{name}.json" if name else self._name), dict(data))

    def handle(self, event: Event) -> None:
        """Rewrite what an event may have changed, unless that has just taken long."""
        self._is_behind |= isinstance(event, _TOLD)
        if self._pacer.is_due():
            self.catch_up()

    def catch_up(self) -> None:
        """Write what has happened since the last write, if anything has."""
        if self._is_behind:
            self.write()

    def close(self) -> None:
        """Write the last state, unless the workspace lies elsewhere by now."""
        if not self._run.is_gone():
            self.write()

    def write(self) -> None:
        """Write recommendations, the newest and the best one."""
        with self._pacer.timed():
            self._write_all()
        self._is_behind = False

    def _write_all(self) -> None:
        everything = self._ledger.trials()
        trials = [t for t in everything if t.purpose == "search"]
        rows = [_row(self._outline(trial.number)) for trial in trials]
        self._write(self._folder / "controller" / self._name, rows)
        if rows:
            self._write(self._folder / "current_rec" / self._name, {"rec_id": rows[-1]["id"]})
        best = best_trial(everything, self._ledger.direction)
        row = None if best is None else next(r for r in rows if r["id"] == best.number)
        data = {} if best is None else {"rec_number": best.number, "rec_data": row}
        self._write(self._folder / "best_rec" / self._name, data)

    def _write(self, path: Path, data: Any) -> None:
        """Write one view; if its file cannot be written, log that once and go on."""
        try:
            write_json(path, data, is_durable=False)  # made again from the ledger
        except OSError as error:
            if path not in self._refused:
                self._refused.add(path)
                logger.warning("%s: is not written: %s", path, error.strerror or error)


def constants_of(
    facts: WorkspaceFacts, study: StudySpec, plan: StudyPlan
) -> dict[str, Mapping[str, Any]]:
    """What does not change while a workspace is searched, by the folder that holds it."""
    search = study.search
    brain = {
        "algorithm": plan.algorithm,
        "max_recommendations": facts.total,
        "options": dict(search.algorithm_options),
        "pruner": plan.pruner,
        "seed": search.used_seed,
        "style": plan.route_style,
        "metric": facts.metric,
        "direction": facts.direction,
        "space_digest": plan.space_digest,
    }
    return {
        "brain": brain,
        "specs": plan.base_spec,
        "custom_ranges": search.custom_param_ranges,
    }


def _row(rec: Recommendation) -> dict[str, Any]:
    """All attributes of a recommendation but its whole spec, which stands in `specs/`."""
    return {name: value for name, value in vars(rec).items() if name != "full_spec"}
