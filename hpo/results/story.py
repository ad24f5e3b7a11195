"""Describes what was handed on: confirmation, average, what new pictures may show, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.core.errors import RunError
from hpo.core.expected import expected_words
from hpo.core.held_out import held_out_words
from hpo.run.handed_on import read_handed_on
from hpo.run.run_dir import RunDir


def read_story(run: RunDir) -> list[str]:
    """Return sentences about a finished run's winner; nothing before it was handed on."""
    try:
        return winner_story(read_handed_on(run))
    except RunError:  # `hpo best` says it
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
