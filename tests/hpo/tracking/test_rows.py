"""What is written about a trial, against values worked out by hand."""

import math
from dataclasses import replace

import pytest

from hpo.core.trial import Measurement, TrialRecord, TrialStage, TrialState
from hpo.tracking import rows


def record(number=3, state=TrialState.COMPLETE, **changes):
    facts = {
        "number": number,
        "state": state,
        "params": {"lr": 0.01},
        "latents": {},
        "until_epoch": 3,
        "started": 1000.0,
        "measurements": [
            Measurement(epoch=1, value=0.4, seconds=5.0, metrics={"loss": 2.0}),
            Measurement(epoch=2, value=0.6, seconds=7.0, metrics={"loss": math.inf}),
            Measurement(epoch=3, value=0.5, seconds=5.5, metrics={"loss": math.nan}),
        ],
    }
    return TrialRecord(**{**facts, **changes})


def values(points, name):
    return [(p.step, p.value) for p in points if p.name == name]


def test_points_follow_the_epochs_with_best_and_sums():
    points = rows.trial_points(record(), "p1", "maximize")
    assert values(points, "p1") == [(1, 0.4), (2, 0.6), (3, 0.5)]
    assert values(points, "p1_best") == [(1, 0.4), (2, 0.6), (3, 0.6)]
    assert values(points, "epochs") == [(1, 1), (2, 2), (3, 3)]
    assert values(points, "epoch_seconds") == [(1, 5.0), (2, 7.0), (3, 5.5)]
    assert values(points, "seconds") == [(1, 5.0), (2, 12.0), (3, 17.5)]
    assert [p.timestamp_ms for p in points if p.name == "p1"] == [1_005_000, 1_012_000, 1_017_500]


def test_an_epoch_took_its_part_of_the_time_since_the_validation_before():
    sparse = [
        replace(m, epoch=epoch) for m, epoch in zip(record().measurements, (5, 7, 8), strict=True)
    ]
    started = record(start_from=(4, 3), measurements=sparse)
    points = rows.trial_points(started, "p1", "maximize")
    assert values(points, "epoch_seconds") == [(5, 2.5), (7, 3.5), (8, 5.5)]


@pytest.mark.parametrize(
    ("changes", "name"),
    [({}, "p1_best"), ({"stage": TrialStage(name="full")}, "p1_best"),
     ({"stage": TrialStage(name="heads", left=1)}, "p1_best_heads"),
     ({"purpose": "repeat"}, "p1_repeat")],
)  # fmt: skip
def test_candidates_alone_are_ranked_by_their_best(changes, name):
    points = rows.trial_points(record(**changes), "p1", "maximize")
    assert {p.name for p in points if p.name.startswith("p1_")} == {name}


def test_the_best_of_a_minimised_metric_is_the_smallest():
    points = rows.trial_points(record(), "p1", "minimize")
    assert values(points, "p1_best") == [(1, 0.4), (2, 0.4), (3, 0.4)]


def test_an_infinite_value_is_left_out_and_nan_stays():
    loss = values(rows.trial_points(record(), "p1", "maximize"), "loss")
    assert [step for step, _ in loss] == [1, 3]
    assert math.isnan(loss[1][1])


def test_an_epoch_gives_the_same_points_however_often_it_is_asked():
    early = record(measurements=record().measurements[:2])
    full = rows.trial_points(record(), "p1", "maximize")
    assert rows.trial_points(early, "p1", "maximize") == [p for p in full if p.step <= 2]


def test_tags_of_a_trial_that_failed_after_retries():
    error = {"kind": "out_of_memory", "message": "batch 128"}
    tags = rows.trial_tags(
        record(error=error, retries=2, start_from=(4, 9), purpose="confirm"), "failed", ""
    )
    assert tags == {
        "hpo.state": "failed",
        "hpo.purpose": "confirm",
        "hpo.error": "out_of_memory: batch 128",
        "hpo.retries": "2",
        "hpo.start_from": "trial-0004 epoch 9",
    }


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("p@1", "p_1"),
        ("val/loss", "val/loss"),
        ("/a//b/", "a/b"),
        ("../x", "x"),
        ("a b:c", "a b:c"),
    ],
)
def test_names_are_made_legal(name, legal):
    assert rows.legal_name(name) == legal


def test_values_are_written_as_in_a_spec():
    nested = {"a": {"b": True, "c": None}, "d": [1, 2], "e": "", "f": 0.1, "g": "plain"}
    assert rows.texts(nested) == {"a.b": "true", "d": "[1, 2]", "f": "0.1", "g": "plain"}


def test_long_values_are_cut():
    text = rows.to_text("x" * 5000)
    assert len(text) == rows.MAX_TEXT
    assert text.endswith("...")


def test_parameters_over_two_decades_get_logarithmic_axes():
    trials = [
        record(params={"optim.trunk.lr": 1e-5, "optim.head.lr": 1e-5, "m": 0.1, "on": True}),
        record(params={"optim.trunk.lr": 1e-3, "optim.head.lr": 9e-4, "m": 0.9, "on": False}),
    ]
    axes = rows.log_axes(trials)
    assert axes == {"optim.trunk.lr": "trunk.lr log10"}
    (point,) = rows.axis_points(trials[1], axes)
    assert point == ("trunk.lr log10", pytest.approx(-3.0), 1_000_000, 0)


def test_an_axis_keeps_the_full_name_where_the_end_is_not_unique():
    params = {"a.x.lr": 1e-6, "b.x.lr": 1e-2}
    axes = rows.log_axes([record(params=params), record(params={"a.x.lr": 1.0, "b.x.lr": 1.0})])
    assert axes == {"a.x.lr": "a.x.lr log10", "b.x.lr": "b.x.lr log10"}


def test_zero_and_words_get_no_logarithmic_axis():
    trials = [record(params={"w": 0.0, "k": "a"}), record(params={"w": 1e-1, "k": "b"})]
    assert rows.log_axes(trials) == {}


def test_paths_of_any_bytes_can_be_stored():
    facts = rows.texts({"data": {"train": "/srv/caf\udce9/é"}})
    assert facts == {"data.train": "/srv/caf\\xe9/é"}
