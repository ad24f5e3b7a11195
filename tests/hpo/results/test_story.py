"""What is told of a winner, from its report alone."""

import json

from hpo.core.trial import Direction
from hpo.results.story import read_finalist, read_story, winner_story
from hpo.run.run_dir import RunDir

NOW = {"trials": 7, "epochs": 60}
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
        "validation P@1 0.8000 found this trial among 7 trials trained as long, and its repeats "
        "were counted; on new pictures like these expect 0.770 (0.755 to 0.785)"
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
    assert read_story(run, NOW) == []
    run.best_dir.mkdir()
    for damaged in ("{", "[]", json.dumps({"test": {"held_out": {"nothing": 1}}})):
        (run.best_dir / "report.json").write_text(damaged)
        assert read_story(run, NOW) == []
    (run.best_dir / "report.json").write_text(json.dumps(REPORT))
    assert read_story(run, NOW) == winner_story(REPORT)
    (run.best_dir / "report.json").write_text(json.dumps({**REPORT, "over": NOW}))
    assert read_story(run, NOW) == winner_story(REPORT)
    for later in ({"trials": 8}, {"epochs": 61}):
        assert read_story(run, NOW | later) == []
    assert read_story(run, {"trials": 0, "epochs": 0}) == winner_story(
        REPORT
    )  # of a state that is gone


def test_a_finalist_is_told_beside_the_winner_on_the_scale_of_the_metric(tmp_path):
    run = RunDir(tmp_path)
    assert read_finalist(run, NOW, 1, Direction.MINIMIZE) == []
    run.best_dir.mkdir()
    values = {"values": [-0.25, -0.3], "is_tied": True}
    standings = [
        {"number": 3, "value": -0.25, **values, "interval": [-0.3, -0.2]},
        {"number": 1, "value": -0.275, **values, "interval": [-0.35, -0.225]},
        {"number": 0, "value": -0.5, **values, "is_level": False, "interval": None},
    ]
    told = {**REPORT, "confirmation": {"words": [], "winner": 3, "standings": standings}}
    (run.best_dir / "report.json").write_text(json.dumps(told))
    assert read_finalist(run, NOW, 1, Direction.MINIMIZE) == [
        "0.2750 (0.2250 to 0.3500) over 2 new seeds, against 0.2500 (0.2000 to 0.3000) of the "
        "winner, trial 3: the difference may be chance"
    ]
    assert read_finalist(run, NOW, 0, Direction.MINIMIZE) == [
        "0.5000 over 2 new seeds, against 0.2500 (0.2000 to 0.3000) of the winner, trial 3"
    ]
    assert (
        read_finalist(run, NOW, 3, Direction.MINIMIZE)
        == read_finalist(run, NOW, 7, Direction.MINIMIZE)
        == []
    )
