"""A search in stages: order, batches, parents; and that a replay proposes the same."""

import pytest

from hpo.algorithms.for_study import build_algorithm
from hpo.core.budget import Budget
from hpo.core.stages import LEAST_PAIRS
from hpo.core.trial import Measurement, TrialState
from hpo.run.ledger import Ledger
from hpo.run.replay import replay
from hpo.searching.make_plan import plan_study
from hpo.study.plan import build_space
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from tests.staged_trainer import EARLIER, NAME, SEARCH, TRAINER

WIDE = {"ranges": {"train.margin": {"low": 1e-6, "high": 2.0, "log": True}}}
"""Draws in it are hardly ever alike."""


class Driven:
    """An algorithm asked and told as an engine does it, one launch at a time.

    Args:
        values: number -> value of a trial; default: by its parameters.
        heads: of the definition of the stage.
    """

    def __init__(self, values=None, *, heads=None, algorithm="random", **search):
        stage = EARLIER["heads"] | {"share": 0.9} | (heads or {})
        options = SEARCH | {"earlier_stages": {"heads": stage}, "algorithm": algorithm}
        search = SearchOptions(**options | search, pruner="none")
        study = StudySpec(trainer=NAME, budget=Budget(trials=40), search=search)
        plan = plan_study(study, TRAINER)
        space = build_space(study, TRAINER, plan.base_spec, num_trials=40)
        self.make = lambda: build_algorithm(study, plan, TRAINER, space)
        self.algorithm, self.ledger = self.make(), Ledger.create(None, "maximize")
        self.values, self.events = values or {}, []
        self.algorithm.attach(self.events.append)
        self.share = 0.0

    def ask(self):
        self.algorithm.pace(self.share)
        suggestion = self.algorithm.ask(self.ledger.next_number)
        return suggestion and self.ledger.start(suggestion, now=0, clock=0)

    def end(self, record, state=TrialState.COMPLETE):
        value = self.values.get(record.number, record.params.get("train.margin", 0.5))
        for epoch in range(1, record.until_epoch + 1):
            measurement = Measurement(epoch=epoch, value=value)
            self.ledger.record(record.number, measurement, clock=0)
            self.algorithm.report(record.number, measurement)
        self.ledger.finish(record.number, state, now=0, clock=0)
        self.algorithm.tell(record)

    def step(self):
        """One launch: a trial, or a whole batch."""
        records = [self.ask()]
        while self.algorithm.open_batch() is not None:
            records.append(self.ask())
        for record in records:
            self.end(record)
        return records

    def run(self, launches):
        return [record for _ in range(launches) for record in self.step()]


def places(records):
    return [(t.stage.name, t.stage.batch, t.stage.parent) for t in records]


def test_the_default_then_batches_of_heads_then_children_of_the_best():
    driven = Driven({1: 0.3, 2: 0.6, 3: 0.5, 4: 0.2, 5: 0.55, 6: 0.1}, heads=WIDE)
    records = driven.run(5)
    assert places(records) == [
        ("full", None, None),
        *[("heads", 1, None)] * 3,
        *[("heads", 4, None)] * 3,
        ("full", None, 2),
        ("full", None, 5),
    ]
    first, default = records[7], records[0]
    assert first.params == {"train.margin": records[2].params["train.margin"], **default.params}
    assert first.latents == default.latents
    assert records[8].params["train.margin"] == records[5].params["train.margin"]
    assert "begins with trial 2 (heads, 0.6000)" in first.note
    told = [event.text for event in driven.events if event.name == "algorithm"]
    assert told == ["heads: 6 trials, the best 0.6000; full goes on from the best"]


def test_later_children_take_the_best_parent_and_a_new_one_in_turn():
    values = {1: 0.3, 2: 0.6, 3: 0.5, 4: 0.2, 5: 0.55, 6: 0.1, 7: 0.7, 8: 0.8, 9: 0.75}
    records = Driven(values, heads=WIDE).run(9)
    parents = [t.stage.parent for t in records[7:]]
    assert parents[:3] == [2, 5, 5]  # 8, from 5, is the best so far
    assert parents[3] == 3
    assert parents[4] == 5
    assert records[9].latents != records[0].latents


FIRST = {
    name: {"train.lr": lr, "train.width": width}
    for name, lr, width in [("a", 0.004, 96), ("b", 0.02, 160), ("c", 0.03, 200)]
}


