import pytest

from hpo.core.errors import SpecError
from hpo.core.machine import Machine, Node
from hpo.executors.division import divide_machine, divide_nodes, share_cards


@pytest.mark.parametrize(
    ("concurrent", "cpus", "gpus", "count", "cpus_each", "gpus_each"),
    [
        (None, 2, 0, 2, 1, 0.0),
        (None, 64, 0, 4, 16, 0.0),
        (None, 1, 0, 1, 1, 0.0),
        (None, 16, 1, 1, 16, 1.0),
        (None, 16, 4, 4, 4, 1.0),
        (2, 16, 1, 2, 8, 0.5),
        (3, 16, 1, 3, 5, 0.3333),
        (3, 16, 2, 3, 5, 0.5),  # two on one card, one on the other
        (5, 16, 2, 5, 3, 0.3333),
        (2, 16, 4, 2, 8, 1.0),
        (4, 2, 0, 4, 0.5, 0.0),
        (3, 2, 0, 3, 0.6666, 0.0),
        (1, 8, 0, 1, 8, 0.0),
    ],
)
def test_places_for_trials(concurrent, cpus, gpus, count, cpus_each, gpus_each):
    slots = divide_machine(concurrent, cpus=cpus, gpus=gpus)
    assert (slots.count, slots.cpus, slots.gpus) == (count, cpus_each, gpus_each)
    assert (slots.total_cpus, slots.total_gpus) == (cpus, gpus)


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize("concurrent", [1, 2, 3, 5, 7, 16, 30])
def test_all_places_fit_at_once(concurrent, gpus):
    """Cards are not split across: first-fit of the shares must place every trial."""
    slots = divide_machine(concurrent, cpus=4, gpus=gpus)
    free = [1.0] * gpus
    for _ in range(slots.count):
        card = next(i for i, room in enumerate(free) if room >= slots.gpus - 1e-9)
        free[card] -= slots.gpus
    assert slots.count * slots.cpus <= 4 + 1e-9


@pytest.mark.parametrize(
    ("per_card", "gpus", "count", "cpus_each", "gpus_each", "share"),
    [(1, 2, 2, 8, 1.0, None), (2, 2, 4, 4, 0.5, 0.5), (3, 1, 3, 5, 0.3333, 1 / 3)],
)
def test_trials_that_share_a_card(per_card, gpus, count, cpus_each, gpus_each, share):
    slots = divide_machine(None, cpus=16, gpus=gpus, per_card=per_card)
    assert (slots.count, slots.cpus, slots.gpus) == (count, cpus_each, gpus_each)
    assert slots.per_card == per_card
    assert slots.memory_share == share


@pytest.mark.parametrize(
    ("concurrent", "cpus", "gpus", "count", "gpus_each", "threads"),
    [
        (None, 32, 8, 4, 2.0, 4),
        (1, 32, 8, 1, 2.0, 16),
        (9, 32, 8, 4, 2.0, 4),  # no more than there are cards for
        (None, 32, 3, 1, 2.0, 16),
        (None, 4, 0, 2, 0.0, 1),  # processes on the CPU
        (None, 1, 0, 1, 0.0, 1),
    ],
)
def test_trials_of_two_devices(concurrent, cpus, gpus, count, gpus_each, threads):
    slots = divide_machine(concurrent, cpus=cpus, gpus=gpus, devices=2)
    assert (slots.count, slots.gpus, slots.threads) == (count, gpus_each, threads)
    assert slots.memory_share is None


def cluster(*nodes):
    return Machine(nodes=tuple(Node(cpus=cpus, gpus=gpus) for cpus, gpus in nodes))


@pytest.mark.parametrize(
    ("nodes", "concurrent", "more", "count", "cpus_each", "gpus_each"),
    [
        ([(8, 0), (8, 0)], None, {}, 8, 2, 0.0),  # up to four a node
        ([(8, 0), (8, 0)], 2, {}, 2, 8, 0.0),
        ([(1, 0), (1, 0), (1, 0)], None, {}, 3, 1, 0.0),
        ([(16, 4), (16, 4), (8, 0)], None, {}, 8, 4, 1.0),  # the head without GPUs runs none
        ([(16, 4), (16, 2)], None, {}, 6, 4, 1.0),
        ([(16, 2), (16, 2)], None, {"per_card": 2}, 8, 4, 0.5),
        ([(16, 1), (16, 1)], 4, {}, 4, 8, 0.5),
        ([(16, 2), (16, 1)], None, {"devices": 2}, 1, 16, 2.0),
        # Nodes that are not alike: no card is shared while another is free.
        ([(32, 4), (32, 1)], 4, {}, 4, 10, 1.0),
        ([(32, 4), (32, 2)], 6, {}, 6, 8, 1.0),
        ([(32, 4), (32, 1)], 6, {}, 6, 8, 0.5),
        ([(16, 8), (16, 2)], 4, {"devices": 2}, 4, 5, 2.0),
        ([(8, 0), (2, 0)], 4, {}, 4, 2, 0.0),
    ],
)
def test_places_on_several_nodes(nodes, concurrent, more, count, cpus_each, gpus_each):
    slots = divide_nodes(concurrent, cluster(*nodes), **more)
    assert (slots.count, slots.cpus, slots.gpus) == (count, cpus_each, gpus_each)


@pytest.mark.parametrize("concurrent", [None, 1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("devices", [1, 2])
def test_all_places_fit_on_their_nodes_at_once(concurrent, devices):
    nodes = [(32, 4), (8, 1), (12, 2), (64, 0)]
    slots = divide_nodes(concurrent, cluster(*nodes), devices=devices)
    placed = 0
    for cores, gpus in nodes:
        cpus, cards = float(cores), [1.0] * gpus
        while cpus >= slots.cpus and cards:
            room = [i for i, left in enumerate(cards) if left >= min(slots.gpus, 1.0) - 1e-9]
            if len(room) < devices:
                break
            for i in room[:devices]:
                cards[i] -= min(slots.gpus, 1.0)
            cpus, placed = cpus - slots.cpus, placed + 1
    assert placed >= slots.count >= min(concurrent or 3, 3)


def test_cards_are_shared_on_the_nodes_that_have_them():
    one_each = divide_nodes(None, cluster((32, 0), (8, 1), (8, 1)))
    shared = share_cards(one_each, 4)
    assert (shared.count, shared.cpus, shared.gpus) == (8, 2, 0.25)  # a node's 8 cores, not 48
    assert (shared.per_card, shared.memory_share) == (4, 0.25)
    assert share_cards(divide_nodes(None, cluster((2, 1))), 4).cpus == 0.5


def test_a_trial_does_not_span_nodes():
    with pytest.raises(SpecError, match="a trial asks for 2 GPUs, available here: 1"):
        divide_nodes(None, cluster((8, 1), (8, 1)), devices=2)
