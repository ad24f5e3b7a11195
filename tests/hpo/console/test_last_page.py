"""The last page, line by line."""

from dataclasses import replace

import pytest

from hpo.console.last_page import Seen, linked, render_end, render_value
from hpo.core.budget import Spent
from hpo.core.events import Finished
from hpo.core.expected import Expected
from hpo.core.forecast import Forecast
from hpo.core.rungs import Rung

BEST = {
    "trial": 2, "value": 0.75, "default_value": 0.5, "onnx": "/r/best/model.onnx",
    "spec": "/r/best/spec.yaml", "params": {"train.optim.trunk.base_lr": 0.00123456, "model.feat_dim": 64},
}  # fmt: skip


def page(seen=None, **more):
    counts = {"complete": 3, "pruned": 0, "failed": 1}
    facts = {"run_dir": "/a run", "trials": counts, "spent": Spent(seconds=65.0), "best": BEST}
    return render_end(Finished(**facts | more), seen or Seen())


def test_the_result_then_what_to_do_then_the_search():
    assert page(report="/r/report.html", edges=("lr: look further",)) == [
        "best      trial 2: P@1 0.7500 (+0.2500 over the default)",
        "with      train.optim.trunk.base_lr = 0.001235, model.feat_dim = 64",
        "onnx      /r/best/model.onnx",
        "report    /r/report.html",
        "next      hpo predict '/a run' IMAGE...",
        "          hpo ui '/a run'",
        "finished  3 complete, 1 failed in 1m 05s",
        "range     lr: look further",
    ]


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/r/best", "its changes are kept"),
        (
            "/r/best-1",
            "is of another model, without the changes of the one before, which is now "
            "/r/best-1/gallery.npz",
        ),
    ],
)
def test_a_gallery_that_was_changed_is_told_of(folder, said):
    seen = Seen(export={"changed_gallery": f"{folder}/gallery.npz"})
    assert f"gallery   {said}" in page(seen)


def test_trials_that_the_budget_cut_short_are_counted():
    none = {"complete": 0, "pruned": 0, "failed": 0}
    assert "finished  2 paused in 1m 05s" in page(trials=none, suspended=2)
    assert "finished  3 complete, 1 failed, 1 paused in 1m 05s" in page(suspended=1)


def test_repeats_say_the_gain_and_are_counted():
    words = ["trial 2 over 3 seeds: 0.70", "ahead of the default by 0.2"]
    lines = page(best=BEST | {"confirmation": {"words": words}}, confirmations=4)
    assert lines[:3] == [
        "best      trial 2: P@1 0.7500 in the run that found it",
        "confirmed trial 2 over 3 seeds: 0.70",
        "          ahead of the default by 0.2",
    ]
    assert "finished  3 complete, 1 failed, 4 repeats in 1m 05s" in lines


def test_what_to_expect_stands_before_the_held_out_figure():
    found = Expected(
        value=0.75, trials=4, drop=0.02, drop_error=0.01, expected=0.73, interval=(0.71, 0.75),
        noise=0.015, tied=("trial 1",),
    )  # fmt: skip
    seen = Seen(metric="val_precision_at_1", evaluated="held out  P@1 0.7200")
    lines = page(seen, best=BEST | {"expected": found.to_json()})
    assert lines[1:4] == [
        "estimate  validation P@1 0.7500 chose this trial among 4 trials trained as long; on new pictures "
        "like these expect 0.730 (0.710 to 0.750)",
        "          a tie with trial 1: the difference may be chance",
        "held out  P@1 0.7200",
    ]


def test_a_search_that_had_ended_is_told_by_its_result_alone():
    test = {"held_out": {"value": 1.25, "interval": [1.0, 1.5]}}
    told = {"metric": "val_loss", "direction": "minimize", "test": test, "num_images_checked": 9}
    lines = page(Seen(), best=BEST | told | {"default_value": 1.0})
    assert lines[:2] == [
        "best      trial 2: val_loss 0.7500, -0.2500 against the default (less is better)",
        "held out  val_loss 1.2500 (1.0000 to 1.5000)",
    ]
    assert "onnx      /r/best/model.onnx (checked on 9 pictures)" in lines


