"""Who leads and by how much, worked out by hand; whom the ledger's own rule names is asked too."""

import random
import statistics
from dataclasses import replace

import pytest

from hpo.console.leading import Leading
from hpo.core.selection import best_trial
from hpo.core.trial import Direction, Measurement, Purpose, TrialRecord, TrialStage, TrialState
from hpo.core.trial_row import TrialRow


def run(leading, number, values, lr=None, state="complete", purpose=Purpose.SEARCH):
    leading.begin(number, {"lr": number if lr is None else lr}, purpose, None)
    for epoch, value in enumerate(values, 1):
        leading.measure(number, epoch, value)
    leading.end(number, TrialState(state))


def repeat(leading, number, lr, values):
    run(leading, number, values, lr=lr, purpose=Purpose.CONFIRM)


def test_the_best_and_its_gain():
    leading = Leading()
    assert (leading.best, leading.gain()) == (None, None)
    run(leading, 0, [0.25, 0.5, 0.25])
    assert leading.gain() is None  # the default itself is the best
    run(leading, 1, [0.5, 0.75, 0.625])
    assert (leading.best.value, leading.best.trial, leading.gain()) == (0.75, 1, 0.25)


def test_the_best_of_a_loss_is_the_lowest():
    leading = Leading()
    leading.direction = Direction.MINIMIZE
    run(leading, 0, [0.75, 0.5])
    run(leading, 1, [0.25, 0.5])
    assert (leading.best.value, leading.gain()) == (0.25, -0.25)


def test_a_gain_is_that_at_the_same_epoch():
    leading = Leading()
    run(leading, 0, [0.25, 0.5, 0.375])
    run(leading, 1, [0.625, 0.5], state="running")
    assert (leading.best.epoch, leading.gain()) == (2, 0.125)  # 0.5 was the default's best by 2
    assert leading.gain_of(0.625, 1) == 0.375
    assert leading.gain_of(0.625, 4) is None  # the default has not come so far


def test_neither_a_failed_trial_leads_nor_one_that_was_trained_less():
    leading = Leading()
    run(leading, 0, [0.25, 0.5, 0.5])
    run(leading, 1, [0.25, 0.375, 0.625])
    run(leading, 2, [0.75, 0.875], state="running")
    assert leading.best.trial == 2  # with more epochs its best can only rise
    leading.end(2, TrialState.PRUNED)
    assert leading.best.trial == 1
    run(leading, 3, [0.75, 0.875, 0.9375], state="failed")
    assert (leading.best.trial, leading.gain()) == (1, 0.125)


def test_the_default_is_known_by_its_parameters_whichever_trial_trains_it():
    """As where a rung trains what it promotes in a trial of its own."""
    leading = Leading()
    run(leading, 0, [0.25, 0.5], lr=0.1)
    run(leading, 1, [0.25, 0.375], lr=0.2)
    run(leading, 2, [0.125, 0.25, 0.375, 0.625], lr=0.1)
    assert (leading.best.trial, leading.gain()) == (2, None)
    assert [leading.gain_of(1.0, epoch) for epoch in (1, 2, 3, 4)] == [0.75, 0.5, 0.5, 0.375]
    run(leading, 3, [0.25, 0.5, 0.75, 0.875], lr=0.3)
    assert (leading.best.trial, leading.gain()) == (3, 0.25)
    repeat(leading, 4, 0.3, [0.75, 0.75, 0.75, 0.75])
    repeat(leading, 5, 0.1, [0.5, 0.5, 0.5, 0.5])
    assert (leading.best.trial, leading.gain()) == (3, 0.25)


def test_a_resumed_search_knows_the_default_by_its_parameters():
    leading = Leading()
    for number, value, epoch, lr in ((0, 0.5, 2, 0.1), (1, 0.25, 2, 0.2), (2, 0.75, 4, 0.1)):
        done = TrialState.COMPLETE
        leading.take(
            TrialRow(trial=number, state=done, value=value, epoch=epoch, params={"lr": lr})
        )
    assert (leading.best.trial, leading.gain()) == (2, None)
    assert [leading.gain_of(1.0, epoch) for epoch in (2, 3, 4)] == [0.5, None, 0.25]
    leading.take(
        TrialRow(trial=3, state=done, value=1.0, best_epoch=3, epoch=4, params={"lr": 0.3})
    )
    assert (leading.best.trial, leading.gain()) == (3, 0.25)
    assert leading.best.epoch == 4


def test_repeats_decide_what_leads():
    leading = Leading()
    run(leading, 0, [0.25, 0.5])
    run(leading, 1, [0.5, 0.875])
    run(leading, 2, [0.5, 0.75])
    assert (leading.best.trial, leading.best.value, leading.gain()) == (1, 0.875, 0.375)
    repeat(leading, 3, 1, [0.25, 0.625])
    assert (leading.best.trial, leading.best.value, leading.gain()) == (1, 0.625, None)
    repeat(leading, 4, 0, [0.5, 0.5])
    repeat(leading, 5, 2, [0.75, 0.75])
    assert (leading.best.trial, leading.best.value, leading.gain()) == (2, 0.75, 0.25)
    # Two repeats of trial 1, and one of the others: one of each is compared.
    repeat(leading, 6, 1, [0.25, 1.0])
    assert (leading.best.trial, leading.best.repeats) == (2, 1)
    repeat(leading, 7, 0, [0.5, 0.625])
    repeat(leading, 8, 2, [0.75, 0.5])
    assert (leading.best.trial, leading.best.value, leading.best.repeats) == (1, 0.8125, 2)
    assert leading.gain() == 0.8125 - 0.5625
    assert leading.ended_repeats == 6


HEADS = TrialStage(name="heads", left=1)


def test_heads_do_not_lead():
    leading = Leading()
    leading.begin(0, {"lr": 0.1}, Purpose.SEARCH, HEADS)
    leading.measure(0, 5, 0.875)
    leading.end(0, TrialState.COMPLETE)
    assert leading.best is None
    run(leading, 1, [0.25, 0.5])
    assert leading.best.trial == 1


@pytest.mark.parametrize("seed", range(8))
def test_before_and_after_a_resume_the_same_leads_as_by_the_ledger(seed):
    """Rows as the resumed search's first event has them, with repeats among them."""
    rng, live, resumed = random.Random(seed), Leading(), Leading()
    states = ["complete"] * 3 + ["pruned", "failed", "running"]
    records = []
    for number in range(16):
        state, is_repeat = TrialState(rng.choice(states)), number >= 10
        done = rng.choice([2, 4]) if state in ("pruned", "failed") else 4
        values = [rng.randrange(64) / 64 for _ in range(done)]
        record = TrialRecord(
            number=number, state=state, latents={}, until_epoch=4,
            params={"lr": rng.randrange(3) if is_repeat else number},
            purpose=Purpose.CONFIRM if is_repeat else Purpose.SEARCH,
            measurements=[Measurement(epoch=e, value=v) for e, v in enumerate(values, 1)],
        )  # fmt: skip
        records.append(record)
        run(live, number, values, record.params["lr"], state, record.purpose)
        resumed.take(TrialRow.of(record, "maximize"))
    assert live.best.trial == resumed.best.trial == best_trial(records, "maximize").number
    assert replace(live.best, epoch=0) == replace(resumed.best, epoch=0)
    if live.best.repeats:
        own = [r for r in records if r.is_repeat and r.params["lr"] == live.best.trial]
        able = [max(m.value for m in r.measurements) for r in own
                if r.state != "failed" and r.epochs == 4]  # fmt: skip
        assert live.best.value == statistics.fmean(able[: live.best.repeats])
