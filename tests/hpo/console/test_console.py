"""What a person reads, event by event."""

import io
from dataclasses import replace

import pytest

from hpo.console.console import Console
from hpo.console.review_lines import render_review
from hpo.core.budget import Budget, Spent
from hpo.core.events import (
    CheckpointsRemoved,
    Confirmed,
    Epoch,
    Evaluated,
    Exported,
    Finished,
    Interrupted,
    Preparing,
    Review,
    Started,
    TrialFinished,
    TrialStarted,
    TrialSuspended,
)
from hpo.core.forecast import Forecast
from hpo.core.trial import TrialState
from hpo.jobs.job import Job
from search_spaces.parameter import FIXED

REVIEW = Review(
    data={
        "splits": {"train": {"images": 90, "classes": 9}},
        "findings": [{"message": "class cola has 2 images"}],
    },
    searched=["train.optim.lr", "train.margin"], pinned={"train.optim.gamma": "no schedule"},
    warnings=["batch raised to 32"], algorithm="tpe", pruner="none", reason="short",
    probe={
        "seconds_per_epoch": 2.5, "images_per_s": 40.4, "peak_memory_mib": 512.0, "device": "cpu",
    },
    budget=Budget(trials=4), epochs_per_trial=9, concurrent=2, estimate_s=90.0,
)  # fmt: skip


def test_test_pictures_wait_for_the_end():
    test = {"images": 5, "classes": 2, "per_class_min": 1, "per_class_max": 4}
    lines = render_review(replace(REVIEW, data={"splits": {"test": test}}))
    assert lines[0] == "test      5 pictures of 2 classes, 1 to 4 each, looked at once, at the end"


def test_every_warning_of_the_pictures_is_shown_before_what_is_merely_worth_knowing():
    findings = [{"severity": "info", "message": f"info {n}"} for n in range(5)]
    findings += [{"severity": "warning", "message": f"fault {n}"} for n in range(8)]
    findings += [{"message": "of no severity"}]
    lines = render_review(replace(REVIEW, data={"findings": findings}))
    assert lines[:13] == [
        *(f"warning   fault {n}" for n in range(8)),
        "warning   of no severity",
        *(f"info      info {n}" for n in range(3)),
        "          and 2 more (hpo doctor)",
    ]


def test_a_trainer_that_cannot_be_measured_beforehand_has_no_such_line():
    lines = render_review(replace(REVIEW, probe={"device": "cpu"}))
    assert [line for line in lines if line.startswith("measured")] == []
    assert len(lines) == len(render_review(REVIEW)) - 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


def ended(trial, state="complete", value=0.5, **more):
    facts = {"epoch": 9, "seconds": 12.0, **more}
    return TrialFinished(trial=trial, state=TrialState(state), value=value, **facts)


def started(**more):
    return Started(run_dir="/r", budget=Budget(trials=4), resume="hpo resume /r", **more)


def finished(**more):
    best = {
        "trial": 2, "value": 0.75, "default_value": 0.5, "params": {"train.lr": 0.00123456},
        "onnx": "/r/best/model.onnx", "num_images_checked": 64,
    }  # fmt: skip
    counts = {"complete": 3, "pruned": 0, "failed": 1}
    return Finished(**{
        "run_dir": "/r", "trials": counts, "spent": Spent(seconds=65.0), "best": best, **more,
    })  # fmt: skip


def said(*events, stream=None):
    console = Console(stream or io.StringIO())
    for event in events:
        console.handle(event)
    console.close()
    return console._stream.getvalue()


def test_a_log_tells_what_is_prepared():
    assert said(Preparing(what="probe")) == "measuring an epoch ...\n"


def test_the_review():
    assert render_review(REVIEW) == [
        "train     90 pictures of 9 classes",
        "warning   class cola has 2 images",
        "warning   batch raised to 32",
        "searched  2 parameters: train.optim.lr, train.margin",
        "pinned    train.optim.gamma  (hpo space says why)",
        "method    tpe; short",
        "measured  2.5 s an epoch, 40 pictures/s, 512 MiB on cpu",
        "budget    4 trials, 9 epochs each, 2 at a time, at most 1m 30s",
    ]


