"""How many trials share a GPU."""

import dataclasses

import pytest

from hpo.core.errors import SpecError
from hpo.core.machine import Machine, Node
from hpo.executors.division import divide_nodes
from hpo.executors.gpu_sharing import fit_on_card, growth_of, measure_packed
from hpo.executors.ray import RemoteError
from hpo.study.sharing import check_sharing
from tests.quick_runs import quick_space
from tests.quick_trainer import TRAINER

CARD = 24_000.0


def slots(cpus=32, gpus=2, **more):
    machine = Machine(nodes=(Node(cpus=cpus, gpus=gpus),))
    return divide_nodes(None, machine, **more)


def probe(peak, seconds=1.0, total=CARD):
    return {"peak_memory_mib": peak, "total_memory_mib": total, "seconds_per_epoch": seconds}


class Card:
    """An executor whose card trains `speed(n)` times as fast with n trials on it as with one."""

    def __init__(self, peak, speed, places, most=99, free=CARD):
        self.peak, self.speed, self.places, self.heard = peak, speed, places, []
        self.most, self.free = most, free

    def divide(self, places):
        self.places = places
        self.heard.append(places.per_card)

    def call_in_all_slots(self, method, spec):
        number = self.places.per_card
        if number > self.most:
            failure = {"kind": "out_of_memory", "message": "train.batch_size 32: not enough memory"}
            raise RemoteError(failure, "")
        told = probe(self.peak, number / self.speed(number)) | {"free_memory_mib": self.free}
        return [told] * self.places.count


@pytest.mark.parametrize(
    ("peak", "cpus", "number", "words"),
    [
        (4000.0, 32, 4, "4000 MiB at the peak, with a margin 5600 of the card's 24000 MiB each"),
        (9000.0, 32, 2, ": 2 fit"),  # 11850 each
        (9001.0, 32, 2, ": 2 fit"),
        (9200.0, 32, 1, ": one fits"),  # 12100 each
        (30000.0, 32, 1, ": one fits"),
        (100.0, 32, 8, "33 fit, and at most 8 are used"),
        (1000.0, 8, 4, "as many as there are CPU cores for each GPU"),
        (1000.0, 1, 1, "as many as there are CPU cores"),
    ],
)
def test_as_many_as_fit_with_a_margin(peak, cpus, number, words):
    found = fit_on_card(probe(peak), slots(cpus=cpus))
    assert found.per_gpu == number
    assert words in found.reason


@pytest.mark.parametrize(("trials", "number"), [(None, 4), (40, 4), (5, 3), (4, 2), (2, 1), (1, 1)])
def test_no_card_is_shared_by_more_trials_than_there_are(trials, number):
    found = fit_on_card(probe(4000.0), slots(trials=trials), trials=trials)
    assert found.per_gpu == number
    assert ("as many as there are trials for each GPU" in found.reason) is (number < 4)


def test_a_batch_that_is_searched_counts_at_its_largest():
    found = fit_on_card(probe(4000.0), slots(), (2.0, "at train.batch_size 64"))
    assert found.per_gpu == 2  # 10600 each
    assert "up to 2 times that at train.batch_size 64" in found.reason


def test_where_nothing_is_known_nothing_is_shared():
    assert fit_on_card(probe(10.0), slots(gpus=0)).reason.startswith("no GPU is visible")
    assert fit_on_card({}, slots()).per_gpu == 1
    assert fit_on_card(probe(10.0), slots(devices=2)).reason == "each trial has 2 GPUs to itself"


def test_auto_measures_alone_and_then_together():
    card = Card(4000.0, lambda number: number**0.5, slots())
    measured, places, packing = measure_packed(card, {}, slots(), "auto")
    assert card.heard == [4]
    assert (places.count, places.gpus, places.cpus) == (8, 0.25, 4)
    assert places.memory_share == 0.25
    assert measured["seconds_per_epoch"] == 2.0  # of one of four, 2 times as fast in all
    assert packing.per_gpu == 4
    assert "together they train 2.0 times as fast as one" in packing.reason


@pytest.mark.parametrize(
    ("most", "heard", "number", "words"),
    [
        (
            3,
            [4, 3],
            3,
            "4 fit, and yet 4 together ran out of memory; together they train 3.0 times",
        ),
        (1, [4, 3, 2, 1], 1, "4 fit, and yet 2 together ran out of memory"),
    ],
)
def test_fewer_share_a_card_where_memory_does_not_suffice(most, heard, number, words):
    card = Card(4000.0, lambda number: number, slots(), most)
    measured, places, packing = measure_packed(card, {}, slots(), "auto")
    assert card.heard == heard
    assert (places.per_card, packing.per_gpu) == (number, number)
    assert places.count == 2 * number
    assert measured["seconds_per_epoch"] == 1.0
    assert words in packing.reason


def test_what_others_hold_of_a_card_is_not_counted():
    card = Card(4000.0, lambda number: number, slots(), free=21_000.0)
    _, places, packing = measure_packed(card, {}, slots(), "auto")
    assert places.per_card == 3
    assert "5600 of the card's 24000 MiB each, of which 21600 are free: 3 fit" in packing.reason


def test_trials_that_only_take_turns_do_not_share():
    card = Card(4000.0, lambda number: 1.0, slots())
    measured, places, packing = measure_packed(card, {}, slots(), "auto")
    assert card.heard == [4, 1]
    assert (places.count, places.memory_share) == (2, None)
    assert measured["seconds_per_epoch"] == 1.0
    assert packing.per_gpu == 1
    assert packing.reason == "4 would fit, but are together no quicker than one (x1.00)"


def test_a_number_is_taken_at_its_word_and_warned_of():
    places = slots(per_card=3)
    _, kept, packing = measure_packed(Card(9000.0, lambda n: 1.0, places), {}, places, 3)
    assert kept is places
    assert packing.per_gpu == 3
    assert "each may take 7400 MiB and was measured to take 9000, which is TOO LITTLE" in (
        packing.reason
    )
    _, _, packing = measure_packed(Card(5000.0, lambda n: 1.0, places), {}, places, 3)
    assert "TOO LITTLE" not in packing.reason


def test_without_the_wish_nothing_is_said():
    card = Card(10.0, lambda number: number, slots())
    assert measure_packed(card, {}, slots(), None)[1:] == (slots(), None)
    assert card.heard == []


def test_growth_of_a_searched_batch():
    trainer = dataclasses.make_dataclass("T", ["multiple_of"])({"train.width": "x"})
    space = quick_space()
    width = next(p for p in space.parameters if p.name == "train.width").distribution["high"]
    factor, why = growth_of(space, trainer, {"train": {"width": 100}})
    assert factor == width / 100
    assert why == f"at train.width {width:g}"
    assert growth_of(space, TRAINER, {"train": {"width": 100}}) == (1.0, "")


@pytest.mark.parametrize(("given", "read"), [("auto", "auto"), ("3", 3), (2, 2), (None, None)])
def test_the_wish_is_read(given, read):
    assert check_sharing(given, None, "here") == read


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5", 0])
def test_other_wishes_are_one_line(given):
    with pytest.raises(SpecError, match=r"^--trials-per-gpu: must be auto or a number from 1, got"):
        check_sharing(given, None, "--trials-per-gpu")


def test_two_wishes_at_once_are_refused():
    with pytest.raises(SpecError, match=r"cannot stand beside `concurrent` \(4\)"):
        check_sharing("auto", 4, "trials_per_gpu")
