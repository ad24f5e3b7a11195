"""Figures hold the ledger's numbers; lanes and ticks against hand-made cases."""

import json
import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from hpo.core.trial import (
    Measurement,
    Suggestion,
    TrialRecord,
    TrialState,
)
from hpo.core.yaml_io import to_yaml
from hpo.report import charts, parameter_charts, slot_chart, summary
from hpo.report.optuna_view import importances, short_names, shown_trials
from hpo.report.run_data import load_run_data
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.make_plan import plan_study
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from tests.count_calls import count_calls
from tests.staged_trainer import NAME as STAGED
from tests.staged_trainer import SEARCH
from tests.staged_trainer import TRAINER as STAGED_TRAINER


def test_history_shows_every_trial_that_has_a_value(facts):
    figure = charts.history(facts)
    points = {
        x: y for trace in figure["data"][:-1] for x, y in zip(trace["x"], trace["y"], strict=True)
    }
    wanted = {
        t.number: max(m.value for m in t.measurements) for t in facts.trials if t.measurements
    }
    assert points == wanted


def test_best_so_far_only_counts_the_longest(facts):
    line = charts.history(facts)["data"][-1]
    longest = max(t.epochs for t in facts.trials)
    best, wanted = -math.inf, []
    for trial in facts.trials:
        if trial.epochs == longest and trial.state is not TrialState.FAILED:
            best = max(best, *(m.value for m in trial.measurements))
            wanted.append(best)
    assert line["y"][:-1] == wanted
    assert line["y"] == sorted(line["y"])


def test_failed_trials_are_no_measure_of_how_long_the_others_were_trained(facts):
    rng = random.Random(0)
    ends = [("failed", 9)] * 6 + [("complete", 8)] * 4 + [("pruned", 3)] * 9
    trials = [
        TrialRecord(
            number=number, state=TrialState(state), latents={}, until_epoch=9,
            params=facts.trials[number % len(facts.trials)].params,
            measurements=[Measurement(epoch=e, value=rng.random()) for e in range(1, epochs + 1)],
            error={"kind": "out_of_memory", "message": "full"} if state == "failed" else None,
        )
        for number, (state, epochs) in enumerate(ends)
    ]  # fmt: skip
    known = replace(facts, trials=tuple(trials))
    assert charts.history(known)["data"][-1]["x"][:-1] == [6, 7, 8, 9]
    assert importances(known)[1:] == (3, 13)


def test_curves_hold_every_epoch_and_end_with_the_winner(facts):
    traces = charts.curves(facts)["data"]
    assert sum(len(trace["y"]) for trace in traces) == sum(t.epochs for t in facts.trials)
    assert traces[-1]["y"] == [m.value for m in facts.best.measurements]
    assert traces[-1]["name"] == f"winner (trial {facts.best.number})"


def test_importances_are_shares(facts):
    figure, how = parameter_charts.importance_bars(facts)
    assert sum(figure["data"][0]["x"]) == pytest.approx(1.0)
    assert set(figure["data"][0]["y"]) == {"lr", "margin", "width"}
    assert "With" in how


def test_too_few_trials_have_no_importance(facts):
    from dataclasses import replace

    figure, how = parameter_charts.importance_bars(replace(facts, trials=facts.trials[:3]))
    assert figure is None
    assert how.startswith("3 trials: too few")


def test_parallel_axes_are_in_spec_units(facts):
    axes = {
        axis["label"]: axis for axis in parameter_charts.parallel(facts)["data"][0]["dimensions"]
    }
    shown = [t for t in facts.searched if t.measurements and not t.error]
    assert axes["P@1"]["values"] == [max(m.value for m in t.measurements) for t in shown]
    rates = [10**v for v in axes["lr"]["values"]]
    assert rates == pytest.approx([t.params["train.lr"] for t in shown])
    low, high = axes["lr"]["range"]
    assert all(low <= tick <= high for tick in axes["lr"]["tickvals"])


