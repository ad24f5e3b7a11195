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
        seconds: since the report before, or the launch; taken where the payload tells no time. A
            launch may have waited for a GPU: `elapsed_s`, since its worker has begun, is no less.
    """
    most = min(seconds, float(payload.get("elapsed_s", seconds)))
    return Measurement(
        epoch=int(payload["epoch"]),
        value=math.nan if payload["value"] is None else float(payload["value"]),
        metrics={k: float(v) for k, v in (payload.get("metrics") or {}).items()},
        seconds=float(payload.get("seconds") or most),
        checkpoint=_relative(payload.get("checkpoint")),
    )


def _relative(checkpoint: Any) -> str | None:
    """Keep the path of a checkpoint below the trial's folder, so that a run can be moved."""
    if not checkpoint:
        return None
    path = Path(str(checkpoint))
    return str(Path(*path.parts[-2:])) if path.is_absolute() else str(path)
