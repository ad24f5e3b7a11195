"""Streams of threads: each prints where it was sent, and nothing stays behind."""

import io
import os
import subprocess
import sys
import threading

import pytest

from hpo.core.diverted import diverted, muted, undiverted


class Steps:
    """Runs functions one after another in a thread of its own."""

    def __init__(self):
        self.asked, self.done, self.todo = threading.Semaphore(0), threading.Semaphore(0), None
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self):
        while True:
            self.asked.acquire()
            self.todo()
            self.done.release()

    def __call__(self, todo):
        self.todo = todo
        self.asked.release()
        assert self.done.acquire(timeout=30)


@pytest.mark.parametrize("order", ["first in, first out", "first in, last out"])
def test_two_threads_that_overlap_keep_to_their_own_and_leave_the_programs_streams(capsys, order):
    streams = (sys.stdout, sys.stderr)
    one, other = Steps(), Steps()
    files = [io.StringIO(), io.StringIO()]
    kept = [diverted(file) for file in files]
    one(kept[0].__enter__)
    other(kept[1].__enter__)
    one(lambda: print("first"))
    other(lambda: print("second", file=sys.stderr))
    print("the program")
    leaving = [(one, kept[0]), (other, kept[1])]
    for number, (steps, context) in enumerate(
        leaving if order == "first in, first out" else leaving[::-1]
    ):
        steps(lambda context=context: context.__exit__(None, None, None))
        files[leaving.index((steps, context))].close()
        print(f"after {number}")
    assert (sys.stdout, sys.stderr) == streams
    assert capsys.readouterr() == ("the program\nafter 0\nafter 1\n", "")


def test_what_is_printed_lies_where_it_was_sent(capsys):
    outer, inner = io.StringIO(), io.StringIO()
    with diverted(outer):
        print("outer")
        with diverted(inner, "stdout"):
            print("inner")
            print("wrong", file=sys.stderr)
            with undiverted():
                print("home")
        with muted():
            print("nowhere")
    assert (outer.getvalue(), inner.getvalue()) == ("outer\nwrong\n", "inner\n")
    assert capsys.readouterr() == ("home\n", "")


def test_a_function_of_the_users_prints_to_the_program(capsys):
    @undiverted()
    def told(word):
        print(word)
        return word * 2

    with diverted(io.StringIO()):
        assert told("a") == told("a") == "aa"
    assert capsys.readouterr().out == "a\na\n"


def test_a_stream_that_another_redirection_has_left_is_not_put_back():
    given = sys.stdout
    mine, theirs = io.StringIO(), io.StringIO()
    try:
        with diverted(mine, "stdout"):
            sys.stdout = theirs
        assert sys.stdout is theirs
    finally:
        sys.stdout = given


@pytest.mark.parametrize("is_ours", [True, False])
def test_in_a_process_of_ours_other_threads_follow(is_ours):
    script = (
        "import io, threading\n"
        "from hpo.core.diverted import diverted\n"
        "from hpo.core.process.imports import settle\n"
        f"{'settle()' if is_ours else ''}\n"
        "log = io.StringIO()\n"
        "with diverted(log):\n"
        "    beside = threading.Thread(target=print, args=('beside',))\n"
        "    beside.start()\n"
        "    beside.join()\n"
        "print('log', repr(log.getvalue()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == ("log 'beside\\n'\n" if is_ours else "beside\nlog ''\n")


def test_a_program_without_stdout_prints_nothing():
    script = (
        "import io, sys\n"
        "from hpo.core.diverted import diverted, undiverted\n"
        "log = io.StringIO()\n"
        "with diverted(log):\n"
        "    print('in')\n"
        "    with undiverted():\n"
        "        print('out')\n"
        "assert log.getvalue() == 'in\\n'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1),
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