def test_what_the_user_fixed_is_not_said_to_be_pinned():
    lines = render_review(replace(REVIEW, pinned={"lr": FIXED, "gamma": "inactive"}))
    assert "fixed     lr  (by --fix or the study file)" in lines
    assert "pinned    gamma  (hpo space says why)" in lines
    lines = render_review(replace(REVIEW, pinned={"lr": FIXED}))
    assert not any(line.startswith("pinned") for line in lines)


def test_what_was_learned_on_other_data_is_told_with_the_method():
    def method(**more):
        lines = render_review(replace(REVIEW, **more))
        return next(line for line in lines if line.startswith("method"))

    off = " (--no-portfolio leaves them out)"
    assert method(learned={"full": 0}) == "method    tpe; short"
    assert method(learned={"full": 1}) == (
        f"method    tpe; short; the default first, then 1 setting learned on other data{off}"
    )
    both = {"earlier": {"heads": ["train.margin"]}, "learned": {"heads": 4, "full": 0}}
    assert method(**both) == (
        "method    tpe; short; the default first, then 4 settings learned on other data (heads)"
        + off
    )


def test_a_budget_too_small_for_a_trial_is_told():
    expected = Forecast(
        seconds=60.0, low_s=60.0, high_s=60.0, trials=2, epochs=10, pruned=0, longest=8
    )
    short = replace(REVIEW, budget=Budget(seconds=60.0), forecast=expected)
    assert render_review(short)[-1].startswith(
        "warning   the budget ends before a trial has trained"
    )
    for longest in (9, None):  # of this start or an earlier one; or the algorithm ends trials
        enough = replace(short, forecast=replace(expected, epochs=3, longest=longest))
        assert render_review(enough)[-1].startswith("expected  ")


def test_random_weights_are_said_loudly():
    loud = [line for line in render_review(replace(REVIEW, probe={**REVIEW.probe, "random_weights": True}))
            if "RANDOM" in line]  # fmt: skip
    assert len(loud) == 1


@pytest.mark.parametrize(
    ("views", "words"),
    [
        (4, "of 4 augmented views of each picture (dataset.feature_views)"),
        (0, "of each picture as it is (dataset.feature_views=0)"),
    ],
)
def test_features_that_a_head_learns_from_are_said(views, words):
    probe = {**REVIEW.probe, "feature_views": views}
    lines = render_review(replace(REVIEW, probe=probe))
    assert [line for line in lines if line.startswith("features ") and line.endswith(words)]
    assert not [line for line in render_review(REVIEW) if line.startswith("features ")]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            ended(0),
            "trial   0  complete  P@1 0.5000  epoch  9/9     12s  the default configuration",
        ),
        (ended(1), "trial   1  complete  P@1 0.5000  epoch  9/9     12s"),
        (
            ended(2, "pruned", 0.25, epoch=2, reason="place 3 of 3"),
            "trial   2  pruned    P@1 0.2500  epoch  2/9     12s  place 3 of 3",
        ),
        (
            ended(3, "failed", None, epoch=0, error={"kind": "data", "message": "gone"}),
            "trial   3  failed    P@1         epoch  0/9     12s  gone",
        ),
        (TrialSuspended(trial=3, epoch=4), "trial   3  paused after epoch 4"),
        (TrialSuspended(trial=3, epoch=4, reason="interrupted"), "trial   3  paused after epoch 4"),
        (
            TrialSuspended(trial=3, epoch=4, reason="train: no images"),
            "trial   3  paused after epoch 4; train: no images",
        ),
        (
            Confirmed(trial=5, state=TrialState.COMPLETE, value=0.5, reason="repeat of 1"),
            "trial   5  repeat of 1, another seed: P@1 0.5000",
        ),
        (
            Confirmed(trial=5, state=TrialState.FAILED, reason="repeat of 1"),
            "trial   5  repeat of 1, another seed: failed",
        ),
        (Exported(trial=2, result={"onnx": "/m.onnx", "num_images_checked": 64}), None),
        (Evaluated(trial=2, split="test", metrics={"x": 0.4}, metric_value=0.4), None),
    ],
)
def test_one_line_an_event(event, line):
    lines = said(started(), REVIEW, event).splitlines()
    assert lines[0] == "run       /r"
    assert lines[9] == ""
    assert lines[10:] == ([] if line is None else [line])


