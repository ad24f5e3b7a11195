"""Lanes of slots against hand-made cases."""

from dataclasses import replace
from itertools import pairwise

import pytest

from hpo.core.trial import (
    ONLY_STAGE,
    Measurement,
    Suggestion,
    TrialRecord,
    TrialStage,
    TrialState,
)
from hpo.report import slot_chart
from hpo.run.ledger import Ledger


@pytest.mark.parametrize(
    ("spans", "lanes"),
    [
        ([(0, 1), (1, 2), (2, 3)], [0, 0, 0]),
        ([(0, 5), (1, 2), (2, 3), (3, 9), (6, 7)], [0, 1, 1, 1, 0]),
        ([(0, 9), (0, 9), (0, 9)], [0, 1, 2]),
    ],
)
def test_lanes(spans, lanes):
    assert slot_chart._lanes(spans) == lanes


def test_no_two_trials_of_a_slot_overlap(facts):
    busy = {}
    for trace in slot_chart.slots(facts)["data"]:
        for slot, start, length in zip(trace["y"], trace["base"], trace["x"], strict=True):
            busy.setdefault(slot, []).append((start, start + length))
    assert list(busy) == ["slot 1"]  # in one process trials run one after the other
    spans = sorted(busy["slot 1"])
    assert all(a[1] <= b[0] + 1e-6 for a, b in pairwise(spans))


def test_trials_that_were_trained_together_share_a_slot(facts):
    def record(number, stage=ONLY_STAGE):
        state = TrialState.COMPLETE
        return TrialRecord(
            number=number, state=state, params={}, latents={}, until_epoch=9, stage=stage,
            started=1000.0, ended=2000.0,
        )  # fmt: skip

    spans = {0: (5, 65), 1: (5, 35), 2: (5, 35), 3: (5, 35), 4: (35, 95)}

    heads = TrialStage(name="heads", left=1, batch=1)
    trials = (record(0), *(record(n, heads) for n in (1, 2, 3)), record(4))
    (trace,) = slot_chart.slots(replace(facts, trials=trials, spans=spans))["data"]
    assert trace["text"] == ["0", "1 to 3", "4"]
    assert trace["y"] == ["slot 1", "slot 2", "slot 2"]
    assert trace["x"] == [1.0, 0.5, 1.0]


def test_a_pause_of_the_search_is_no_work(facts, tmp_path):
    """A trial begins on Friday, is suspended after 300 s, and ends after 300 s on Monday."""
    ledger, monday = Ledger.create(None, "maximize"), 3 * 86400.0
    begun = {"latents": {}, "params": {}, "until_epoch": 2}
    ledger.start(Suggestion(number=0, **begun), now=1000.0, clock=0.0)
    ledger.record(0, Measurement(epoch=1, value=0.5, seconds=300.0), clock=300.0)
    ledger.record(0, Measurement(epoch=2, value=0.5, seconds=300.0), clock=600.0)
    ledger.finish(0, TrialState.COMPLETE, now=monday + 1300.0, clock=600.0)
    ledger.start(Suggestion(number=1, **begun), now=monday + 1300.0, clock=600.0)
    ledger.record(1, Measurement(epoch=1, value=0.5, seconds=900.0), clock=1500.0)
    given = replace(facts, trials=tuple(ledger.trials()), spans=ledger.copied().spans())
    traces = slot_chart.slots(given)["data"]
    assert [(trace["base"], trace["x"]) for trace in traces] == [([0.0], [10.0]), ([10.0], [15.0])]
    assert {slot for trace in traces for slot in trace["y"]} == {"slot 1"}


def test_of_very_many_trials_the_last_are_drawn_where_they_were(facts, monkeypatch):
    trials = tuple(
        TrialRecord(
            number=n, state=TrialState.COMPLETE, params={}, latents={}, until_epoch=9, ended=2000.0
        )
        for n in range(40)
    )
    spans = {n: (60.0 * n, 60.0 * n + 90.0) for n in range(40)}
    given = replace(facts, trials=trials, spans=spans)
    (whole,) = slot_chart.slots(given)["data"]
    monkeypatch.setattr(slot_chart, "MAX_DRAWN", 15)
    (cut,) = slot_chart.slots(given)["data"]
    assert cut["text"] == [str(n) for n in range(25, 40)]
    for name in ("x", "y", "base", "text"):
        assert cut[name] == whole[name][-15:]
