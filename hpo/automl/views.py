"""The `.automl/` views of a workspace: what published tools look for, derived from the ledger.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.automl.facts import AUTOML_DIR, Facts
from hpo.automl.hooks import Show
from hpo.core.events import Event
from hpo.core.ledger import Ledger
from hpo.core.rundir import RunDir, write_atomically
from hpo.core.selection import best_trial

_TOLD = ("started", "trial_started", "trial_finished", "trial_suspended", "confirmed")


class Views:
    """Keeps the views up to date as trials start and end; implements a listener.

    Args:
        run: the workspace.
        ledger: the study.
        facts: constants of the search.
        brain: what is known of the algorithm.
        show: shows a trial.
    """

    def __init__(
        self, run: RunDir, ledger: Ledger, facts: Facts, brain: Mapping[str, Any], show: Show
    ) -> None:
        self._folder = run.path / AUTOML_DIR
        self._ledger, self._facts, self._show = ledger, facts, show
        _write(self._folder / "brain" / "brain.json", dict(brain))

    def hear(self, event: Event) -> None:
        """Rewrite what an event may have changed."""
        if event["event"] in _TOLD:
            self.write()

    def close(self) -> None:
        """Write the last state."""
        self.write()

    def write(self) -> None:
        """Write recommendations and the best one."""
        trials = [t for t in self._ledger.trials() if t.purpose == "search"]
        recs = [self._show(t.number) for t in trials]
        rows = [
            {
                "id": rec.id,
                "status": rec.status,
                "job_id": rec.job_id,
                "metric": rec.metric,
                "specs": rec.specs,
                "epochs": trial.epochs,
                "resume_from_epoch": rec.resume_from_epoch,
                "error": trial.error,
            }
            for rec, trial in zip(recs, trials, strict=True)
        ]
        _write(self._folder / "controller" / "recommendations.json", rows)
        best = best_trial(trials, self._ledger.direction)
        row = None if best is None else next(r for r in rows if r["id"] == best.number)
        _write(self._folder / "best_rec" / "best_rec.json", row)


def _write(path: Path, data: Any) -> None:
    write_atomically(path, json.dumps(data, indent=1, default=str) + "\n")
