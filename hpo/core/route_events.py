"""The events that the AutoML route adds to those of every search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo.core.events import Event
from hpo.core.trial_row import IF_KNOWN


@dataclass(frozen=True, kw_only=True)
class Routed(Event, name="routed"):
    """A request of the AutoML route became a search or one plain training."""

    route: str
    """`automl` or `direct`."""
    action: str = "train"
    automl_policy: str
    decided_by: str
    phrase: str = ""
    """The words of the request that decided."""
    unclear: str = ""
    """Words of the request that can be read both ways, where the default decided."""
    message: str


@dataclass(frozen=True, kw_only=True)
class Baseline(Event, name="baseline"):
    """What trials start from was evaluated, on the AutoML route."""

    status: str
    """`measured`, `provided`, `metric_missing`, `failure`, `unavailable` or `skipped`."""
    enabled: bool | None = field(default=None, metadata=IF_KNOWN)
    label: str
    """What was evaluated, for people."""
    reason: str | None = field(default=None, metadata=IF_KNOWN)
    checkpoint: str | None = field(default=None, metadata=IF_KNOWN)
    failure_reason: str | None = field(default=None, metadata=IF_KNOWN)
    source: str | None = field(default=None, metadata=IF_KNOWN)
    metric_name: str | None = field(default=None, metadata=IF_KNOWN)
    metric_value: float | None = field(default=None, metadata=IF_KNOWN)
    metrics: Mapping[str, Any] | None = field(default=None, metadata=IF_KNOWN)
    seconds: float | None = field(default=None, metadata=IF_KNOWN)
    held_out: Mapping[str, Any] | None = field(default=None, metadata=IF_KNOWN)
    """`metric_value` and `metrics` on the data of the final evaluation."""
    record_path: str | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True, kw_only=True)
class Compared(Event, name="compared"):
    """The best trial was compared with the baseline, on the AutoML route."""

    rows: Sequence[Mapping[str, Any]]
    metric: str


@dataclass(frozen=True, kw_only=True)
class JobFinished(Event, name="finished"):
    """One plain training of the AutoML route has ended; after a failed one comes an `error`."""

    job: Mapping[str, Any]
    status: str
