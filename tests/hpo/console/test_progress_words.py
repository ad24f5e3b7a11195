"""Counts in words; those of trials and times left are looked at in `test_progress.py`."""

import pytest

from hpo.console.progress import Best, Progress
from hpo.console.progress_words import describe_use, whose_value
from hpo.core.budget import Spent, parse_budget
from hpo.core.events import Started
from hpo.core.trial import TrialState
from hpo.core.trial_row import TrialRow


def test_whose_value_it_is():
    assert whose_value(Best(value=0.5, trial=4)) == "trial 4"
    assert whose_value(Best(value=0.5, trial=4, repeats=1)) == "trial 4, mean of 1 repeat"
    assert whose_value(Best(value=0.5, trial=0, repeats=2)) == "trial 0, mean of 2 repeats"


def test_once_the_trials_have_ended_the_repeats_are_counted():
    ended = {"state": TrialState.COMPLETE, "value": 0.5, "epoch": 3, "until_epoch": 3}
    rows = [TrialRow(trial=0, **ended), TrialRow(trial=1, **ended)]
    again = TrialRow(trial=2, purpose="confirm", role="repeat of 1", **ended)
    for trials, words in ((rows, "2 of 2 trials"), ([*rows, again], "1 of 1 repeat")):
        progress = Progress()
        progress.handle(Started(run_dir="r", budget=parse_budget("2trials"), trials=trials))
        assert describe_use(progress) == words


@pytest.mark.parametrize(
    ("budget", "spent", "words"),
    [
        ("3gpuh", {"gpu_seconds": 4320.0}, "1.2 of 3 GPU hours"),
        ("30gpum", {"gpu_seconds": 36.0}, "0.01 of 0.5 GPU hours"),
        ("100gpuh", {"gpu_seconds": 44640.0}, "12.4 of 100 GPU hours"),
        ("50trials,6h", {"seconds": 10800.0}, "3h of 6h"),
        ("50trials,6h", {}, "0 of 50 trials"),
        ("1h,500epochs", {"seconds": 60.0, "epochs": 40}, "40 of 500 epochs"),
        ("unlimited", {"seconds": 60.0}, "0 trials"),
    ],
)
def test_the_nearest_limit_is_shown(budget, spent, words):
    progress = Progress()
    progress.handle(Started(run_dir="r", budget=parse_budget(budget), spent=Spent(**spent)))
    assert describe_use(progress) == words