def test_another_metric_is_called_by_its_name():
    assert (
        said(started(metric="val_map_at_r"), REVIEW, ended(1))
        .splitlines()[-1]
        .startswith("trial   1  complete  val_map_at_r 0.5000")
    )


def test_the_end_tells_the_result_first():
    events = [
        started(), REVIEW, ended(2, value=0.75),
        Exported(trial=2, result={"onnx": "/m.onnx", "num_images_checked": 64}),
        Evaluated(trial=2, split="test", metrics={"x": 0.4}, metric_value=0.4),
        CheckpointsRemoved(trial=1, bytes=3_000_000), CheckpointsRemoved(trial=0, bytes=2_000_000),
        finished(),
    ]  # fmt: skip
    page = said(*events).split("\n\n")[-1].splitlines()
    assert page[:3] == [
        "best      trial 2: P@1 0.7500 (+0.2500 over the default)",
        "held out  P@1 0.4000",
        "with      train.lr = 0.001235",
    ]
    assert page[3] == "onnx      /r/best/model.onnx (checked on 64 pictures)"
    assert page[-1].startswith("disk      5.0 MB of checkpoints")


def test_a_figure_on_pictures_that_chose_is_not_called_held_out():
    told = Evaluated(trial=2, split="validation", metrics={"x": 0.4}, metric_value=0.4)
    page = said(started(), REVIEW, ended(2, value=0.75), told, finished())
    assert "evaluated P@1 0.4000, on the validation queries\n" in page
    assert "held out" not in page
    told = Evaluated(trial=2, split="final", metrics={}, metric_value=0.4, words="accuracy 0.4000")
    page = said(started(), REVIEW, ended(2, value=0.75), told, finished())
    assert "evaluated accuracy 0.4000\n" in page
    assert "held out" not in page


