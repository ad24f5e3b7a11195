"""Shared by all tests: their trainers may be named in studies; `--fast` leaves slow tests out.

`pytest --record-slow` writes the tests that took longer than `SLOW_S` into `slow_tests.txt`, and
`pytest --fast` leaves those and tests of Ray out. A test that is not in the list counts as fast.
"""

import atexit
import fcntl
import gc
import logging
import os
import shutil
import signal
import sys
from pathlib import Path

import _pytest.logging
import pytest

os.environ.setdefault("HPO_TRAINER_MODULES", "tests")
# Read when numpy and torch are first imported, here and in the processes that tests start: small
# operations gain nothing from threads and lose much to them on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# To import MLflow and to make its store takes seconds: tests of it switch it on.
os.environ.setdefault("HPO_MLFLOW", "off")
# What one search found must not change the next test's: tests of it switch it on.
os.environ.setdefault("HPO_MEMORY", "off")
# Tests start hundreds of processes; without bytecode each of them compiles the packages anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Tests write ten thousands of small files and flush each of them: on a disk that takes half of a
# search's time. Where memory has room they lie there, and what a killed run left does not fill it.
MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes folders of its own in it
if os.access(MEMORY, os.W_OK):
    room = shutil.disk_usage(MEMORY)
    if room.free > max(6 << 30, 0.75 * room.total):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))  # pytest's own variable


class CatchingLogs(_pytest.logging.catching_logs):
    """Attaches to the root and to those loggers beside it whose records tests may ask for.

    Pytest looks through all, and attaches to each that does not propagate, six times a test: torch
    has sixty of these among seven hundred.
    """

    BESIDE = ("lightning_fabric", "mlflow", "optuna", "pytorch_lightning", "ray", "torch")

    def __enter__(self):
        beside = [one for name in self.BESIDE if not (one := logging.getLogger(name)).propagate]
        for logger in (logging.getLogger(), *beside):
            logger.addHandler(self.handler)
            self.attached_loggers.append(logger)
        if self.level is not None:
            self.handler.setLevel(self.level)
            self.orig_level = logging.getLogger().level
            logging.getLogger().setLevel(min(self.orig_level, self.level))
        return self.handler


_pytest.logging.catching_logs = CatchingLogs

SLOW_S = 0.15
LIST = Path(__file__).with_name("slow_tests.txt")


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are named by their parameter: they may hold the time, and workers must agree on names."""
    return argname if isinstance(val, bytes) else None


def pytest_addoption(parser):
    parser.addoption(
        "--fast", action="store_true", help="leave out tests of Ray and slow_tests.txt"
    )
    parser.addoption("--record-slow", action="store_true", help="write slow_tests.txt anew")


def pytest_configure(config):
    if config.getoption("--record-slow") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(DurationRecorder())


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Imports and tests make millions of objects that stay: half the time went in search of garbage.

    They stay frozen for the tests too: each search among them takes half a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        _freeze()
        atexit.register(gc.unfreeze)
        gc.enable()


def _freeze():
    global _modules  # noqa: PLW0603 - one number of this process
    gc.freeze()
    _modules = len(sys.modules)


_modules = 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    """Freeze what tests have imported since: torch's compiler alone makes a million objects."""
    try:
        return (yield)
    finally:
        if len(sys.modules) > _modules + 50:
            gc.collect()
            _freeze()


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--fast"):
        return
    slow = set(LIST.read_text(encoding="utf-8").splitlines())
    left_out = {item for item in items if item.nodeid in slow or item.get_closest_marker("ray")}
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


class DurationRecorder:
    """Adds up set-up, call and tear-down of every test, and writes the slow ones at the end."""

    def __init__(self):
        self.seconds = {}

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self):
        slow = sorted(name for name, seconds in self.seconds.items() if seconds > SLOW_S)
        LIST.write_text("".join(f"{name}\n" for name in slow), encoding="utf-8")


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory):
    """A folder for all workers of a session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def drawn(common_folder):
    """A cache folder for all workers of a session: the embedded pictures of seed 0 are drawn once."""
    folder = common_folder / "drawn"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def made_once(common_folder):
    """Make a folder that tests only read, by the first worker that needs it: `made_once(name, make)`."""

    def find(name, make):
        folder, sign = common_folder / name, common_folder / f"{name}.made"
        with (common_folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not sign.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                sign.touch()
        return folder

    return find


@pytest.fixture
def sighup_as_in_a_terminal():
    """As a test run under nohup would not have it; processes that are started inherit it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
