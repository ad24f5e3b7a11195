import os
import signal
import subprocess
import sys
import time

import pytest

from hpo.core.process.groups import end_group, is_alive

DEAF = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(60)"
)
POLITE = "import time; print('ready', flush=True); time.sleep(60)"


def started(*words):
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("program", "is_deaf"), [(POLITE, False), (DEAF, True)])
@pytest.mark.parametrize("is_in_a_shell", [False, True])
def test_nothing_of_a_group_is_left(program, is_deaf, is_in_a_shell):
    words = [sys.executable, "-c", program]
    if is_in_a_shell:  # which ends at the first signal, and leaves the program
        words = ["/bin/sh", "-c", '"$0" -c "$1"; true', sys.executable, program]
    process = started(*words)
    assert is_alive(process.pid)
    end_group(process.pid, 0.5 if is_deaf else 60.0)
    assert not is_alive(process.pid)
    process.stdout.close()
    killed = is_deaf and not is_in_a_shell  # a shell is no more deaf than any
    assert process.wait() == -(signal.SIGKILL if killed else signal.SIGTERM)
    end_group(process.pid, 0.5)  # none is there any more


@pytest.mark.parametrize("group", [0, 1, -1])
def test_neither_the_own_group_nor_all_are_ended(group, monkeypatch):
    told = []
    monkeypatch.setattr(os, "killpg", lambda *words: told.append(words))
    with pytest.raises(ValueError, match=f"a process that was started, got {group}"):
        end_group(group, 0.0)
    assert told == []


def test_one_that_only_waits_to_be_reaped_is_over():
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    limit = time.monotonic() + 30
    while is_alive(process.pid):
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert process.wait() == 0
