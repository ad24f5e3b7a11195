"""The chart of slots: which trial ran where, when."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from hpo.core.trial import TrialRecord
from hpo.report.charts import STATE_COLORS, Figure, bars, hover, titled
from hpo.report.run_data import RunData

MAX_DRAWN = 1000
"""Trials that are drawn; a browser takes long for more."""


def in_slots(facts: RunData) -> list[tuple[TrialRecord, int]]:
    """Trials that held a slot, in order of their starts; with each the last one of its batch."""
    spans = facts.spans
    trials = sorted(
        (t for t in facts.trials if (t.ended or t.measurements) and not t.is_refused),
        key=lambda t: (spans[t.number][0], t.number),
    )
    last = {t.number if t.stage.batch is None else t.stage.batch: t.number for t in trials}
    return [(t, last[t.number]) for t in trials if t.stage.is_counted(t.number)]


def slots(facts: RunData) -> Figure | None:
    """Which slot was busy with which trial, when: a gap is time that nobody used.

    While the search is stopped, no time goes by. Of very many trials the last are drawn.
    """
    spans, held = facts.spans, in_slots(facts)
    if not held:
        return None
    origin = spans[held[0][0].number][0]
    lanes = _lanes([spans[t.number] for t, _ in held])
    drawn = [(t, last, lane) for (t, last), lane in zip(held, lanes, strict=True)][-MAX_DRAWN:]
    traces = []
    for state, color in STATE_COLORS.items():
        own = [(t, last, lane) for t, last, lane in drawn if t.state is state]
        if own:
            traces.append(
                bars(
                    [(spans[t.number][1] - spans[t.number][0]) / 60 for t, _, _ in own],
                    [f"slot {lane + 1}" for *_, lane in own],
                    name=facts.state_word(state),
                    base=[(spans[t.number][0] - origin) / 60 for t, _, _ in own],
                    text=[_numbers(t.number, last) for t, last, _ in own],
                    hovertext=[hover(facts, t) for t, *_ in own],
                    hovertemplate="%{hovertext}<extra></extra>",
                    textposition="inside",
                    insidetextanchor="middle",
                    marker={"color": color, "line": {"color": "@page", "width": 1}},
                )
            )
    layout = {
        "barmode": "overlay",
        "xaxis": titled("minutes of the search"),
        "yaxis": {"autorange": "reversed"},
        "height": 120 + 44 * (max(lanes) + 1),
    }
    return {"data": traces, "layout": layout}


def _numbers(first: int, last: int) -> str:
    """A trial's number, or those of the first and the last that were trained together."""
    return f"{first}" if first == last else f"{first} to {last}"


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Give each span (by start) the lowest lane that is free by then."""
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    lanes = []
    for start, end in spans:
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, lane))
        lanes.append(lane)
    return lanes
