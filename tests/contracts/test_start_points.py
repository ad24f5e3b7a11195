"""No algorithm ever starts a trial from one that it had no more use for: its checkpoint is gone by then."""

import pytest

from hpo.run.checkpoint_retention import start_points_of
from tests.contracts.searching import HALVING, Search

SMALL = {"pbt": {"population_size": 8, "eval_interval": 3}}


class Removing(Search):
    """Forgets, after every end, each ended trial that the algorithm does not name and none runs from."""

    def __post_init__(self):
        self.gone, self.missed, self.most_kept = set(), [], 0
        super().__post_init__()

    def end(self, record, state):
        super().end(record, state)
        points = set(start_points_of(self.algorithm))
        assert points <= {r.number for r in self.records if r.number not in self.live}
        running = {self.records[n].start_from[0] for n in self.live if self.records[n].start_from}
        ended = {r.number for r in self.records} - set(self.live)
        self.gone |= ended - points - running
        self.most_kept = max(self.most_kept, len(ended - self.gone))

    def sources(self):
        return [r.start_from[0] for r in self.records if r.start_from]


def removing(name, *, style="rungs", seed=0, slots=1, fails=lambda number: False, most=60):
    return Removing(
        name, options=SMALL.get(name, {}), seed=seed, slots=slots, fails=fails, most=most,
        context={"style": style},
    )  # fmt: skip


def run_and_check(search):
    """Go on trial by trial, so that a source is judged at the moment it is asked for."""
    ask = search.algorithm.ask

    def watched(number):
        suggestion = ask(number)
        if suggestion is not None and suggestion.start_from is not None:
            search.missed += {suggestion.start_from[0]} & search.gone
        return suggestion

    search.algorithm.ask = watched
    return search.run()


@pytest.mark.parametrize("slots", [1, 3, 8])
@pytest.mark.parametrize("name", HALVING)
def test_what_is_started_from_was_kept(name, slots):
    for seed in range(2 if name in ("bohb", "hyperband_es") else 4):
        search = run_and_check(removing(name, seed=seed, slots=slots))
        assert search.sources()
        assert search.missed == []


@pytest.mark.parametrize("name", ["hyperband", "asha", "dehb", "pbt"])
def test_also_where_trials_fail(name):
    for slots in (1, 4):
        search = run_and_check(removing(name, slots=slots, fails=lambda number: number % 5 == 3))
        assert search.sources()
        assert search.missed == []


@pytest.mark.parametrize("name", ["hyperband", "dehb", "pbt"])
def test_and_the_rest_is_let_go(name):
    """Naming every trial would be right and of no use."""
    search = run_and_check(removing(name, slots=3))
    assert len(set(search.sources())) >= 2
    assert len(search.gone) >= len(search.records) // 2
    assert search.most_kept < len(search.records) // 2 + 3


@pytest.mark.parametrize("name", ["tpe", "random", "bayesian"])
def test_those_that_never_start_from_a_trial_need_none(name):
    assert not start_points_of(removing(name, style="running").algorithm)