def test_on_a_terminal_the_result_has_a_colour_and_the_report_is_a_link(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    events = [started(), finished(report="/r/a report.html")]
    lines = said(*events, stream=Terminal()).splitlines()
    assert "\x1b[1;32mbest      trial 2: P@1 0.7500 (+0.2500 over the default)\x1b[0m" in lines
    link = "\x1b]8;;file:///r/a%20report.html\x1b\\/r/a report.html\x1b]8;;\x1b\\"
    assert f"report    {link}" in lines
    monkeypatch.setenv("NO_COLOR", "1")
    assert "report    /r/a report.html" in said(*events, stream=Terminal()).splitlines()


def test_how_to_go_on_stands_last():
    console = Console(io.StringIO())
    console.handle(Interrupted(run_dir="/r", resume="hpo resume /r"))
    console.handle(TrialSuspended(trial=3, epoch=4))
    console.close()
    console.close()
    assert console._stream.getvalue().splitlines()[-2:] == [
        "paused    after 0 trials; everything is saved. Go on with:", "hpo resume /r",
    ]  # fmt: skip


def test_a_pause_says_how_far_the_search_has_come():
    pause = Interrupted(run_dir="/r", resume="hpo resume /r")
    events = [TrialStarted(trial=0), Epoch(trial=0, epoch=1, value=0.25), ended(0)]
    line = said(started(), REVIEW, *events, pause).splitlines()[-2]
    assert line.startswith(
        "paused    after 1 of 4 trials, best P@1 0.2500 (trial 0); everything is"
    )


def test_a_second_interrupt_says_so_too():
    console = Console(io.StringIO())
    console.interrupted_hard()
    assert console._stream.getvalue() == "stopped; no run has begun\n"
    console.handle(started())
    console.interrupted_hard()
    assert console._stream.getvalue().splitlines()[-2:] == [
        "stopped before a trial started. Go on with:", "hpo resume /r",
    ]  # fmt: skip
    console.handle(TrialStarted(trial=0))
    console.interrupted_hard()
    assert console._stream.getvalue().splitlines()[-2] == (
        "stopped at once; epochs that were running will be repeated. Go on with:"
    )


def test_commands_that_go_on_after_a_second_interrupt_are_named(tmp_path):
    for number, status in ((0, "success"), (12, "running")):
        folder = tmp_path / "trials" / f"{number:04d}"
        folder.mkdir(parents=True)
        job = Job(id=folder.name, action="train", skill_dir="", folder=folder, command=["x"],
                  status=status, pid=4711 + number)  # fmt: skip
        job.save()
    console = Console(io.StringIO())
    console.handle(replace(started(), run_dir=str(tmp_path)))
    console.handle(TrialStarted(trial=12))
    with job.lock():
        console.interrupted_hard()
    assert console._stream.getvalue().splitlines()[-3:] == [
        "trial 12: its command goes on; `kill -- -4723` ends it",
        "stopped at once; a resumed search takes over what goes on. Go on with:",
        "hpo resume /r",
    ]


def test_without_a_terminal_progress_is_not_a_flood():
    epochs = [Epoch(trial=0, epoch=e, value=0.1, seconds=1.0) for e in range(1, 10)]
    lines = said(started(), REVIEW, TrialStarted(trial=0), *epochs).splitlines()
    assert len(lines) == 10
    assert "\r" not in "".join(lines)


def test_on_a_terminal_a_view_keeps_up_and_goes_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = said(
        started(), REVIEW, TrialStarted(trial=0),
        Epoch(trial=0, epoch=3, value=0.25, seconds=1.0), ended(0),
        stream=Terminal(),
    )  # fmt: skip
    assert "0 of 4 trials" in text
    assert "\x1b[32mcomplete\x1b[0m" in text
    assert "Ctrl-C" in text
    lines = text.split("\n")
    assert "Ctrl-C" not in lines[-1]
    assert text.rstrip("\n").endswith(("\x1b[2K", "\x1b[?25h"))  # rows taken away, cursor shown


def test_without_a_terminal_a_line_now_and_then():
    times, stream = [0.0], io.StringIO()
    console = Console(stream, lambda: times[0])
    for event in (
        started(), REVIEW, TrialStarted(trial=0),
        *(Epoch(trial=0, epoch=e, value=0.25, seconds=1.0) for e in range(1, 9)),
    ):  # fmt: skip
        times[0] += 4.0
        console.handle(event)
    status = [line for line in stream.getvalue().splitlines() if "running #0" in line]
    assert 1 <= len(status) < 8
    assert status[0].startswith("0 of 4 trials done  best 0.2500 (#0)  running #0")


def test_what_was_expected_is_compared_with_what_came():
    expected = Forecast(seconds=50.0, low_s=40.0, high_s=60.0, trials=4, epochs=20, pruned=2)
    review = replace(REVIEW, forecast=expected)
    text = said(started(), review, finished())
    assert "expected  50s (40s to 1m 00s): 4 trials, 20 epochs, about 2 pruned" in text
    assert "in 1m 05s (50s expected, 30% longer)" in text


def test_no_color_where_it_is_not_wanted(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in said(started(), REVIEW, ended(0), stream=Terminal())


@pytest.mark.parametrize(
    ("typed", "yes"), [("\n", True), ("y\n", True), ("YES\n", True), ("n\n", False), ("", False)]
)
def test_a_question(monkeypatch, typed, yes):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    console = Console(io.StringIO())
    assert console.ask("Start?") is yes
    assert console._stream.getvalue() == "Start? [Y/n] "


def test_progress_of_preparations():
    console = Console(io.StringIO())
    for done in (1, 50, 100):
        console.progress("decoding", done, 100)
    assert console._stream.getvalue() == "decoding: 100\n"


def test_on_a_terminal_the_review_is_wrapped_between_words(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    long = replace(REVIEW, reason="learns from parallel and pruned trials alike, at no cost at all")
    lines = said(started(), long, stream=Terminal()).splitlines()
    assert max(map(len, lines)) <= 60
    at = next(i for i, line in enumerate(lines) if line.startswith("method"))
    assert lines[at + 1].startswith(" " * 10)
    joined = " ".join(lines[at].split() + lines[at + 1].split())
    assert joined == f"method tpe; {long.reason}"


@pytest.mark.parametrize(
    ("packing", "line"),
    [
        ({"per_gpu": 1, "reason": "x", "at_a_time": None}, "packing   1 trial a GPU: x"),
        ({"per_gpu": 3, "reason": "x"}, "packing   3 trials a GPU: x"),  # of an earlier release
        ({"per_gpu": 1, "reason": "x", "at_a_time": 2}, "packing   2 trials at a time: x"),
    ],
)
def test_the_review_says_what_shares_a_card_or_the_memory(packing, line):
    assert line in render_review(replace(REVIEW, packing=packing))