def test_slices_have_a_panel_for_each_parameter(facts):
    figure = parameter_charts.slices(facts)
    assert len(figure["data"]) == 3
    panel = next(t for t in figure["data"] if "margin" in t["hovertemplate"])
    shown = [t for t in facts.searched if t.measurements and not t.error]
    assert panel["x"] == [t.params["train.margin"] for t in shown]


def searched_for_long(facts, count):
    """A search of so many trials of 12 epochs, the last of which is its best; half are pruned."""
    trials = []
    for number in range(count):
        is_full = number == count - 1 or number % 2 == 0
        values = [number / count + epoch / 1000 for epoch in range(1, 13 if is_full else 3)]
        trials.append(
            TrialRecord(
                number=number,
                state=TrialState.COMPLETE if is_full else TrialState.PRUNED,
                params=facts.trials[0].params, latents={}, until_epoch=12,
                measurements=[Measurement(epoch=e, value=v) for e, v in enumerate(values, 1)],
            )
        )  # fmt: skip
    spans = {n: (10.0 * n, 10.0 * n + 15.0) for n in range(count)}
    return replace(facts, trials=tuple(trials), best=trials[-1], spans=spans)


def test_of_many_trials_the_best_curves_are_drawn_and_some_of_all_others(facts):
    many = searched_for_long(facts, 2000)
    numbers = [t.number for t in charts.drawn_curves(many)]
    assert len(numbers) == charts.MAX_CURVES
    full = [n for n in range(2000) if n % 2 == 0 or n == 1999]
    assert set(full[-charts.MAX_CURVES // 2 :]) <= set(numbers)  # a later trial is better
    assert 0 in numbers  # the default
    others = sorted(set(numbers) - set(full[-charts.MAX_CURVES // 2 :]))
    assert max(b - a for a, b in pairwise(others)) <= 2 * 2000 / (charts.MAX_CURVES / 2)
    assert len(charts.curves(many)["data"]) == charts.MAX_CURVES
    assert charts.curves(many)["data"][-1]["name"] == "winner (trial 1999)"


def test_of_few_trials_all_curves_are_drawn(facts):
    few = searched_for_long(facts, charts.MAX_CURVES)
    assert charts.drawn_curves(few) == list(few.trials)


def test_very_many_points_are_painted_by_the_graphics_card(facts):
    few, many = searched_for_long(facts, 500), searched_for_long(facts, charts.MAX_POINTS + 1)
    for make in (charts.history, parameter_charts.slices):
        kinds = [
            {t["type"] for t in make(given)["data"] if t["mode"] == "markers"}
            for given in (few, many)
        ]
        assert kinds == [{"scatter"}, {"scattergl"}]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("margin", "margin"),
        ("trunk.base_lr", "trunk.<br>base_lr"),
        ("miner_function_margin", "miner_function_<br>margin"),
        ("embedder.weight_decay_bias", "embedder.<br>weight_decay_<br>bias"),
        ("learningrateofthetrunk", "learningrateofthetrunk"),
    ],
)
def test_names_under_axes_do_not_touch(name, lines):
    assert parameter_charts._in_lines(name) == lines


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (3e-6, 0.04, [1e-5, 1e-4, 1e-3, 1e-2]),
        (0.015, 0.55, [0.1, 0.02, 0.05, 0.2, 0.5]),
        (3.1, 4.2, [3.1, 4.2]),
    ],
)
def test_log_ticks(low, high, ticks):
    assert sorted(parameter_charts._log_ticks(low, high)) == pytest.approx(sorted(ticks))


def test_worst_classes_first():
    winner = {"a": 1.0, "b": 0.25, "c": 0.5}
    figure = charts.class_bars(winner, {"a": 0.5, "b": 0.5, "c": 0.5}, dict.fromkeys("abc", 4))
    default, best = figure["data"]
    assert best["y"][::-1] == ["b (4)", "c (4)", "a (4)"]  # plotly draws upwards
    assert best["x"][::-1] == [0.25, 0.5, 1.0]
    assert default["x"] == [0.5, 0.5, 0.5]


def test_map_has_every_point_once():
    chart = {
        "x": [0.0, 1.0, 2.0],
        "y": [3.0, 4.0, 5.0],
        "class": ["a", "b", "a"],
        "role": ["gallery", "query", "query"],
        "path": ["1", "2", "3"],
    }
    figure = charts.embedding_map(chart)
    points = {(x, y) for t in figure["data"] for x, y in zip(t["x"], t["y"], strict=True)}
    assert points == {(0.0, 3.0), (1.0, 4.0), (2.0, 5.0)}
    colors = {t["name"]: t["marker"]["color"] for t in figure["data"]}
    assert colors["a"] != colors["b"]


def test_figures_are_plain_json(facts):
    made = [
        charts.history(facts),
        charts.curves(facts),
        slot_chart.slots(facts),
        parameter_charts.parallel(facts),
    ]
    for figure in made:
        assert json.loads(json.dumps(figure)) == figure


@pytest.mark.parametrize(
    ("numbers", "step"), [([0], 1), ([0, 1], 1), ([1, 2], 1), ([0, 15], 2), ([3, 45], 5)]
)
def test_axes_of_trials_and_epochs_are_of_whole_numbers(numbers, step):
    ticks = charts.whole_ticks(numbers)
    assert (ticks["tick0"], ticks["dtick"]) == (0, step)
    assert ticks["range"][0] < min(numbers) <= max(numbers) < ticks["range"][1]


def test_axes_of_epochs_use_them(facts):
    for figure in (charts.history(facts), charts.curves(facts)):
        assert figure["layout"]["xaxis"]["dtick"] in (1, 2)


def test_the_ticks_of_growth_are_what_was_measured():
    levels = [{"pictures": 1.0, "value": 0.5}, {"pictures": 4.0, "value": 0.7}]
    ahead = [{"pictures": 8.0, "value": 0.75, "interval": [0.7, 0.8]}]
    axis = charts.growth_curve(levels, ahead)["layout"]["xaxis"]
    assert axis["ticktext"] == ["1", "4", "8"]


def test_colours_are_explained_where_they_are(facts):
    from dataclasses import replace

    caption = parameter_charts.slices_caption(facts)
    first = replace(facts, best=facts.trials[0])
    assert ("orange: the default" in caption) == (facts.best.number != 0)
    same = parameter_charts.slices_caption(first)
    assert same.startswith("Blue: the winner and the default, which is the same trial")
    assert "orange" not in same
    assert "parameters" not in same  # all of them are shown


def test_parameters_that_are_not_shown_are_counted(facts, monkeypatch):
    monkeypatch.setattr(parameter_charts, "_MAX_SLICES", 2)
    caption = parameter_charts.slices_caption(facts)
    assert "2 of 3 parameters, " in caption
    assert len(parameter_charts.slices(facts)["data"]) == 2


@pytest.mark.parametrize(("number", "is_each"), [(54, True), (200, False)])
def test_every_class_of_a_matrix_is_named_where_there_is_room(number, is_each):
    names = [f"class {i}" for i in range(number)]
    layout = charts.confusion_matrix(names, [[0] * number] * number)["layout"]
    assert ("dtick" in layout["xaxis"], "dtick" in layout["yaxis"]) == (is_each, is_each)
    # Else plotly takes names such as 4011 for places along a line.
    assert layout["xaxis"]["type"] == layout["yaxis"]["type"] == "category"


def test_options_that_look_like_numbers_are_names(facts):
    """And so are lists, which plotly takes for names of two levels."""
    given = [{"train.width": text, "train.margin": [0.1, 0.2]} for text in ("128", "64", "2e3")]
    trials = tuple(replace(t, params=own) for t, own in zip(facts.trials, given, strict=False))
    figure = parameter_charts.slices(replace(facts, trials=trials))
    axes = {axis["title"]["text"]: axis.get("type") for name, axis in figure["layout"].items()
            if name.startswith("xaxis")}  # fmt: skip
    assert axes == {"width": "category", "margin": "category"}
    assert ["[0.1, 0.2]"] * 3 in [trace["x"] for trace in figure["data"]]


def test_unknown_pictures_are_two_curves_and_confusions_a_matrix():
    curves = {
        "limit": [0.1, 0.9], "accepted": [0.0, 0.6], "rejected": [1.0, 0.2],
        "coverage": [0.0, 0.8], "accuracy": [1.0, 0.7],
    }  # fmt: skip
    first, second = charts.unknown_curves(curves)["data"]
    assert (first["x"], first["y"]) == ([0.0, 0.8], [1.0, 0.7])
    assert (second["x"], second["y"], second["text"]) == (
        [1.0, 0.2],
        [0.0, 0.6],
        ["0.100", "0.900"],
    )
    (cells,) = charts.confusion_matrix(["a", "b"], [[3, 1], [0, 2]])["data"]
    assert (cells["z"], cells["x"], cells["y"]) == ([[3, 1], [0, 2]], ["a", "b"], ["a", "b"])


def with_params(facts, rows, **more):
    """The search with a trial for each of some rows of parameters; every second one is better."""
    trials = tuple(
        TrialRecord(
            number=n, state=TrialState.COMPLETE, params=params, latents={}, until_epoch=9,
            measurements=[Measurement(epoch=1, value=0.5 + n % 2 / 4 + n / 100)],
        )
        for n, params in enumerate(rows)
    )  # fmt: skip
    return replace(facts, trials=trials, best=trials[-1], **more)


def axes_of(facts):
    dimensions = parameter_charts.parallel(facts)["data"][0]["dimensions"]
    return {axis["label"].replace("<br>", ""): axis for axis in dimensions}


def test_parameters_of_trials_without_a_result_have_no_panel(facts):
    """A conditional one that only a running and a failed trial have, where importance is unknown."""
    own = {"train.lr": 0.01, "train.width": 9}
    given = with_params(facts, [own, own, own | {"train.margin": 0.5}, own | {"train.margin": 0.5}])
    given.trials[2].measurements.clear()
    given.trials[3].error = {"kind": "diverged", "message": "nan"}
    figure = parameter_charts.slices(given)
    layout = figure["layout"]
    titles = [axis["title"]["text"] for name, axis in layout.items() if name.startswith("xaxis")]
    assert titles == ["lr", "width"]


def test_trials_without_a_parameter_keep_their_line(facts):
    """Of two losses each has a parameter of its own, on a linear and on a logarithmic axis."""
    rows = [
        {"train.loss": "one", "train.margin": 0.25 + n / 100} if n % 2
        else {"train.loss": "other", "train.lr": 10 ** (-n / 4)}
        for n in range(10)
    ]  # fmt: skip
    given = with_params(facts, rows)
    axes = axes_of(given)
    assert set(axes) == {"loss", "margin", "lr", "P@1"}
    assert [len(axis["values"]) for axis in axes.values()] == [10] * 4
    for name, lacks, shown in (("margin", 0, lambda v: v), ("lr", 1, lambda v: 10**v)):
        axis = axes[name]
        values = axis["values"]
        assert axis["ticktext"][0] == "not searched"
        assert set(values[lacks::2]) == {axis["tickvals"][0]} == {axis["range"][0]}
        assert min(values[1 - lacks :: 2]) > axis["tickvals"][0]
        whole = [row[f"train.{name}"] for row in rows[1 - lacks :: 2]]
        assert [shown(v) for v in values[1 - lacks :: 2]] == pytest.approx(whole)
    assert "stand at `not searched`" in parameter_charts.parallel_caption(given)
    assert "not searched" not in parameter_charts.parallel_caption(facts)


def test_what_trials_carry_of_an_earlier_stage_is_shown_as_it_was_searched(facts):
    """The rate on a logarithmic axis, and all of it in the table of parameters."""
    last = replace(facts.space, parameters=facts.space.parameters[:1])
    (kept,) = [p.name for p in last.parameters]
    own = {"train.lr": 1e-3, "train.margin": 0.25, "train.width": 64}
    rows = [own | {"train.lr": 10 ** (-1 - n / 5), "train.margin": n / 40} for n in range(10)]
    given = with_params(facts, rows, space=last, earlier={"heads": facts.space})
    assert axes_of(given)["lr"]["values"] == pytest.approx([-1 - n / 5 for n in range(10)])
    table = {row["name"]: row["winner"] for row in summary.parameter_rows(given, {})}
    assert table == {"train.lr": "0.001585", "train.margin": "0.225", "train.width": "64"}
    assert list(table)[0] == kept
    first = with_params(
        facts, [{"train.lr": 0.1}, *rows], space=last, earlier={"heads": facts.space}
    )
    (row,) = [
        r
        for r in summary.parameter_rows(replace(first, best=first.trials[0]), {})
        if r["name"] == "train.margin"
    ]
    assert row["winner"] == row["default"] != ""
    unknown = with_params(facts, rows, space=last)
    assert [row["name"] for row in summary.parameter_rows(unknown, {})] == [kept]


def test_the_spaces_of_earlier_stages_are_those_of_the_study(tmp_path):
    study = StudySpec(trainer=STAGED, search=SearchOptions(**SEARCH))
    (tmp_path / "study.yaml").write_text(to_yaml(study.to_dict()))
    plan_study(study, STAGED_TRAINER).write(tmp_path)
    ledger = Ledger.create(tmp_path / "ledger.db", "maximize")
    params = {"train.lr": 0.1, "train.width": 9, "train.margin": 0.3}
    ledger.start(Suggestion(number=0, params=params, latents={}, until_epoch=9), now=0.0, clock=0.0)
    ledger.close()
    found = load_run_data(RunDir(tmp_path))
    (carried,) = [p for p in found.parameters if p.name == "train.margin"]
    assert [p.name for p in found.space.parameters] == ["train.lr", "train.width"]
    assert (carried.distribution["low"], carried.distribution["high"]) == (0.1, 0.9)


def test_options_that_are_numbers_stand_in_their_order(facts):
    rows = [
        {"train.batch": size, "train.lr": 0.01 * (1 + n)}
        for n, size in enumerate([128, 32, 64] * 3)
    ]
    space = replace(facts.space, parameters=facts.space.parameters[:1])
    axis = axes_of(with_params(facts, rows, space=space))["batch"]
    assert axis["tickvals"] == [32, 64, 128]


def test_charts_of_one_search_are_made_of_one_measurement(facts):
    def draw(facts):
        for each in ("importance_bars", "parallel", "parallel_caption", "slices", "slices_caption"):
            getattr(parameter_charts, each)(facts)

    assert count_calls(draw, replace(facts), of="get_param_importances") == 1
    shown = sum(t.measurements != [] for t in facts.searched)
    made = count_calls(draw, replace(facts), of="create_trial")
    assert made <= 2 * shown  # as they were when compared, and as they ended


def test_parameters_whose_short_names_would_be_one_stay_apart(facts):
    new = {"train.lr": "train.optim.lr", "train.margin": "model.lr", "train.width": "train.epochs"}
    trials = tuple(
        replace(t, params={new[name]: value for name, value in t.params.items()})
        for t in facts.trials
    )
    mixed = replace(facts, trials=trials, best=trials[facts.best.number])
    short = short_names(mixed, "epochs", "value")
    assert [short[name] for name in new.values()] == ["train.optim.lr", "model.lr", "train.epochs"]
    assert short_names(mixed)["train.epochs"] == "epochs"
    for shown, trial in zip(shown_trials(mixed), mixed.measured, strict=True):
        assert shown.params == {
            "train.optim.lr": trial.params["train.optim.lr"],
            "model.lr": trial.params["model.lr"],
            "epochs": trial.params["train.epochs"],
        }
    assert parameter_charts.parallel(mixed) is not None
    drawn = {
        trace["hovertemplate"].split("<br>")[1].split(" = ")[0]: trace["x"]
        for trace in parameter_charts.slices(mixed)["data"]
    }
    own = mixed.measured
    assert drawn["model.lr"] == [t.params["model.lr"] for t in own]
    assert drawn["train.optim.lr"] == [t.params["train.optim.lr"] for t in own]
    for row, trial in zip(summary.trial_rows(mixed), mixed.trials, strict=True):
        assert row["params"].count("lr ") == 2, (row, trial)
