"""Ctrl-C once and twice, SIGTERM, and a stdout that is for programs alone."""

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo.cli.driving import _ask, drive, interrupts, machine_output
from hpo.console.console import Console
from hpo.core.errors import SpecError
from hpo.core.events import Review, TrialFinished, TrialStarted
from hpo.core.trial import TrialState
from hpo.results.handoff import HandoffError, NoCheckpointError, NoExportError
from tests.quick_cli import call, events_of, spawn, write_study


class Driven:
    """A search in a process of its own, whose events are read as they come."""

    def __init__(self, folder, *argv, sleep=0.05, **env):
        self.folder = folder
        if not (folder / "study.yaml").exists():
            write_study(folder, "budget: 6\n", fault__sleep=sleep)
        words = argv or ("search", "study.yaml", "--in-process")
        self.process = spawn(folder, *words, "--json", **env)
        self.lines = []

    def until(self, name, **facts):
        """Read events until one has this name and these facts."""
        for line in self.process.stdout:
            self.lines.append(line)
            event = json.loads(line)
            if event["event"] == name and facts.items() <= event.items():
                return event
        raise AssertionError(f"no {name} {facts} in {self.lines} {self.process.stderr.read()}")

    def signal(self, number=signal.SIGINT):
        """To the whole group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def kill(self):
        """The driver alone, without a chance to say anything."""
        os.kill(self.process.pid, signal.SIGKILL)

    def end(self, timeout=120):
        """(exit code, events, stderr)."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.returncode, events_of("".join(self.lines) + out), err


def trained(run_dir, number):
    path = run_dir / f"trials/{number:04d}/trained.txt"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_once_saves_and_says_how_to_go_on(tmp_path, hpo, number):
    driven = Driven(tmp_path)
    run_dir = driven.until("started")["run_dir"]
    driven.until("epoch", trial=2, epoch=1)
    driven.signal(number)
    code, events, err = driven.end()
    assert code == 130
    assert events[-1]["event"] == "interrupted"
    assert events[-1]["resume"] == f"hpo resume {run_dir} --in-process"
    assert err.splitlines()[-1] == f"hpo resume {run_dir} --in-process"
    said = {signal.SIGINT: "Ctrl-C again stops at once", signal.SIGTERM: "have 12 s to finish"}
    assert said[number] in err
    assert "Traceback" not in err
    (suspended,) = [e for e in events if e["event"] == "trial_suspended"]
    code, out, _ = hpo(*err.splitlines()[-1].split()[1:], "--in-process", "--json")
    assert code == 0
    later = events_of(out)
    assert sum(later[-1]["trials"].values()) == 6
    first = next(e for e in later if e["event"] == "trial_started")
    assert (first["trial"], first["resumed_from_epoch"]) == (
        suspended["trial"], suspended["epoch"],
    )  # fmt: skip


def test_twice_stops_at_once(tmp_path):
    driven = Driven(tmp_path, sleep=60)
    run_dir = driven.until("started")["run_dir"]
    driven.until("trial_started", trial=0)
    driven.signal()
    time.sleep(0.5)
    began = time.monotonic()
    driven.signal()
    code, _, err = driven.end()
    assert code == 130
    assert time.monotonic() - began < 30
    assert err.splitlines()[-1] == f"hpo resume {run_dir} --in-process"
    assert "stopped at once" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_scheduler_that_wants_the_machine_back_gets_it_within_30_seconds(tmp_path):
    driven = Driven(tmp_path, sleep=60)
    run_dir = driven.until("started")["run_dir"]
    driven.until("trial_started", trial=0)
    began = time.monotonic()
    driven.signal(signal.SIGTERM)
    code, _, err = driven.end()
    assert code == 130
    assert 12 <= time.monotonic() - began < 30
    assert "stopped at once; epochs that were running will be repeated" in err
    assert err.splitlines()[-1] == f"hpo resume {run_dir} --in-process"
    assert "Traceback" not in err


def test_stop_from_another_terminal(tmp_path, hpo):
    driven = Driven(tmp_path)
    run_dir = driven.until("started")["run_dir"]
    driven.until("epoch", trial=0, epoch=1)
    assert hpo("stop")[0] == 0
    code, events, err = driven.end()
    assert code == 130
    assert events[-1]["event"] == "interrupted"
    assert err.splitlines()[-1] == f"hpo resume {run_dir} --in-process"


def test_the_second_driver_is_refused(tmp_path, hpo):
    driven = Driven(tmp_path, sleep=0.2)
    run_dir = driven.until("started")["run_dir"]
    driven.until("epoch", trial=0, epoch=1)
    code, out, err = hpo("resume", run_dir, "--in-process", "--json")
    assert code == 2
    assert "another search is running in it" in err
    assert [e["event"] for e in events_of(out)] == ["error"]
    driven.signal()
    assert driven.end()[0] == 130


@pytest.mark.parametrize(
    ("estimate_s", "given", "is_asked"),
    [
        (599.0, {}, False),
        (0.0, {}, False),
        (600.0, {}, True),
        (None, {}, True),  # nobody knows how long
        (None, {"yes": True}, False),
        (5.0, {"ask_always": True}, True),
        (5.0, {"ask_always": True, "yes": True}, False),
    ],
)
def test_a_search_that_may_be_long_is_asked_about(monkeypatch, capsys, estimate_s, given, is_asked):
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: "n")
    args = argparse.Namespace(**{"yes": False} | given)
    review = Review(epochs_per_trial=3, estimate_s=estimate_s)
    assert _ask(review, args, Console(sys.stderr)) is not is_asked
    assert ("Start this search?" in capsys.readouterr().err) is is_asked


