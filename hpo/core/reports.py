"""Checks what a trainer reports of an epoch, and converts it into a measurement."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.text import quoted
from hpo.core.trial import Measurement


class ReportError(Exception):
    """A trainer reported what is no report; raised in its `fit`, so that this trial fails."""

    kind = "code"


def checked_report(payload: Any) -> dict[str, Any]:
    """Return a report (see `hpo.core.protocols.Report`) with plain numbers.

    Raises:
        ReportError: naming the key that is missing or wrong.
    """
    _demand(isinstance(payload, Mapping), "report: must be called with a mapping", payload)
    for key in ("epoch", "value"):
        if key not in payload:
            raise ReportError(f"report: {key}: is missing")
    metrics = payload.get("metrics") or {}
    _demand(isinstance(metrics, Mapping), "report: metrics: must map names to numbers", metrics)
    epoch, value = _number("epoch", payload["epoch"]), payload["value"]
    _demand(epoch >= 1 and epoch.is_integer(), "report: epoch: must be 1 or more", payload["epoch"])
    seconds = _number("seconds", payload.get("seconds") or 0)
    _demand(0 <= seconds < math.inf, "report: seconds: must be 0 or more", payload.get("seconds"))
    checkpoint = payload.get("checkpoint")
    if (receipt := payload.get("receipt")) is not None:
        checked_receipt(receipt)
    return {
        **payload,
        "epoch": int(epoch),
        "value": None if value is None else _number("value", value),
        "metrics": {str(name): _number(f"metrics.{name}", v) for name, v in metrics.items()},
        "seconds": seconds,
        "checkpoint": None if checkpoint is None else str(checkpoint),
    }


def checked_receipt(receipt: Any) -> dict[str, Any]:
    """Return a receipt (see `hpo.core.protocols.Trainer.fit`) that can be kept.

    Raises:
        ReportError: it is no mapping, or holds what cannot be written as JSON.
    """
    is_one = isinstance(receipt, Mapping) and isinstance(receipt.get("applied") or {}, Mapping)
    _demand(is_one, "receipt: must be a mapping, and its `applied` too", receipt)
    try:
        json.dumps(receipt)
    except (TypeError, ValueError) as error:
        raise ReportError(f"receipt: must hold what JSON can: {error}") from error
    return dict(receipt)


def _number(key: str, value: Any) -> float:
    """Of whatever library; text is none."""
    try:
        if not isinstance(value, str | bytes):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ReportError(f"report: {key}: must be a number, got {quoted(value)}")


def _demand(holds: bool, what: str, got: Any) -> None:
    if not holds:
        raise ReportError(f"{what}, got {quoted(got)}")


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