def test_the_default_configuration_as_winner():
    assert page(best=BEST | {"trial": 0})[0] == (
        "best      trial 0: P@1 0.7500, the default configuration"
    )
    again = BEST | {"trial": 9, "default_value": 0.75, "is_default": True}
    assert page(best=again)[0] == "best      trial 9: P@1 0.7500, the default configuration"
    other = BEST | {"trial": 0, "is_default": False}
    assert page(best=other)[0] == "best      trial 0: P@1 0.7500 (+0.2500 over the default)"


def test_no_result():
    assert page(best=None, trials={}) == [
        "best      no trial has a result", "finished  no trials in 1m 05s",
    ]  # fmt: skip


def test_what_was_expected_and_why_it_ended():
    expected = Forecast(seconds=50.0, low_s=40.0, high_s=60.0, trials=4, epochs=20, pruned=2)
    whole = replace(expected, seconds=90.0, after_s=40.0)  # time after the trials does not count
    for told in (expected, whole):
        lines = page(Seen(expected=told), ended_because="algorithm")
        assert "finished  3 complete, 1 failed in 1m 05s (50s expected, 30% longer)" in lines
    lines = page(Seen(expected=expected), ended_because="converged: nothing gained in 8 trials")
    assert "finished  3 complete, 1 failed in 1m 05s" in lines  # the forecast knew nothing of it
    assert lines[-1] == "converged nothing gained in 8 trials"
    nothing = replace(expected, seconds=0.0)  # where no trial can begin
    assert page(Seen(expected=nothing))[-1] == "finished  3 complete, 1 failed in 1m 05s"


def test_a_search_that_gave_up_says_so_and_how_to_go_on():
    for resume, told in (("hpo resume /r --force",) * 2, ("", "hpo resume '/a run'")):
        assert page(Seen(resume=resume), ended_because="train: no images")[-2:] == [
            "gave up   train: no images",
            f"          go on, once that is mended: {told}",
        ]
    assert page(ended_because="algorithm")[-1] == (
        "ended     the algorithm has no more trials to propose"
    )
    assert page(ended_because="gpu_seconds")[-1] == "finished  3 complete, 1 failed in 1m 05s"


def test_a_link():
    assert linked("/a b/é.html") == (
        "\x1b]8;;file:///a%20b/%C3%A9.html\x1b\\/a b/é.html\x1b]8;;\x1b\\"
    )


@pytest.mark.parametrize(("value", "text"), [(0.000123456, "0.0001235"), (64, "64"), ("a", "a")])
def test_values_for_people(value, text):
    assert render_value(value) == text


def test_after_a_resume_the_rest_is_compared_with_the_rest():
    expected = Forecast(seconds=20.0, low_s=10.0, high_s=30.0, trials=4, epochs=20, pruned=2)
    line = page(Seen(expected=expected, before_s=40.0, is_resumed=True))[-1]
    assert line == (
        "finished  3 complete, 1 failed in 1m 05s; since the resume 25s (20s expected, 25% longer)"
    )
    line = page(Seen(expected=expected, before_s=40.0))[-1]
    assert line == (
        "finished  3 complete, 1 failed in 1m 05s; without the choice of the network 25s "
        "(20s expected, 25% longer)"
    )


def test_rungs_are_told_where_something_can_be_said_of_them():
    rungs = (
        Rung(epoch=2, stopped=4, in_full=2, correlation=None),
        Rung(epoch=6, stopped=1, in_full=5, correlation=0.75),
    )
    lines = [line for line in page(rungs=rungs) if line.startswith("rung ")]
    assert len(lines) == 1
    assert "epoch 6" in lines[0]
