"""When something is due again, by a clock that is moved by hand."""

import pytest

from hpo.core.pacing import PROMPT_S, SHARE, Pacer


class Clock:
    """A clock that a test moves by hand."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def done(pacer, clock, took):
    with pacer.timed():
        clock.now += took


def first_due(pacer, clock, least_s=0.0, step=0.25):
    """Seconds until it is due, found by looking again and again."""
    began = clock.now
    while not pacer.is_due(least_s):
        clock.now += step
    return clock.now - began


@pytest.mark.parametrize("took", [0.5, 3.0, 40.0])
def test_what_takes_long_is_due_after_many_times_as_long(clock, took):
    pacer = Pacer(clock)
    assert pacer.is_due()
    done(pacer, clock, took)
    assert first_due(pacer, clock) == SHARE * took


def test_its_share_of_the_time_is_small_however_often_it_is_wanted(clock):
    pacer, busy = Pacer(clock), 0.0
    while clock.now < 10_000:
        if pacer.is_due():
            done(pacer, clock, 2.0)
            busy += 2.0
        clock.now += 0.5
    assert busy / (clock.now - 100) == pytest.approx(1 / (1 + SHARE), rel=0.05)


def test_what_is_quick_waits_for_nothing_but_what_the_caller_asks(clock):
    pacer = Pacer(clock)
    done(pacer, clock, PROMPT_S / 2)
    assert pacer.is_due()
    assert first_due(pacer, clock, least_s=1.5) == 1.5


def test_one_that_became_quick_waits_no_longer(clock):
    pacer = Pacer(clock)
    done(pacer, clock, 4.0)
    done(pacer, clock, 0.0)
    assert pacer.is_due()


def test_one_that_failed_is_paced_too(clock):
    pacer = Pacer(clock)
    with pytest.raises(OSError, match="full"), pacer.timed():
        clock.now += 2.0
        raise OSError("full")
    assert first_due(pacer, clock) == 2.0 * SHARE
