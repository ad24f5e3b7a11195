"""Readers and terminals that go away, and signals that a closed terminal sends."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from hpo.core.process import children
from hpo.core.process.signals import ending_signals, handling
from hpo.core.process.streams import can_color, can_draw, open_output

pytestmark = pytest.mark.usefixtures("sighup_as_in_a_terminal")
HPO = str(children.COMMANDS / "hpo")


@pytest.mark.parametrize(
    ("is_terminal", "term", "no_color", "draws", "colors"),
    [
        (True, "xterm", None, True, True),
        (True, "xterm", "", True, True),
        (True, "xterm", "1", True, False),
        (True, "dumb", None, False, False),
        (False, "xterm", None, False, False),
    ],
)
def test_lines_are_drawn_and_coloured_where_a_terminal_can(
    monkeypatch, is_terminal, term, no_color, draws, colors
):
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    reading, writing = pty.openpty() if is_terminal else os.pipe()
    with os.fdopen(writing, "w") as stream:
        assert (can_draw(stream), can_color(stream)) == (draws, colors)
    os.close(reading)


def test_what_nobody_reads_is_dropped():
    reading, writing = os.pipe()
    stream = open_output(writing, by_line=True)
    print("heard", file=stream)
    assert os.read(reading, 99) == b"heard\n"
    os.close(reading)
    for _ in range(3):
        print("x" * 100_000, file=stream, flush=True)
    stream.close()
    os.close(writing)


def test_a_full_disk_is_still_told():
    stream = open_output(os.open("/dev/full", os.O_WRONLY), by_line=True)
    with pytest.raises(OSError, match="No space left"):
        print("x", file=stream)


@pytest.mark.parametrize("words", [["--help"], ["space"], ["algorithms"], ["ls", "--json"]])
def test_a_verb_whose_readers_have_gone_ends_quietly(words, tmp_path):
    process = subprocess.Popen(
        [HPO, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 0)


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["algorithms"], ["algorithms", "--json"], ["completion", "bash"]],
)
def test_a_full_disk_under_the_output_is_one_line(words, tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "hpo.cli.main", *words],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    line = b"main.py: standard output: No space left on device; send it to where there is room\n"
    assert (done.returncode, done.stderr) == (2, line)


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_a_verb_without_stdout_or_stderr_works(closed, tmp_path):
    done = subprocess.run(["bash", "-c", f"{HPO} algorithms {closed}"], cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_sighup_is_obeyed_unless_it_is_ignored():
    assert ending_signals() == (signal.SIGTERM, signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ending_signals() == (signal.SIGTERM,)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_later_sighup_kills_nothing_even_after_the_handlers_have_gone(first):
    heard = []
    with handling(lambda number, _: heard.append(number), signal.SIGINT):
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)  # would end the tests
    assert heard == [first]


LATE = """
import os, signal
class Late:
    def __del__(self, kill=os.kill, own=os.getpid(), number=signal.SIGHUP): kill(own, number)
late = Late()  # goes when the interpreter has already let go of its handlers
"""


HANDLING = (
    "from hpo.core.process.signals import handling as until; told = [lambda *_: None]",
    "from trainer.cli import _at_a_terminal as until; told = []",
)


@pytest.mark.parametrize("handling_of", HANDLING)
def test_a_sighup_while_the_interpreter_ends_kills_nothing(handling_of, sighup_as_in_a_terminal):
    hung_up = (
        "import contextlib\n"
        "with contextlib.suppress(KeyboardInterrupt), until(*told):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
    )
    for code, expected in ((hung_up, 0), ("", -signal.SIGHUP)):
        command = [sys.executable, "-c", f"{LATE}\n{handling_of}\n{code}"]
        assert subprocess.run(command, check=False).returncode == expected


def test_handlers_are_put_back_where_no_signal_came():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with handling(lambda *_: None):
        assert signal.getsignal(signal.SIGHUP) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


STUDY = "schema_version: 1\nname: quick\ntrainer: tests.quick_trainer:TRAINER\nbudget: 3\n"


def searching(folder, *before, **streams):
    """A search of short epochs; returns once the first has been trained."""
    (folder / "s.yaml").write_text(f"{STUDY}spec:\n  fault.sleep: 0.3\n")
    environment = children.environment() | {"HPO_TRAINER_MODULES": "tests"}
    words = [HPO, "search", "s.yaml", "--in-process", "--yes"]
    process = subprocess.Popen(
        [*before, *words], cwd=folder, env=environment, start_new_session=True, **streams
    )
    until = time.monotonic() + 60
    while not list(folder.glob("runs/quick/*/trials/0000/trained.txt")):
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


def status_of(folder):
    from hpo.run.run_dir import find_run

    return find_run(None, folder / "runs").read_state()["status"]


def test_a_search_whose_terminal_closes_saves_and_ends_quietly(tmp_path):
    ours, terminal = pty.openpty()
    process = searching(tmp_path, stdout=terminal, stderr=terminal, stdin=terminal)
    os.close(terminal)
    os.close(ours)  # from here on writing fails
    for _ in range(2):  # as the kernel and the shell do
        process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 130
    assert status_of(tmp_path) == "interrupted"


def test_under_nohup_a_search_goes_on(tmp_path):
    ignoring = [sys.executable, "-c", "import os, signal, sys; signal.signal(signal.SIGHUP,"
                " signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"]  # fmt: skip
    process = searching(tmp_path, *ignoring, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == 0
    assert status_of(tmp_path) == "finished"
