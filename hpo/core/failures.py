"""What failures mean for the search: a metric that is no number, a cause that trials share."""

from __future__ import annotations

from collections.abc import Iterable

from hpo.core.trial import Measurement, TrialRecord

MAX_SAME_FAILURES = 3
"""This many trials in a row with the same cause end the search."""


def describe_not_finite(measurement: Measurement) -> dict[str, str]:
    """The failure of a trial whose metric is no number."""
    return {
        "kind": "diverged",
        "message": f"the metric of epoch {measurement.epoch} is {measurement.value}, not a number",
    }


def shared_cause(trials: Iterable[TrialRecord]) -> str:
    """The message that the last trials have all failed with, if that is enough to give up."""
    started = (t for t in trials if not t.is_refused)
    ended = sorted((t for t in started if t.ended is not None), key=lambda t: t.ended or 0.0)
    last = ended[-MAX_SAME_FAILURES:]
    causes = {(t.error or {}).get("message", "") for t in last}
    if len(last) < MAX_SAME_FAILURES or len(causes) != 1:
        return ""
    return causes.pop()
