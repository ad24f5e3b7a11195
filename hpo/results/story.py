"""Describes what was handed on: confirmation, average, what new pictures may show, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.core.errors import RunError
from hpo.core.expected import expected_words
from hpo.core.held_out import figure_words, held_out_words
from hpo.core.text import count_of
from hpo.core.trial import Direction
from hpo.run.handed_on import read_current
from hpo.run.run_dir import RunDir


def read_story(run: RunDir, extent: Mapping[str, int]) -> list[str]:
    """Return sentences about a run's winner; nothing before it was handed on.

    Nor is there anything once the search has gone on: `extent` is how far it is now.
    """
    try:
        return winner_story(read_current(run, extent))
    except RunError:  # `hpo best` says it
        return []


def read_finalist(
    run: RunDir, extent: Mapping[str, int], number: int, direction: Direction
) -> list[str]:
    """Return sentences about a trial that was compared with the winner; nothing about others."""
    try:
        confirmation = read_current(run, extent).get("confirmation") or {}
    except RunError:
        return []
    standings = {s["number"]: s for s in confirmation.get("standings", ())}
    winner = standings.get(confirmation.get("winner"))
    own = standings.get(number)
    if own is None or winner is None or own is winner:
        return []
    mine, best = (
        figure_words(standing["value"], standing.get("interval"), direction.sign)
        for standing in (own, winner)
    )
    seeds = count_of(len(own["values"]), "new seed")
    chance = ": the difference may be chance" if own.get("is_level", own.get("is_tied")) else ""
    return [f"{mine} over {seeds}, against {best} of the winner, trial {winner['number']}{chance}"]


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
