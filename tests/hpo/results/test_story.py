"""What is told of a winner, from its report alone."""

import json

from hpo.results.story import read_story, winner_story
from hpo.run.run_dir import RunDir

REPORT = {
    **{"trial": 3, "value": 0.8, "params": {}, "spec": "/run/best/spec.yaml"},
    "metric": "val_precision_at_1",
    "confirmation": {"words": ["trial 3: 0.8000 over 2 new seeds", "a tie with trial 1"]},
    "expected": {
        **{"value": 0.8, "trials": 7, "drop": 0.03, "drop_error": 0.01, "noise": 0.02},
        **{"expected": 0.77, "interval": [0.755, 0.785], "repeats": 2, "tied": []},
    },
    "test": {"val_precision_at_1": 0.75, "held_out": {"value": 0.75, "interval": [0.7, 0.8]}},
}


def test_confirmation_what_to_expect_and_the_held_out_figure():
    expected = (
        "validation P@1 0.8000 chose this trial among 7 trained as long; on new pictures like these "
        "expect 0.770 (0.755 to 0.785)"
    )
    held_out = "held out: P@1 0.7500 (0.7000 to 0.8000)"
    assert winner_story(REPORT) == [*REPORT["confirmation"]["words"], expected, held_out]


def test_reports_of_earlier_releases_have_the_figure_alone():
    old = {
        "metric": "val_precision_at_1",
        "confirmation": None,
        "test": {"val_precision_at_1": 0.5},
    }
    assert winner_story(old) == ["held out: P@1 0.5000"]
    assert winner_story({"metric": "f1", "test": None}) == []


def test_a_run_that_was_not_handed_on_tells_nothing(tmp_path):
    run = RunDir(tmp_path)
    assert read_story(run) == []
    run.best_dir.mkdir()
    for damaged in ("{", "[]", json.dumps({"test": {"held_out": {"nothing": 1}}})):
        (run.best_dir / "report.json").write_text(damaged)
        assert read_story(run) == []
    (run.best_dir / "report.json").write_text(json.dumps(REPORT))
    assert read_story(run) == winner_story(REPORT)
