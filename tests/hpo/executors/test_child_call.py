"""A trainer's method in another process: result, progress, errors, death."""

import os
import sys

import pytest

from hpo.executors.child_call import CallFailedError, call_in_child
from tests import quick_trainer

NAME = "tests.hpo.executors.test_child_call:CALLED"


class Called(quick_trainer.QuickTrainer):
    """What is called in the child."""

    def add(self, first, second, progress):
        print("a library prints this")
        progress("adding", 1, 2)
        progress("adding", 2, 2)
        return {"sum": first + second, "pid": os.getpid(), "has_torch": "torch" in sys.modules}

    def refuse(self, progress):
        error = RuntimeError("no such file")
        error.kind = "data"
        raise error

    def leave(self, progress):
        sys.exit(0)

    def die(self, progress):
        print("the last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 9)


CALLED = Called()


def call(method, heard=None, **arguments):
    assert quick_trainer.NAME  # its import lets files of the tests be trainers
    tell = (lambda *_: None) if heard is None else (lambda *words: heard.append(words))
    return call_in_child(NAME, method, arguments, tell)


def test_the_result_comes_back_after_the_progress():
    heard = []
    found = call("add", heard, first=2, second=40)
    assert found["sum"] == 42
    assert found["pid"] != os.getpid()
    assert heard == [("adding", 1, 2), ("adding", 2, 2)]


def test_an_error_keeps_its_kind_and_words():
    with pytest.raises(CallFailedError, match="^no such file$") as caught:
        call("refuse")
    assert caught.value.kind == "data"


def test_an_exit_is_an_error():
    with pytest.raises(CallFailedError, match=r"the trainer called sys\.exit\(0\)") as caught:
        call("leave")
    assert caught.value.kind == "code"


def test_a_death_is_told_with_the_last_words():
    with pytest.raises(CallFailedError, match="ended with -9: the last words"):
        call("die")


def test_what_progress_raises_ends_the_child():
    def stop(*_words):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_in_child(NAME, "add", {"first": 1, "second": 2}, stop)
