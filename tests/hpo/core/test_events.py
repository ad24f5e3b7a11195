"""What stands in an event that is made of a recorded trial."""

import pytest

from hpo.core.event_json import EVENTS
from hpo.core.events import Confirmed, Epoch, TrialEnded, TrialFinished, TrialStarted
from hpo.core.trial import OVER_LIMIT, Measurement, TrialRecord, TrialState


def record(**facts):
    return TrialRecord(
        number=4, params={"lr": 0.1}, latents={}, until_epoch=9,
        **{"state": TrialState.RUNNING, **facts},
    )  # fmt: skip


def test_every_event_has_a_name_of_its_own():
    names = [kind.name for kind in EVENTS]
    assert len(set(names)) == len(names) == 24


def test_a_start_says_from_which_epoch_a_trial_goes_on():
    made = record(measurements=[Measurement(epoch=3, value=0.5)], note="narrowed")
    assert TrialStarted.of(made, is_resumed=True).resumed_from_epoch == 3
    first = TrialStarted.of(made, is_resumed=False)
    assert (first.trial, first.resumed_from_epoch, first.note) == (4, None, "narrowed")


def test_an_epoch_has_the_time_of_the_trainer():
    made = Epoch.of(record(), Measurement(epoch=2, value=0.25, seconds=1.23456))
    assert (made.trial, made.epoch, made.value, made.seconds) == (4, 2, 0.25, 1.235)


@pytest.mark.parametrize(
    ("facts", "given", "reason"),
    [
        ({"start_from": (1, 3), "note": "n"}, "place 3 of 3", "place 3 of 3"),
        ({"start_from": (1, 3), "note": "n"}, "", "from trial 1, epoch 3"),
        ({"note": "n"}, "", "n"),
        ({}, "", ""),
    ],
)
def test_an_end_gives_the_nearest_reason(facts, given, reason):
    assert Confirmed.of(record(**facts), given).reason == reason


def test_both_ends_of_a_trial_are_ends_and_no_other_event_is():
    assert {kind for kind in EVENTS if issubclass(kind, TrialEnded)} == {TrialFinished, Confirmed}


def test_a_trial_over_a_limit_is_refused_not_failed():
    failed = record(state=TrialState.FAILED, error={"kind": "data", "message": "gone"})
    over = record(state=TrialState.FAILED, error={"kind": OVER_LIMIT, "message": "slow"})
    assert not TrialFinished.of(failed, "").is_refused
    assert TrialFinished.of(over, "").is_refused
