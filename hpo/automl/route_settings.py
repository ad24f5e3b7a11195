"""Settings of one start of an AutoML workspace, not of its study: callbacks, platform, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.automl.arguments import check_hours, check_truth
from hpo.automl.hooks import Hooks
from hpo.automl.sdk import Platform
from hpo.core.route_events import Routed


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """The caller's functions, the platform and the limits of this start."""

    hooks: Hooks = field(default_factory=Hooks)
    platform: Platform | None = None
    platform_arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the caller passes on to every job of the platform."""
    poll_s: float = 5.0
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    max_hours: float | None = None
    accept_no_baseline: bool = False
    """Whether to go on when the baseline could not be evaluated."""
    review_only: bool = False
    """Whether to change nothing but what a review needs, and to end behind it."""
    routed: Routed | None = None
    """Which way the request went and why."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the workspace's facts that this start changes."""

    def __post_init__(self) -> None:
        check_hours(self.max_hours, "max_hours")
        check_truth(self.accept_no_baseline, "accept_no_baseline")
