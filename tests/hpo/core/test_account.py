import pytest

from hpo.core.account import Account
from hpo.core.budget import Budget, Spent
from hpo.core.ledger import Ledger
from hpo.core.trial import Measurement, Suggestion


class Clock:
    now = 50.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("hpo.core.account.time", made)
    return made


@pytest.fixture
def ledger():
    """Two searched trials and a confirmation: 2 + 1 + 3 epochs of two seconds each."""
    made = Ledger.create(None, "maximize")
    for number, (epochs, purpose) in enumerate([(2, "search"), (1, "search"), (3, "confirm")]):
        suggestion = Suggestion(number=number, params={}, latents={}, until_epoch=9)
        made.start(suggestion, now=0.0, clock=0.0, purpose=purpose)
        for epoch in range(1, epochs + 1):
            made.record(number, Measurement(epoch=epoch, value=0.5, seconds=2.0), clock=30.0)
    return made


def account(ledger, confirm=0, gpus=0.5, **limits):
    return Account(ledger, Budget(**limits), confirm=confirm, gpus_per_trial=gpus)


def test_what_is_counted(ledger):
    spent = account(ledger, trials=9).spent()
    assert spent == Spent(trials=2, seconds=30.0, gpu_seconds=6.0, epochs=6)


def test_the_clock_goes_on_from_the_ledger_and_only_while_started(ledger, clock):
    book = account(ledger, trials=9)
    clock.now += 100
    assert book.clock() == 30.0
    book.start_clock()
    clock.now += 4
    book.start_clock()
    clock.now += 1
    assert book.clock() == 35.0
    book.stop_clock()
    clock.now += 100
    book.stop_clock()
    assert book.clock() == 35.0
    book.start_clock()
    clock.now += 2
    assert book.clock() == 37.0


def test_trials_limit_only_what_is_new(ledger):
    book = account(ledger, trials=2)
    assert book.limit_of_search() == "trials"
    assert book.limit_of_everything() is None
    assert [book.limit_of(t) for t in ledger.trials()] == [None, None, None]


@pytest.mark.parametrize(
    ("limits", "searched", "all_of_it"),
    [
        ({"epochs": 6}, "epochs", "epochs"),
        ({"epochs": 7}, "epochs", None),  # 85 % of 7 are 5
        ({"epochs": 8}, "epochs", None),
        ({"epochs": 9}, None, None),  # 7
        ({"epochs": 1}, "epochs", "epochs"),
        ({"seconds": 35.2}, "seconds", None),  # 29.92
        ({"seconds": 35.4}, None, None),  # 30.09
        ({"gpu_seconds": 7.0}, "gpu_seconds", None),  # 5.95
        ({"gpu_seconds": 7.1}, None, None),  # 6.035
    ],
)
def test_confirmations_keep_their_part(ledger, limits, searched, all_of_it):
    book = account(ledger, confirm=2, **limits)
    assert book.limit_of_search() == searched
    assert book.limit_of_everything() == all_of_it
    first, _, repeat = ledger.trials()
    assert (book.limit_of(first), book.limit_of(repeat)) == (searched, all_of_it)


def test_without_confirmations_the_search_has_it_all(ledger):
    assert account(ledger, epochs=7).limit_of_search() is None
    assert account(ledger, epochs=6).limit_of_search() == "epochs"
