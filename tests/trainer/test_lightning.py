import sys
from importlib import import_module

import pytest
import scipy

from trainer.lightning import signal_processing_later

NAME = "scipy.signal"


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch):
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    monkeypatch.delitem(vars(scipy), "signal", raising=False)


def test_torchmetrics_is_imported_without_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "torchmetrics")  # its parts stay
    with signal_processing_later():
        assert import_module("torchmetrics").Metric
    assert NAME not in sys.modules


def test_who_uses_it_meanwhile_or_afterwards_has_the_module_itself():
    with signal_processing_later():
        early = import_module(NAME)
        assert scipy.signal.find_peaks([0, 1, 0])[0].tolist() == [1]
        assert early.find_peaks is import_module(NAME).find_peaks
    assert import_module(NAME).__file__
    loaded = sys.modules[NAME]
    with signal_processing_later():  # one that is there stays
        assert import_module(NAME) is loaded
    assert sys.modules[NAME] is loaded


def test_a_part_of_it_is_found_meanwhile(monkeypatch):
    """Other releases of TorchMetrics may import a module inside it."""
    for name in [name for name in sys.modules if name.startswith(f"{NAME}.")]:
        monkeypatch.delitem(sys.modules, name)
    with signal_processing_later():
        import_module(NAME)
        assert import_module(f"{NAME}.windows").hann(4) == pytest.approx([0, 0.75, 0.75, 0])
    assert import_module(NAME).__file__
