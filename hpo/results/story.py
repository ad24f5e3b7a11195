"""Describes what was handed on: confirmation, average, what new pictures may show, figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpo.core.expected import expected_words
from hpo.core.held_out import held_out_words
from hpo.run.run_dir import RunDir

REPORT_FILE = "report.json"
"""Stands in `best/`: what was handed on."""


def read_story(run: RunDir) -> list[str]:
    """Return sentences about a finished run's winner; nothing before it was handed on."""
    try:
        report = json.loads((run.best_dir / REPORT_FILE).read_text(encoding="utf-8"))
        return winner_story(report)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # `hpo best` says it
        return []


def winner_story(report: Mapping[str, Any]) -> list[str]:
    """Return sentences about a winner: how it was confirmed, what to expect, what is handed on.

    The last one is its held-out figure.

    Args:
        report: `report.json`, or the result that it is made of.
    """
    confirmed = list((report.get("confirmation") or {}).get("words") or [])
    confirmed += [report["unconfirmed"]] if report.get("unconfirmed") else []
    expected = expected_words(report.get("expected"), report.get("metric", ""))
    held_out = held_out_words(report.get("test"), report.get("metric", ""))
    average = report.get("average")
    handed = [f"handed on: {average['words']}"] if average else []
    return [*confirmed, *expected, *handed, *([f"held out: {held_out}"] if held_out else [])]
