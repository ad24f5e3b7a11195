"""Converts a trainer's report of an epoch into a measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.trial import Measurement


def to_measurement(payload: Mapping[str, Any], *, seconds: float) -> Measurement:
    """Read a report (see `hpo.core.protocols.Report`).

    Args:
        payload: what the trainer reported; a value of None is not a number.
        seconds: time of the epoch where the payload tells none.
    """
    return Measurement(
        epoch=int(payload["epoch"]),
        value=math.nan if payload["value"] is None else float(payload["value"]),
        metrics={k: float(v) for k, v in (payload.get("metrics") or {}).items()},
        seconds=float(payload.get("seconds") or seconds),
        checkpoint=_relative(payload.get("checkpoint")),
    )


def _relative(checkpoint: Any) -> str | None:
    """Keep the path of a checkpoint below the trial's folder, so that a run can be moved."""
    if not checkpoint:
        return None
    path = Path(str(checkpoint))
    return str(Path(*path.parts[-2:])) if path.is_absolute() else str(path)
