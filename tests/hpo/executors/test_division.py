import pytest

from hpo.executors.division import divide_machine


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
