"""The review's times by hand, and the exact first batch."""

from hpo.automl.review import describe_time, first_batch, ways_to_shorten
from hpo.automl.workspace import WorkspaceFacts
from hpo.core.forecast import Forecast
from hpo.core.trial import TrialRecord, TrialState
from hpo.run.ledger import Ledger
from tests.quick_runs import optuna_algorithm

FACTS = {"skill_dir": "/s", "network": "n", "metric": "m", "direction": "maximize"}


def facts(total, **more):
    return WorkspaceFacts(**FACTS, algorithm="random", total=total, **more)


def test_the_time_is_that_of_the_rehearsal():
    found = Forecast(seconds=45.0, low_s=36.0, high_s=63.0, trials=10, epochs=40, pruned=0)
    told = describe_time(found, seconds_per_epoch=2.0, num_epochs=4, slots=2)
    assert told["time_per_trial_s"] == 8.5  # four epochs and half a second to start
    assert (told["total_s"], told["interval_s"]) == (45.0, [36.0, 63.0])
    assert told["assumptions"] == (
        "2 s an epoch as the probe measured it, 2 at a time; simulated: 40 epochs in all"
    )


def test_what_cannot_be_measured_is_not_guessed():
    told = describe_time(None, seconds_per_epoch=None, num_epochs=4, slots=1)
    assert (told["time_per_trial_s"], told["total_s"], told["interval_s"]) == (None, None, None)
    open_end = describe_time(None, seconds_per_epoch=1.0, num_epochs=4, slots=1)
    assert (open_end["time_per_trial_s"], open_end["total_s"]) == (4.5, None)


def test_a_search_that_is_too_long_is_told_how_to_be_shorter():
    expected = {"total_s": 36000.0, "assumptions": "1 s an epoch"}
    line = ways_to_shorten(facts(20), [], expected, 2.0, "train.num_epochs")
    assert "about 10h are expected" in line
    assert "automl_max_recommendations=4" in line
    assert "train.num_epochs" in line
    assert "\n" not in line
    done = [
        TrialRecord(number=n, state=TrialState.PRUNED, params={}, latents={}, until_epoch=1)
        for n in range(12)
    ]
    # 12 of 20 are done; of the 10 h that the other 8 take, 5 h are allowed.
    assert "automl_max_recommendations=16;" in ways_to_shorten(facts(20), done, expected, 5.0, "e")
    assert "automl_max_recommendations" not in ways_to_shorten(
        facts(None), done, expected, 2.0, "e"
    )


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
