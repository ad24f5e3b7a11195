"""Events as lines of JSON, and back; expected lines are written by hand."""

import json
import math
import os
from pathlib import Path

import pytest

from hpo.core.budget import Budget, Spent
from hpo.core.event_json import (
    EVENTS,
    data_of,
    from_dict,
    from_json,
    strict_json,
    to_dict,
    to_json,
    to_plain,
)
from hpo.core.events import (
    AlgorithmStep,
    Averaged,
    CheckpointsRemoved,
    Chosen,
    Confirmed,
    Continued,
    DiskLow,
    Epoch,
    Error,
    Evaluated,
    Exported,
    Finished,
    Interrupted,
    Paused,
    Preparing,
    Review,
    Started,
    TrialFinished,
    TrialProgress,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.forecast import Forecast
from hpo.core.route_events import Baseline, Compared, Routed
from hpo.core.rungs import Rung
from hpo.core.trial import TrialState
from hpo.core.trial_row import TrialRow

ROW = TrialRow(trial=2, state=TrialState.PRUNED, value=0.25, start_from=(0, 3), params={"lr": 0.1})
SPENT = Spent(trials=3, seconds=12.5, gpu_seconds=6.25, epochs=27)
ALL = [
    Routed(route="automl", automl_policy="on (auto)", decided_by="default", message="searched"),
    Started(run_dir="/r", budget=Budget(trials=4, seconds=90.0), spent=SPENT, trials=(ROW,)),
    Preparing(what="probe"),
    Baseline(status="failed", label="untrained start", reason="no data"),
    Review(
        budget=Budget(epochs=60), epochs_per_trial=9, searched=("lr",), pinned={"gamma": "none"},
        forecast=Forecast(seconds=60.0, low_s=50.0, high_s=70.0, trials=4, epochs=20, pruned=2),
    ),
    AlgorithmStep(algorithm="llm", step="proposed", trial=2, text="wider", more={"failures": 3}),
    TrialStarted(trial=2, params={"lr": 0.1}, start_from=(0, 3), note="warm"),
    TrialProgress(trial=2, text="head epochs 3/20"),
    Epoch(trial=2, epoch=3, value=0.25, seconds=1.5, metrics={"train_loss": 0.75}),
    TrialFinished(trial=2, state=TrialState.PRUNED, value=0.25, epoch=3, reason="last"),
    Confirmed(trial=5, state=TrialState.FAILED, error={"kind": "data", "message": "gone"}),
    TrialSuspended(trial=3, epoch=4, reason="interrupted"),
    CheckpointsRemoved(trial=1, bytes=4096),
    DiskLow(free_bytes=9, needed_bytes=5, text="little"),
    Paused(text="full", free_bytes=1, needed_bytes=5),
    Continued(text="room", free_bytes=99),
    Chosen(winner=1, default=0, standings=({"number": 1},), words=("trial 1 wins",)),
    Averaged(trials=(4, 1), value=0.75, alone=0.5, is_used=True, words="average of trials 4 and 1"),
    Evaluated(trial=1, split="test", metrics={"p@1": 0.5}, metric_value=0.5),
    Compared(rows=({"name": "best"},), metric="p@1"),
    Exported(trial=1, result={"onnx": "/m.onnx", "seconds": 2.5}),
    Finished(
        run_dir="/r", best={"trial": 1}, budget=Budget(trials=4), spent=SPENT,
        rungs=(Rung(epoch=3, stopped=2, in_full=7, correlation=0.5),), edges=("lr: further",),
    ),
    Interrupted(run_dir="/r", resume="hpo resume /r"),
    Error(message="OSError: gone"),
]  # fmt: skip


def strict(line):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_every_event_is_in_the_list():
    assert sorted(type(event).name for event in ALL) == sorted(kind.name for kind in EVENTS)
    assert {type(event) for event in ALL} == set(EVENTS)


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.name)
def test_a_line_is_read_back_as_it_was(event):
    again = from_json(to_json(event))
    assert again == event
    assert again.time == event.time


def test_name_and_time_stand_first():
    assert to_json(TrialSuspended(time=17.5, trial=3, epoch=4, reason="x")) == (
        '{"event": "trial_suspended", "time": 17.5, "trial": 3, "epoch": 4, "reason": "x"}'
    )


def test_budgets_are_in_their_grammar_and_states_are_words():
    started = strict(to_json(ALL[1]))
    assert started["budget"] == "4trials,90s"
    assert started["spent"] == {"trials": 3, "seconds": 12.5, "gpu_seconds": 6.25, "epochs": 27}
    assert (started["trials"][0]["state"], started["trials"][0]["start_from"]) == ("pruned", [0, 3])


