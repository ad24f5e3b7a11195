"""Builds the event data of one trial."""

from __future__ import annotations

from typing import Any

from hpo.core.trial import Measurement, TrialRecord


def started_event(record: TrialRecord, *, is_resumed: bool) -> dict[str, Any]:
    """Data of `trial_started`."""
    return {
        "trial": record.number,
        "params": record.params,
        "purpose": record.purpose,
        "resumed_from_epoch": record.epochs if is_resumed else None,
        "start_from": record.start_from,
        "note": record.note,
    }


def epoch_event(record: TrialRecord, measurement: Measurement) -> dict[str, Any]:
    """Data of `epoch`."""
    return {
        "trial": record.number,
        "epoch": measurement.epoch,
        "value": measurement.value,
        "seconds": round(measurement.seconds, 3),
        "metrics": measurement.metrics,
    }


def ended_event(record: TrialRecord, reason: str) -> dict[str, Any]:
    """Data of `trial_finished` and `confirmed`."""
    return {
        "trial": record.number,
        "state": str(record.state),
        "value": record.value,
        "epoch": record.epochs,
        "seconds": round(record.seconds, 3),
        "error": record.error,
        "reason": reason or _origin(record) or record.note,
    }


def _origin(record: TrialRecord) -> str:
    """Where a warm trial came from."""
    if record.start_from is None:
        return ""
    number, epoch = record.start_from
    return f"from trial {number}, epoch {epoch}"