def test_wishes_are_counted_and_handlers_given_back(capsys):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    console = Console(sys.stderr)
    console.handle(TrialStarted(trial=0))
    with interrupts(console) as wish:
        assert wish.count == 0
        signal.raise_signal(signal.SIGTERM)
        assert wish.count == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    assert "running epochs have 12 s to finish" in capsys.readouterr().err


def test_before_the_first_trial_nothing_is_waited_for():
    with interrupts(Console(io.StringIO())), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_when_no_trial_runs_any_more_the_results_are_still_written(capsys):
    console = Console(sys.stderr)
    console.handle(TrialStarted(trial=0))
    console.handle(TrialFinished(trial=0, state=TrialState.COMPLETE, value=0.5))
    with interrupts(console):
        signal.raise_signal(signal.SIGINT)
    assert "the trials have ended; writing the results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HandoffError("trial 1: the export\nwrote no ONNX file"), 1),
        (NoExportError("the skill has no export"), 1),
        (NoCheckpointError("trial 3: was removed"), 1),
        (SpecError("budget: '2x' is not understood"), None),
        (ValueError("a bug"), None),
    ],
)
def test_the_last_event_of_a_search_that_failed_is_its_error(capfd, error, code):
    args = argparse.Namespace(json=True, yes=True, verb="search")

    def start(_settings):
        raise error

    with contextlib.nullcontext() if code else pytest.raises(type(error)):
        assert drive(args, start) == code
    (event,) = events_of(capfd.readouterr().out)
    assert (event["event"], event["message"]) == ("error", " ".join(str(error).split()))


def test_stdout_for_programs_alone(capfd):
    with machine_output() as stream:
        print("from Python")
        os.write(1, b"from C\n")
        subprocess.run(["echo", "from a child"], check=True)
        stream.write('{"event": "x"}\n')
        stream.flush()
    print("after")
    out, err = capfd.readouterr()
    assert out == '{"event": "x"}\nafter\n'
    assert sorted(err.splitlines()) == ["from C", "from Python", "from a child"]


def test_a_full_disk_under_results_is_told_as_such():
    before, full = os.dup(1), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    try:
        with pytest.raises(OSError, match="No space left") as caught, machine_output() as stream:
            stream.write("a row\n")
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(full)
    assert caught.value.filename == "standard output"


# Kills -----------------------------------------------------------------------------------------


def check_resumed(run_dir, before, after, *, trials):
    """No finished trial again, interrupted ones from their checkpoint, all trials in the end."""
    done = {e["trial"] for e in before if e["event"] == "trial_finished"}
    again = [e for e in after if e["event"] == "trial_started"]
    assert done.isdisjoint(e["trial"] for e in again)
    assert {e["trial"] for e in after if e["event"] == "trial_finished"} | done == set(
        range(trials)
    )
    begun = {e["trial"] for e in before if e["event"] == "trial_started"} - done
    assert {e["trial"] for e in again} >= begun
    assert sum(after[-1]["trials"].values()) == trials
    for number in range(trials):
        epochs = trained(run_dir, number)
        twice = len(epochs) - len(set(epochs))
        assert twice <= (1 if number in begun else 0), (number, epochs)
        assert sorted(set(epochs)) == list(range(1, max(epochs) + 1))
    proposed = [str(e["params"]) for e in before + again if e["event"] == "trial_started"]
    assert len(set(proposed)) == trials
    return begun


def test_a_killed_search_goes_on(tmp_path, hpo):
    driven = Driven(tmp_path)
    run_dir = Path(driven.until("started")["run_dir"])
    driven.until("epoch", trial=2, epoch=1)
    driven.kill()
    code, before, _ = driven.end()
    assert code == -signal.SIGKILL
    status = json.loads(hpo("status", "--json")[1])
    assert status["status"] == "stopped"
    code, out, err = hpo("resume", "--in-process", "--json")
    assert code == 0, err
    begun = check_resumed(run_dir, before, events_of(out), trials=6)
    assert begun == {2}


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_search_goes_on_with_ray(tmp_path):
    write_study(tmp_path, "budget: 6\nconcurrent: 2\n", fault__sleep=0.15)
    driven = Driven(tmp_path, "search", "study.yaml")
    run_dir = Path(driven.until("started")["run_dir"])
    driven.until("epoch", trial=2, epoch=1)
    driven.kill()
    code, before, _ = driven.end()
    assert code == -signal.SIGKILL
    code, out, err = call(tmp_path, "resume", "--json")
    assert code == 0, err
    after = events_of(out)
    begun = check_resumed(run_dir, before, after, trials=6)
    assert begun
    assert "Traceback" not in err


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_interrupts_with_ray(tmp_path, times):
    write_study(tmp_path, "budget: 6\nconcurrent: 2\n", fault__sleep=0.5)
    driven = Driven(tmp_path, "search", "study.yaml")
    run_dir = driven.until("started")["run_dir"]
    driven.until("epoch", trial=1, epoch=1)
    for _ in range(times):
        driven.signal()
        time.sleep(0.1)
    code, events, err = driven.end()
    assert code == 130
    assert err.splitlines()[-1] == f"hpo resume {run_dir} --in-process"
    assert "Traceback" not in err
    assert not [e for e in events if e["event"] == "trial_finished" and e["state"] == "failed"]
    code, out, err = call(tmp_path, "resume", "--json")
    assert code == 0, err
    assert events_of(out)[-1]["trials"]["failed"] == 0
    assert sum(events_of(out)[-1]["trials"].values()) == 6
