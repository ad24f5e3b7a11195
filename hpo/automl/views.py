"""Writes the `.automl/` files that published tools look for, derived from the ledger.

```
.automl/controller/facts.json            constants of the search
.automl/controller/recommendations.json  every trial in the route's words
.automl/best_rec/best_rec.json           the best so far
.automl/brain/brain.json                 algorithm, options, seed
```
They are written for readers; nothing is restored from them but `facts.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpo.automl.recommendation import metric_of, status_word
from hpo.automl.workspace import AUTOML_DIR, WorkspaceFacts
from hpo.core.events import Event, Started, TrialEnded, TrialStarted, TrialSuspended
from hpo.core.selection import best_trial
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir, write_atomically

_TOLD = (Started, TrialStarted, TrialEnded, TrialSuspended)


class Views:
    """Keeps the views up to date as trials start and end; implements a listener.

    Args:
        run: the workspace.
        ledger: the study.
        facts: constants of the search.
        brain: what is known of the algorithm.
        job_of: a trial's job id and folder.
    """

    def __init__(
        self,
        run: RunDir,
        ledger: Ledger,
        facts: WorkspaceFacts,
        brain: Mapping[str, Any],
        job_of: Callable[[int], tuple[str, str]],
    ) -> None:
        self._folder = run.path / AUTOML_DIR
        self._ledger, self._facts, self._job_of = ledger, facts, job_of
        _write(self._folder / "brain" / "brain.json", dict(brain))

    def handle(self, event: Event) -> None:
        """Rewrite what an event may have changed."""
        if isinstance(event, _TOLD):
            self.write()

    def close(self) -> None:
        """Write the last state."""
        self.write()

    def write(self) -> None:
        """Write recommendations and the best one."""
        trials = [t for t in self._ledger.trials() if t.purpose == "search"]
        direction = self._ledger.direction
        rows = [
            {
                "id": trial.number,
                "status": status_word(trial),
                "job_id": self._job_of(trial.number)[0],
                "metric": metric_of(trial, direction),
                "specs": trial.params,
                "epochs": trial.epochs,
                "resume_from_epoch": trial.start_from[1] if trial.start_from else None,
                "error": trial.error,
            }
            for trial in trials
        ]
        _write(self._folder / "controller" / "recommendations.json", rows)
        best = best_trial(trials, self._ledger.direction)
        row = None if best is None else next(r for r in rows if r["id"] == best.number)
        _write(self._folder / "best_rec" / "best_rec.json", row)


def _write(path: Path, data: Any) -> None:
    write_atomically(path, json.dumps(data, indent=1, default=str) + "\n")