def test_what_a_trainer_returns_stands_in_the_event_itself():
    event = Exported(trial=1, result={"onnx": "/m.onnx", "num_images_checked": 64})
    assert data_of(event) == {"trial": 1, "onnx": "/m.onnx", "num_images_checked": 64}
    step = AlgorithmStep(algorithm="llm", step="fallback", trial=2, text="x", more={"failures": 3})
    assert data_of(step)["failures"] == 3


def test_facts_that_are_not_known_are_left_out_where_nobody_expects_them():
    assert data_of(Error(message="x")) == {"message": "x"}
    assert set(data_of(Baseline(status="failed", label="l", reason="r"))) == {
        "status", "label", "reason",
    }  # fmt: skip
    assert data_of(TrialFinished(trial=0, state=TrialState.COMPLETE))["error"] is None


def test_figures_are_rounded_to_what_is_known():
    forecast = Forecast(seconds=60.04, low_s=1.0, high_s=2.26, trials=4, epochs=9, pruned=0)
    review = to_dict(Review(epochs_per_trial=9, forecast=forecast))
    assert (review["forecast"]["seconds"], review["forecast"]["high_s"]) == (60.0, 2.3)
    rungs = to_plain([Rung(epoch=3, stopped=1, in_full=2, correlation=None)])
    assert (
        rungs[0]["text"]
        == "epoch 3 stopped 1 trial; 2 trials trained in full: too few to tell whether it stops the right ones"
    )


def test_numbers_that_json_does_not_know_become_null():
    event = Epoch(trial=0, epoch=1, value=0.5, metrics={"loss": math.nan, "rate": -math.inf})
    assert strict(to_json(event))["metrics"] == {"loss": None, "rate": None}
    deep = Exported(trial=0, result={"rows": [1, (math.nan,)]})
    assert strict(to_json(deep))["rows"] == [1, [None]]
    assert math.isnan(event.metrics["loss"])


def test_one_event_is_one_line(tmp_path):
    line = to_json(Exported(trial=0, result={"message": "a\nb\r\u2028", "path": tmp_path}))
    assert line.splitlines() == [line]
    assert strict(line)["message"] == "a\nb\r\u2028"
    assert strict(line)["path"] == str(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "", '{"event": "epoch", "tri', "3", '["event"]', '{"event": "trial_stopped", "trial": 1}',
        '{"trial": 1}', '{"event": "epoch"}', '{"event": "trial_finished", "trial": 1, "state": "x"}',
        '{"event": "started", "run_dir": "/r", "budget": "a while"}',
        '{"event": []}', '{"event": "epoch", "trial": "1", "epoch": 1, "value": 0.5}',
        '{"event": "epoch", "trial": 1, "epoch": true, "value": 0.5}',
        '{"event": "epoch", "trial": 1, "epoch": 1, "value": null}',
        '{"event": "epoch", "trial": 1, "epoch": 1, "value": 0.5, "metrics": [3]}',
        '{"event": "trial_started", "trial": 1, "start_from": [0]}',
        '{"event": "finished", "run_dir": "/r", "trials": {"complete": "x"}}',
        '{"event": "finished", "run_dir": "/r", "edges": "lr"}',
    ],
)  # fmt: skip
def test_lines_that_are_no_whole_event_are_none(line):
    assert from_json(line) is None


def test_lines_of_other_versions_are_read_by_what_is_known():
    line = (
        '{"event": "started", "time": 1.5, "run_dir": "/r", "budget": "4 trials", '
        '"budget_text": "4trials", "spent": {"trials": 1, "days": 2}}'
    )
    assert from_json(line) == Started(run_dir="/r", budget=Budget(trials=4), spent=Spent(trials=1))
    old = {"run_dir": "/r", "best": None, "budget": "6trials", "rungs": [], "outcome": "fine"}
    assert from_dict(Finished, old) == Finished(run_dir="/r", budget=Budget(trials=6))


def test_paths_that_are_no_utf8_are_spelt_out():
    name = os.fsdecode(b"lat\xe9in/p.png")
    told = strict_json({"neighbours": [name], name: Path(name), "emoji": "🍎", "text": r"\udce9"})
    read = json.loads(told)
    assert read == {
        "neighbours": [r"lat\xe9in/p.png"], r"lat\xe9in/p.png": r"lat\xe9in/p.png",
        "emoji": "🍎", "text": r"\udce9",
    }  # fmt: skip
