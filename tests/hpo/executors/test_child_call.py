"""A trainer's method in another process: result, progress, errors, death."""

import os
import sys

import pytest

from hpo.executors.child_call import CallFailedError, calls_in_child
from tests import quick_trainer

NAME = "tests.hpo.executors.test_child_call:CALLED"


class Called(quick_trainer.QuickTrainer):
    """What is called in the child."""

    def add(self, first, second, progress):
        print("a library prints this")
        progress("adding", 1, 2)
        progress("adding", 2, 2)
        return {"sum": first + second, "pid": os.getpid()}

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


@pytest.fixture(scope="module")
def ask():
    assert quick_trainer.NAME  # its import lets files of the tests be trainers
    with calls_in_child(NAME) as call:
        yield lambda method, heard=None, **arguments: call(
            method, arguments, (lambda *_: None) if heard is None else heard
        )


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_process_answers_until_a_call_fails(ask):
    def add():
        return ask("add", first=1, second=2)["pid"]

    first = add()
    assert add() == first
    with pytest.raises(CallFailedError, match="^no such file$") as caught:
        ask("refuse")
    assert caught.value.kind == "data"
    assert not is_alive(first)
    second = add()
    os.kill(second, 9)
    with pytest.raises(CallFailedError, match="its process ended with -9"):
        add()
    assert add() not in (first, second)


def test_the_result_comes_back_after_the_progress(ask):
    heard = []
    found = ask("add", lambda *words: heard.append(words), first=2, second=40)
    assert found["sum"] == 42
    assert found["pid"] != os.getpid()
    assert heard == [("adding", 1, 2), ("adding", 2, 2)]


def test_an_exit_is_an_error(ask):
    with pytest.raises(CallFailedError, match=r"the trainer called sys\.exit\(0\)") as caught:
        ask("leave")
    assert caught.value.kind == "code"


def test_a_death_is_told_with_the_last_words(ask):
    with pytest.raises(CallFailedError, match="ended with -9: the last words"):
        ask("die")


def test_what_progress_raises_ends_the_child(ask):
    def stop(*_words):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask("add", stop, first=1, second=2)
    assert ask("add", first=1, second=2)["sum"] == 3


def test_no_process_is_left():
    with calls_in_child(NAME) as call:
        found = call("add", {"first": 1, "second": 2}, lambda *_: None)
    assert not is_alive(found["pid"])
