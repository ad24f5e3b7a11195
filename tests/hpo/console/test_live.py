"""What the view looks like at several widths, and that it keeps out of the way of lines."""

import io
import logging
import os
import re

import pytest

from hpo.console.console import render_status
from hpo.console.live import ENDING_HINT, HINT, REFRESHES_A_SECOND, WHEEL, LiveView, spark
from hpo.core.events import Epoch, TrialProgress, TrialStarted
from hpo.core.trial import TrialStage
from tests.hpo.console.test_progress import progress_of, run_trial


class Terminal(io.StringIO):
    def isatty(self):
        return True


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def view_at(monkeypatch, width, progress):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    view = LiveView(stream, progress)
    view._console.print(view.render())
    return view, stream.getvalue()


@pytest.fixture
def busy():
    progress, clock = progress_of("40trials", slots=2, epochs=9)
    run_trial(progress, clock, 0, [0.25, 0.5, 0.5])
    run_trial(progress, clock, 1, [0.5, 0.75, 0.625])
    run_trial(progress, clock, 2, [0.1], state="failed", error={"kind": "out_of_memory"})
    progress.handle(TrialStarted(trial=3))
    for epoch, value in enumerate([0.1, 0.4, 0.2], 1):
        progress.handle(Epoch(trial=3, epoch=epoch, value=value, seconds=2.0))
    return progress


@pytest.mark.parametrize("width", [60, 80, 140])
def test_it_says_everything_and_never_wraps(monkeypatch, width, busy):
    _, text = view_at(monkeypatch, width, busy)
    assert "\x1b[3" not in text  # no colour was asked for
    lines = [line.rstrip() for line in plain(text).splitlines()]
    assert max(map(len, lines)) <= width
    assert len(lines) == 5  # a gap, the bar, the best, one trial, the hint
    assert "3 of 40 trials" in lines[1]
    assert lines[2].startswith("best P@1 0.7500 (trial 1)  +0.2500 over the default")
    assert lines[3].startswith("trial   3  epoch  3/9  P@1 now 0.2000  best 0.4000 (-0.100")
    if width >= 80:
        assert lines[3].endswith("  ▁█▃")
    if width >= 80:
        assert "1 failed" in lines[2]
        assert "left" in lines[1]
    assert "Ctrl-C" in lines[4]


def test_what_is_done_before_the_first_epoch(monkeypatch, busy):
    heads = TrialStage(name="heads", left=1)
    for number, stage in ((4, None), (5, heads), (6, heads)):
        busy.handle(TrialStarted(trial=number, stage=stage))
    busy.handle(TrialProgress(trial=4, text="head epochs 12/20"))
    busy.handle(TrialProgress(trial=5, text="computing features 3/9"))
    busy.handle(TrialProgress(trial=9, text="of a trial that has ended"))
    lines = [line.rstrip() for line in plain(view_at(monkeypatch, 100, busy)[1]).splitlines()]
    assert lines[4] == "trial   4  head epochs 12/20"
    assert lines[5] == "2 trials of stage heads (computing features 3/9), trained together"
    assert "running #3 3/9 #4 head epochs 12/20 2 trials of stage heads (comp" in render_status(
        busy
    )
    busy.handle(TrialProgress(trial=4, text=""))
    assert "trial   4  epoch  0/9" in plain(view_at(monkeypatch, 100, busy)[1])
    busy.handle(TrialProgress(trial=4, text="decoding pictures 1/2"))
    busy.handle(Epoch(trial=4, epoch=1, value=0.5))
    assert "trial   4  epoch  1/9" in plain(view_at(monkeypatch, 100, busy)[1])


def test_many_trials_are_counted(monkeypatch):
    progress, _ = progress_of("99trials", slots=12)
    for number in range(12):
        progress.handle(TrialStarted(trial=number))
    _, text = view_at(monkeypatch, 80, progress)
    assert "trial   7 " in text
    assert "trial   8 " not in text
    assert "and 4 more trials" in text
    assert "no result yet" in text


def test_the_phase_is_told(monkeypatch, busy):
    view, _ = view_at(monkeypatch, 80, busy)
    view.show("writing the report")
    view._console.print(view.render())
    assert "writing the report ..." in plain(view._console.file.getvalue())
    assert HINT in plain(view._console.file.getvalue())  # while trials run
    busy.running.clear()
    view._console.print(view.render())
    assert plain(view._console.file.getvalue()).splitlines()[-1].rstrip() == ENDING_HINT


def test_a_preparation_moves_and_says_how_far_it_is(monkeypatch):
    progress, _ = progress_of("4trials")
    view, before = view_at(monkeypatch, 80, progress)
    view.show("decoding pictures", "12 of 40")
    view._console.print(view.render())
    _, wheel, hint = plain(view._console.file.getvalue()[len(before) :]).splitlines()
    assert wheel.rstrip().endswith("decoding pictures: 12 of 40")
    assert wheel[0] in WHEEL
    assert hint.rstrip() == "Ctrl-C: stop."
    view._since -= 3 / REFRESHES_A_SECOND  # later, the wheel has turned by three
    assert view._doing().plain[0] == WHEEL[3]


def test_lines_and_warnings_go_above_it(monkeypatch, busy):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    view = LiveView(stream, busy)
    try:
        view.start()
        logging.getLogger("tests.live").warning("the disk is nearly full")
        assert handler.stream is not stream
        view.line("trial   9  complete")
    finally:
        view.stop()
        logging.getLogger().removeHandler(handler)
    text = stream.getvalue()
    assert "the disk is nearly full\n" in text
    assert "trial   9  complete\n" in text
    assert handler.stream is stream


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.5], "▄"), ([1, 1, 1], "▄▄▄"), ([0, 1], "▁█"), ([0, 0.5, 1.0, 0.25], "▁▅█▃")],
)
def test_sparks(values, text):
    assert spark(values) == text


def test_trial_lines_are_cut_and_paths_are_not(monkeypatch, busy):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    view = LiveView(stream, busy)
    view.line("trial   9  pruned  " + "x" * 80, crop=True)
    view.line("onnx " + "y" * 80)
    first, second = stream.getvalue().splitlines()
    assert (len(first), first[-1]) == (40, "…")
    assert second == "onnx " + "y" * 80


def test_a_handler_without_a_stream_is_left_alone(busy):
    handler = logging.FileHandler(os.devnull, delay=True)
    logging.getLogger().addHandler(handler)
    view = LiveView(Terminal(), busy)
    try:
        view.start()
        assert handler.stream is None
    finally:
        view.stop()
        logging.getLogger().removeHandler(handler)
