"""The review's times by hand, and the exact first batch."""

import pytest

from hpo.automl.review import estimate, first_batch, ways_to_shorten
from hpo.automl.workspace import RUNGS_STYLE, WorkspaceFacts
from hpo.core.trial import TrialState
from hpo.run.ledger import Ledger
from tests.quick_runs import optuna_algorithm

FACTS = {"skill_dir": "/s", "network": "n", "metric": "m", "direction": "maximize"}


def facts(total, **more):
    return WorkspaceFacts(**FACTS, algorithm="random", total=total, **more)


def test_full_trials_take_their_epochs_divided_among_the_slots():
    guess = estimate(facts(10), {}, seconds_per_epoch=2.0, num_epochs=4, slots=2)
    assert guess.per_trial_s == 9.0  # four epochs and a second to start
    assert guess.total_s == 45.0
    assert (guess.low_s, guess.high_s) == (36.0, 63.0)
    left = estimate(facts(10), {}, seconds_per_epoch=2.0, num_epochs=4, slots=2, done=8)
    assert left.total_s == 9.0


def test_brackets_train_a_part_of_the_epochs():
    options = {"rounds": 1, "reduction_factor": 2, "epoch_multiplier": 1}
    # brackets of 4 epochs: 4 at 1, 2 at 2, 1 at 4 | 3 at 2, 1 at 4 | 3 at 4 -> 8 + 8 + 12 epochs
    running = estimate(facts(10), options, seconds_per_epoch=1.0, num_epochs=4, slots=1)
    assert running.total_s == pytest.approx(28 + 10)
    rungs = estimate(
        facts(14, style=RUNGS_STYLE), options, seconds_per_epoch=1.0, num_epochs=4, slots=1
    )
    assert rungs.total_s == pytest.approx(28 + 14)


def test_what_cannot_be_measured_is_not_guessed():
    assert estimate(facts(3), {}, seconds_per_epoch=None, num_epochs=4, slots=1).total_s is None
    unknown = estimate(facts(None), {}, seconds_per_epoch=1.0, num_epochs=4, slots=1)
    assert (unknown.per_trial_s, unknown.total_s) == (5.0, None)


def test_a_search_that_is_too_long_is_told_how_to_be_shorter():
    expected = {"total_s": 36000.0, "assumptions": "1 s an epoch"}
    line = ways_to_shorten(facts(20), expected, 2.0, "train.num_epochs")
    assert "about 10h are expected" in line
    assert "automl_max_recommendations=4" in line
    assert "train.num_epochs" in line
    assert "\n" not in line


def test_49_the_first_batch_is_what_an_engine_would_ask_for():
    ledger = Ledger.create(None, "maximize")
    batch = first_batch(optuna_algorithm(), ledger, 3)
    asked = optuna_algorithm()
    assert [entry["specs"] for entry in batch] == [asked.ask(n).params for n in range(3)]
    assert ledger.trials() == [], "nothing is started"


def test_49_after_a_pause_cut_off_trials_come_first():
    ledger, algorithm = Ledger.create(None, "maximize"), optuna_algorithm()
    for number in range(2):
        ledger.start(algorithm.ask(number), now=0.0, clock=0.0)
    ledger.finish(0, TrialState.FAILED, now=1.0, clock=1.0)
    batch = first_batch(optuna_algorithm(), ledger, 2)
    assert [entry["rec_id"] for entry in batch] == [1, 2]
    assert batch[0]["specs"] == ledger.trial(1).params
