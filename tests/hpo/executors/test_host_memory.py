"""How many trials the memory of a machine without a GPU holds, against sums by hand."""

import pytest

from hpo.executors.division import divide_machine
from hpo.executors.gpu_sharing import measure_packed
from hpo.executors.host_memory import fit_in_memory


class Host:
    """An executor that measures `peak` and remembers how many were measured at a time."""

    def __init__(self, peak, places):
        self.peak, self.places, self.measured = peak, places, []

    def divide(self, places):
        self.places = places

    def call_in_all_slots(self, method, spec, brief=False):
        assert method == "probe"
        self.measured.append((self.places.count, "brief") if brief else self.places.count)
        return [{"peak_memory_mib": self.peak, "seconds_per_epoch": 2.0}] * self.places.count


@pytest.mark.parametrize(
    ("peak", "free", "count", "cpus", "measured"),
    [
        (5000.0, 32768, 4, 2, []),  # four times the 8 GiB that are ample
        (5000.0, 32767, 4, 2, [1]),  # 5500 each
        (5000.0, 21999, 3, 2, [1]),
        (5000.0, 16000, 2, 4, [1]),
        (5000.0, 3000, 1, 8, [1]),  # one is tried in any case
        (None, 3000, 4, 2, [1]),  # a trainer that does not tell
        (5000.0, None, 4, 2, []),
    ],
)
def test_as_many_trials_as_memory_holds(peak, free, count, cpus, measured):
    places = divide_machine(None, cpus=8, gpus=0)
    host = Host(peak, places)
    found, words = fit_in_memory(host, {}, places, free)
    assert (found.count, found.cpus) == (count, cpus)
    assert host.measured == measured
    assert host.places == found
    assert bool(words) is (count < 4)


def test_the_reason_names_the_figures_and_the_way_round():
    places = divide_machine(None, cpus=8, gpus=0)
    _, words = fit_in_memory(
        Host(2000.0, places), {}, places, 9000, (2.0, "at train.batch_size 64")
    )
    assert words == (
        "each takes 2000 MiB at the peak, up to 2 times that at train.batch_size 64, with a margin "
        "4400, and 9000 MiB of memory are free, where there are cores for 4 trials; --concurrent 4 "
        "runs as many"
    )


@pytest.mark.parametrize(("cpus", "gpus"), [(1, 0), (8, 2)])
def test_one_place_and_gpus_are_left_alone(cpus, gpus):
    places = divide_machine(None, cpus=cpus, gpus=gpus)
    assert fit_in_memory(Host(9e9, places), {}, places, 100) == (places, "")


@pytest.mark.parametrize("briefly", [True, False])
@pytest.mark.parametrize("as_told", [True, False])
def test_a_number_that_the_user_gave_stays(monkeypatch, as_told, briefly):
    places = divide_machine(None, cpus=3, gpus=0)
    host = Host(1000.0, places)
    monkeypatch.setattr("hpo.executors.gpu_sharing.free_memory_mib", lambda: 2300)
    probe, found, packing = measure_packed(host, {}, places, None, as_told=as_told, briefly=briefly)
    assert probe["peak_memory_mib"] == 1000.0
    assert found.count == (3 if as_told else 2)
    assert (packing and packing.at_a_time) == (None if as_told else 2)
    assert host.measured == ([3] if as_told else [(1, "brief") if briefly else 1, 2])
