"""An epoch is measured where and as trials will run."""

import time

import pytest

from hpo.executors.probing import probe_slots


class Slots:
    """Two slots of unequal speed; a call takes a tenth of a second, of which half is the probe."""

    def call_in_all_slots(self, method, spec):
        assert (method, spec) == ("probe", {"a": 1})
        time.sleep(0.1)
        return [
            {"seconds_per_epoch": 2.0, "peak_memory_mib": 900.0, "took_s": 0.05},
            {"seconds_per_epoch": 3.0, "peak_memory_mib": 700.0, "took_s": 0.05},
        ]


def test_the_slowest_slot_counts_and_the_highest_peak():
    probe = probe_slots(Slots(), {"a": 1})
    assert (probe["seconds_per_epoch"], probe["peak_memory_mib"]) == (3.0, 900.0)
    assert probe["start_s"] == pytest.approx(0.05, abs=0.04)


def test_a_trainer_that_does_not_say_how_long_it_took():
    class Silent:
        def call_in_all_slots(self, method, spec):
            return [{"seconds_per_epoch": 2.0}]

    assert probe_slots(Silent(), {}) == {"seconds_per_epoch": 2.0, "start_s": 0.0}
