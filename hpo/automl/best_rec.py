"""Builds `best_rec.json`, by which other tools take over the best trial of a workspace.

```
{schema_version: 1, experiment_id, metric_name, direction,
 best: {rec_id, score, specs, observed_budget, checkpoint_uri, checkpoint_epoch?},
 all_recs: [{rec_id, score, job_id?}, ...]}
```
Ids are texts. `specs` are the searched values, nested, without the number of epochs: that is
`observed_budget`. A trial without a result has the score null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.core.spec_dicts import nest
from hpo.core.trial import TrialRecord

FILE = "best_rec.json"
SCHEMA_VERSION = 1


def best_record(
    trials: Sequence[TrialRecord],
    best: TrialRecord,
    *,
    head: Mapping[str, str],
    epochs_key: str,
    checkpoint: Path | str | None,
    score_of: Callable[[TrialRecord], float | None],
    job_of: Callable[[TrialRecord], str | None],
) -> dict[str, Any]:
    """The content of the file.

    Args:
        trials: of the search, the best among them.
        best: the trial that is handed over.
        head: `experiment_id`, `metric_name`, and `direction` (`maximize` or `minimize`).
        epochs_key: spec key of the number of epochs.
        checkpoint: of the best epoch: a file, or an address; None where there is none.
        score_of: a trial's value in the caller's scale.
        job_of: the id of its job on a platform.
    """
    measured = best.best_measurement(head["direction"])
    specs = {name: value for name, value in best.params.items() if name != epochs_key}
    winner = {
        "rec_id": str(best.number),
        "score": score_of(best),
        "specs": nest(specs),
        "observed_budget": best.epochs,
        "checkpoint_uri": _uri(checkpoint),
    }
    if measured is not None:
        winner["checkpoint_epoch"] = measured.epoch
    rows = []
    for trial in trials:
        row: dict[str, Any] = {"rec_id": str(trial.number), "score": score_of(trial)}
        job = job_of(trial)
        rows.append(row | ({"job_id": job} if job else {}))
    return {"schema_version": SCHEMA_VERSION, **head, "best": winner, "all_recs": rows}


def _uri(checkpoint: Path | str | None) -> str | None:
    if checkpoint is None or "://" in str(checkpoint):
        return None if checkpoint is None else str(checkpoint)
    return Path(checkpoint).absolute().as_uri()
