"""Algorithms around another one offer what it offers, also where `isinstance` asks no `__getattr__`."""

import inspect

import pytest

from hpo.algorithms.around import AroundAlgorithm
from hpo.algorithms.primary import StoppedByPrimary
from hpo.core import protocols
from hpo.core.trial import CONTINUE, Measurement

OFFERED = {
    protocols.OptunaView: "distributions", protocols.WarmStarter: "start_points",
    protocols.GroupedPruning: "peers", protocols.BackgroundAlgorithm: "settle",
    protocols.EventSource: "attach",
}  # fmt: skip


class Plain:
    """The contract alone; keeps what it was given."""

    def __init__(self):
        self.got = []

    def ask(self, number):
        return f"suggestion {number}"

    def restore(self, trial):
        self.got.append(("restore", trial))

    def report(self, number, measurement):
        self.got.append((number, measurement.value))
        return CONTINUE

    def tell(self, trial):
        self.got.append(("tell", trial))


class Able(Plain):
    """With all that may be offered besides."""

    distributions = {"train.lr": "log"}

    def start_points(self):
        return {4, 7}

    def peers(self, number):
        return frozenset({number, 9})

    def settle(self):
        return True

    def attach(self, emit):
        emit("attached")


def around(inner):
    return [AroundAlgorithm(inner), StoppedByPrimary(inner, "loss", -1.0)]


@pytest.mark.parametrize("place", [0, 1])
def test_what_an_algorithm_offers_is_seen_and_passed_on(place):
    outer, emitted = around(Able())[place], []
    for protocol, name in OFFERED.items():
        assert isinstance(outer, protocol)
        inspect.getattr_static(outer, name)  # as Python 3.12 looks: raises where there is none
    outer.attach(emitted.append)
    assert (outer.distributions, outer.start_points()) == ({"train.lr": "log"}, {4, 7})
    assert (outer.peers(3), outer.settle(), emitted) == (frozenset({3, 9}), True, ["attached"])


@pytest.mark.parametrize("place", [0, 1])
def test_what_it_lacks_is_answered_with_nothing(place):
    outer, emitted = around(Plain())[place], []
    outer.attach(emitted.append)
    assert (outer.distributions, list(outer.start_points())) == (None, [])
    assert (outer.peers(3), outer.settle(), emitted) == (None, False, [])


def test_the_contract_is_passed_on():
    inner = Plain()
    outer = AroundAlgorithm(inner)
    assert outer.ask(6) == "suggestion 6"
    outer.restore("a")
    assert outer.report(2, Measurement(epoch=3, value=0.75)) is CONTINUE
    outer.tell("b")
    assert inner.got == [("restore", "a"), (2, 0.75), ("tell", "b")]