@pytest.mark.parametrize(
    ("algorithm", "names"), [("random", "abc"), ("hyperband", "ab"), ("tpe", "a"), ("mfbo", "")]
)
def test_what_a_search_begins_with_follows_the_default_under_every_head(algorithm, names):
    """All of it, the best first and then the design, as where no stage comes before."""
    first = {name: FIRST[name] for name in names}
    staged = Driven(heads=WIDE, algorithm=algorithm, first_trials=first)
    alone = Driven(algorithm=algorithm, first_trials=first, earlier_stages={}).algorithm
    children = [t.latents for t in staged.run(10)[7:]]
    expected = [alone.ask(number).latents for number in range(6)]
    begun = 4 if algorithm in ("tpe", "mfbo") else 1 + len(names)  # with the design of a model
    assert children[:2] == [expected[0]] * 2
    assert children[2 : begun + 1] == expected[1:begun]
    assert [row["train.lr"] for row in expected[1 : len(names) + 1]] == [
        values["train.lr"] for values in first.values()
    ]


def test_a_replay_between_two_defaults_goes_on_with_the_best_configuration():
    driven = Driven(heads=WIDE, first_trials=FIRST)
    driven.run(4)
    assert driven.ledger.trial(7).stage.parent is not None
    driven.algorithm = driven.make()
    replay(driven.algorithm, driven.ledger)
    rates = [record.params["train.lr"] for record in driven.run(4)]
    assert rates == [0.001, 0.004, 0.02, 0.03]


def test_a_run_that_began_before_defaults_were_marked_goes_on_as_it_would_have():
    """It has passed over the best two, and the third comes next."""
    driven = Driven(heads=WIDE, first_trials=FIRST)
    driven.run(5)
    for number in (7, 8):
        driven.ledger.trial(number).memo = None
    again = driven.make()
    replay(again, driven.ledger)
    assert again.ask(9).params["train.lr"] == 0.03


def test_heads_that_hand_on_alike_values_are_one_parent():
    driven = Driven(heads={"ranges": {"train.margin": {"low": 0.5, "high": 0.55}}})
    records = driven.run(6)
    assert len({t.stage.parent for t in records[7:]}) == 1


def test_a_stage_ends_by_its_share_and_never_begins_late():
    driven = Driven(heads={"share": 0.2, "trials": 30})
    driven.run(1)
    driven.share = 0.3
    driven.step()
    driven.share = 0.45
    assert driven.step()[0].stage.name == "heads"  # 0.15 are gone
    driven.share = 0.5
    assert driven.step()[0].stage.name == "full"
    driven.share = 0.4  # more budget was given: a stage that was left is not gone back to
    assert driven.step()[0].stage.name == "full"
    late = Driven()
    late.run(1)
    late.share = 0.6
    assert places(late.step()) == [("full", None, None)]
    (told,) = late.events
    assert (told.step, told.trial) == ("skipped", 1)
    assert told.text.startswith("heads: 50% of the budget were gone before the stage could begin")
    late.step()
    assert len(late.events) == 1


def test_a_child_waits_for_the_heads_that_still_run():
    driven = Driven(heads={"batch": 1, "trials": 2})
    driven.run(1)
    first, second = driven.ask(), driven.ask()
    driven.end(first)
    assert driven.ask() is None
    driven.end(second, TrialState.FAILED)
    assert driven.ask().stage.parent == first.number


def test_without_a_head_that_has_a_value_trials_are_trained_as_ever():
    driven = Driven(heads={"batch": 1, "trials": 1})
    driven.run(1)
    driven.end(driven.ask(), TrialState.FAILED)
    record = driven.ask()
    assert (record.stage.parent, "train.margin" in record.params) == (None, False)
    assert "none of 1 trial has a value" in driven.events[-1].text


def test_an_order_that_misleads_is_skipped_from_then_on():
    heads = {number: 0.9 - number / 100 for number in range(1, 10)}
    whole = {number: number / 100 for number in range(10, 30)}
    driven = Driven(heads | whole, heads={"trials": 9})
    records = driven.run(4)
    while len({t.stage.parent for t in records[10:]}) < LEAST_PAIRS:
        records += driven.step()
    assert driven.step()[0].stage.parent is None
    assert "skipped from now on" in driven.events[-1].text


def test_a_replay_goes_on_as_the_unbroken_search_does_also_in_a_batch():
    for cut in (0, 1, 2, 5, 6, 8, 10):
        driven = Driven(algorithm="tpe")
        while driven.ledger.next_number < cut:
            driven.end(driven.ask())
        again = driven.make()
        replay(again, driven.ledger)
        again.pace(driven.share)
        assert again.open_batch() == driven.algorithm.open_batch()
        number = driven.ledger.next_number
        assert again.ask(number) == driven.algorithm.ask(number)
        assert again.start_points() == driven.algorithm.start_points()


def test_peers_are_of_the_same_stage_and_parents_are_kept():
    driven = Driven()
    driven.run(3)
    assert driven.algorithm.peers(1) == {1, 2, 3, 4, 5, 6}
    assert driven.algorithm.peers(0) == {0}
    assert set(driven.algorithm.start_points()) == {1, 2, 3, 4, 5, 6}
    assert set(driven.algorithm.distributions) == {"train.margin"}
