"""Says why the winner was chosen and what it reaches, in the same words wherever it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpo.core.held_out import HeldOut
from hpo.core.text import metric_word
from hpo.results.handoff import REPORT_FILE
from hpo.run.run_dir import RunDir


def told_of_winner(run: RunDir) -> list[str]:
    """Return sentences about a finished run's winner; nothing before it was handed on."""
    try:
        report = json.loads((run.best_dir / REPORT_FILE).read_text(encoding="utf-8"))
        return tell_winner(report)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # `hpo best` says it
        return []


def tell_winner(report: Mapping[str, Any]) -> list[str]:
    """Return sentences about a winner: how it was confirmed, and its held-out figure.

    Args:
        report: `report.json`, or the result that it is made of.
    """
    told = list((report.get("confirmation") or {}).get("words") or [])
    return [line for line in (*told, held_out_words(report)) if line]


def held_out_words(report: Mapping[str, Any]) -> str:
    """Return the held-out figure with the default's beside it; empty where there is none."""
    test = report.get("test") or {}
    name = metric_word(report.get("metric", ""))
    if test.get("held_out"):
        return f"held out: {HeldOut(**test['held_out']).words(name)}"
    value = test.get(report.get("metric", ""))
    return "" if value is None else f"held out: {name} {value:.4f}"
