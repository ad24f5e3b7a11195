"""Searches from Python: what a notebook sees equals what the ledger holds."""

import io
import json
import re
import shutil
import subprocess
import sys
import threading
import warnings

import pytest

from hpo import api
from hpo.automl.ask_tell import AutoML
from hpo.automl.runner import AutoMLRunner
from hpo.core.errors import HpoError, RunError, SpecError
from hpo.core.process.imports import calls_stay_harmless
from hpo.run.ledger import Ledger
from hpo.study.arguments import study_of_arguments
from tests.quick_cli import write_study

QUIET = {"executor": "inprocess", "quiet": True, "report": False}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    file = write_study(folder, fault__kind="raise@3:2")
    return api.search(file, budget=9, out=folder / "runs", **QUIET)


@pytest.fixture(scope="module")
def trials(study):
    ledger = Ledger.open(study.run_dir / "ledger.db")
    yield ledger.trials()
    ledger.close()


def test_the_best_is_what_was_handed_on(study, trials):
    report = json.loads((study.run_dir / "best" / "report.json").read_text())
    assert study.best["trial"] == report["trial"]
    assert study.best_params == trials[report["trial"]].params
    assert study.best_value == max(m.value for m in trials[report["trial"]].measurements)
    assert study.best["onnx"] == report["onnx"]
    assert study.best["default_value"] == max(m.value for m in trials[0].measurements)


def test_a_notebook_shows_how_the_run_stands_and_the_best_trials_first(study, trials):
    page = study._repr_html_()
    assert page.startswith("<p>quick: finished, 9 trials<br>best: trial ")
    assert f"held out: P@1 {0.5:.4f}" in page
    ranks = [int(n) for n in re.findall(r"<tr>\s*<th>(\d+)</th>", page)]
    values = {t.number: max((m.value for m in t.measurements), default=0) for t in trials}
    values[3] = -1  # failed, and so the last
    assert ranks == sorted(values, key=values.get, reverse=True)
    assert "the loss exploded on purpose" in page


def test_the_public_call_works_before_and_after_its_package_was_imported(tmp_path):
    script = (
        "import hpo\n"
        "for _ in range(2):\n"
        f"    study = hpo.search({str(write_study(tmp_path))!r}, budget=1, out={str(tmp_path)!r},\n"
        "        executor='inprocess', quiet=True, report=False)\n"
        "    assert study.best['trial'] == 0\n"
        "import hpo.searching.session\n"
        "assert hpo.searching.session.start_search\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)


def test_trials_as_a_data_frame(study, trials):
    frame = study.trials_dataframe()
    assert list(frame.index) == [t.number for t in trials]
    assert list(frame["epochs"]) == [t.epochs for t in trials]
    assert list(frame["lr"]) == [t.params["train.lr"] for t in trials]
    assert frame["value"].isna().sum() == 1  # the planted failure
    assert "Error" in frame.loc[3, "error"]


def test_epochs_as_a_data_frame(study, trials):
    frame = study.epochs_dataframe()
    assert len(frame) == sum(t.epochs for t in trials)
    winner = frame[frame["trial"] == study.best["trial"]]
    assert winner["value"].max() == study.best_value


@pytest.mark.parametrize("name", ["history", "curves", "parallel", "slices", "slots", "importance"])
def test_plots_are_plotly_figures_in_real_colours(study, name):
    figure = getattr(study, f"plot_{name}")()
    assert len(figure.data) > 0
    assert not re.search(r'"@[a-z]+"', figure.to_json())


def test_it_can_be_found_again(study):
    out = study.run_dir.parent.parent
    assert api.load(study.run_dir).run_dir == study.run_dir
    assert api.load("quick", out=out).best == study.best
    assert api.load(out=out).run_dir == study.run_dir
    with pytest.raises(RunError):
        api.load("nothing", out=out)


def test_it_goes_on_and_says_that_a_budget_is_used_up(tmp_path, caplog):
    study = api.search(write_study(tmp_path), budget=2, out=tmp_path / "runs", **QUIET)
    assert len(study.resume("+2", **QUIET).trials_dataframe()) == 4
    assert "used up" not in caplog.text
    assert len(study.resume("3", **QUIET).trials_dataframe()) == 4
    assert "a budget of 3 trials is used up already (4 trials" in caplog.text


def test_spec_and_options_reach_the_study(tmp_path):
    study = api.search(
        write_study(tmp_path),
        budget="3",
        spec={"train.num_epochs": 2},
        options={"algorithm": "random", "pruner": "none", "fix": {"train.width": 100}},
        name="mine",
        out=tmp_path / "runs",
        keep="all",
        **QUIET,
    )
    facts = study.facts
    assert facts.study.keep == "all"
    study.resume(keep="best", disk_quota="3GB", **QUIET)
    assert (study.facts.study.keep, study.facts.study.disk_quota) == ("best", "3GB")
    assert (facts.plan.num_epochs, facts.plan.algorithm, facts.study.name) == (2, "random", "mine")
    assert set(facts.best.params) == {"train.lr", "train.margin"}
    assert study.run_dir.parent == (tmp_path / "runs" / "mine").resolve()


def test_who_names_a_seed_gets_the_same_search_again():
    for options, is_on in (({}, True), ({"seed": 4}, False), ({"seed": 4, "memory": True}, True)):
        given = study_of_arguments(None, "/shots", None, None, None, options)
        assert given.search.memory is is_on


def test_a_seed_that_a_study_file_names_counts_as_one_of_the_options(tmp_path):
    (tmp_path / "s.yaml").write_text("schema_version: 1\nsearch: {seed: 3}\n")
    for options, is_on in ({"confirm": 2}, False), ({"memory": True}, True):
        given = study_of_arguments(str(tmp_path / "s.yaml"), None, None, None, None, options)
        assert given.search.memory is is_on


def test_splits_or_a_folder():
    given = study_of_arguments(
        None, {"train": "/a", "reference": "/b", "query": "/c"}, None, None, None, None
    )
    assert (given.data.train, given.data.reference, given.data.query) == ("/a", "/b", "/c")
    folder = study_of_arguments(None, "/shots/retail", "40", None, None, None)
    assert (folder.data.folder, folder.name, folder.budget.trials) == (
        "/shots/retail",
        "retail",
        40,
    )
    embedded = study_of_arguments(None, None, None, None, None, None)
    assert embedded.data.is_default


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": {"train": "/a", "test": "/b"}}, "data: unknown key 'test'"),
        ({"data": {"train": "/a"}}, "reference"),
        ({"options": {"algorythm": "tpe"}}, "options: unknown key 'algorythm'"),
        ({"colour": 1}, "colour: no such argument of a search"),
        ({"force": True}, "force: no such argument of a search"),
        ({"concurrent": 2, "executor": "inprocess"}, "concurrent: must be 1 where this process"),
        ({"executor": "raay"}, "executor: must be ray or inprocess, got 'raay'"),
        ({"listeners": 5}, "listeners: must be a list of functions, got 5"),
        ({"listeners": [print, "me"]}, "listeners: must be a list of functions"),
        ({"quiet": "yes"}, "quiet: must be True or False, got 'yes'"),
        ({"runs": 5}, "runs: must be text or a Path, got 5"),
        ({"spec": {"train.num_epoch": 7}}, "did you mean train.num_epochs"),
        ({"budget": "ten"}, "budget: 'ten' is not understood"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HpoError, match=message) as caught:
        api.search(out=tmp_path, **arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": "some"}, "keep: must be"),
        ({"keep": 5}, "Study.resume: keep: must be text, got 5"),
        ({"disk_quota": "much"}, "disk_quota: "),
        ({"name_prefix": "x"}, "name_prefix: no such argument of a resume"),
    ],
)
def test_a_resume_takes_what_a_resume_can_change(study, given, message):
    before = (study.run_dir / "study.yaml").read_bytes()
    with pytest.raises(HpoError, match=message):
        study.resume(**given, **QUIET)
    assert (study.run_dir / "study.yaml").read_bytes() == before


@pytest.mark.parametrize("call", [api.load, api.Study, lambda it: api.load(out=it)])
def test_what_is_no_place_of_a_run_is_refused(call):
    with pytest.raises(SpecError, match="(run|out): must be text or a Path, got 7"):
        call(7)


def test_nothing_to_draw_is_said(tmp_path):
    study = api.search(write_study(tmp_path), budget=1, out=tmp_path / "runs", **QUIET)
    with pytest.raises(SpecError, match="nothing to draw"):
        study.plot_parallel()
    with pytest.raises(SpecError, match="1 trial: too few"):
        study.plot_importance()


def test_the_package_itself_has_the_calls():
    import hpo

    assert hpo.search is api.search
    assert hpo.load is api.load
    assert hpo.Study is api.Study


@pytest.mark.parametrize("empty", [{"data": ""}, {"data": {"train": ""}}, {"weights": ""}])
def test_an_empty_place_is_refused(empty, tmp_path):
    with pytest.raises(SpecError, match="must name a folder, file or address, got an empty text"):
        api.search(budget=1, out=tmp_path, **empty, **QUIET)


def test_one_picture_may_stand_alone(study, tmp_path):
    (tmp_path / "ab.jpg").write_bytes(b"any")
    several = study.predict([tmp_path / "ab.jpg"])
    assert [row["image"] for row in several] == [str(tmp_path / "ab.jpg")]
    assert study.predict(tmp_path / "ab.jpg") == study.predict(str(tmp_path / "ab.jpg")) == several


@pytest.mark.parametrize("images", [5, [5], None, ["a.jpg", 5.5], ""])
def test_what_is_no_picture_is_named(study, images):
    with pytest.raises(SpecError, match="images: must (be text or a Path|name a folder)"):
        study.predict(images)


def test_a_copied_run_names_its_own_files(study, tmp_path):
    shutil.copytree(study.run_dir, tmp_path / "copy")
    best = api.load(tmp_path / "copy").best
    assert best["onnx"] == str(tmp_path / "copy/best/model.onnx")
    assert best["spec"] == str(tmp_path / "copy/best/spec.yaml")
    assert study.best["onnx"] == str(study.run_dir / "best/model.onnx")


def test_runs_lie_below_the_home_folder_where_that_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = api.search(write_study(tmp_path), budget=1, out="~/runs", runs="~/earlier", **QUIET)
    assert found.run_dir.is_relative_to(tmp_path / "runs")
    assert not (tmp_path / "~").exists()
    assert api.load("~/runs/quick").run_dir == found.run_dir
    assert api.load(out="~/runs").run_dir == found.run_dir


def test_listeners_come_beside_the_lines_on_stderr(tmp_path, capsys):
    events = []

    class Ear:
        def handle(self, event):
            events.append(event.name)

        def close(self):
            events.append("closed")

    given = {"executor": "inprocess", "report": False, "listeners": [lambda *_: Ear()]}
    api.search(write_study(tmp_path), budget=1, out=tmp_path / "runs", **given)
    assert (events[0], events[-1]) == ("started", "closed")
    assert "trial   0" in capsys.readouterr().err
    events.clear()
    api.search(write_study(tmp_path), budget=1, out=tmp_path / "runs", quiet=True, **given)
    assert (events[0], events[-1]) == ("started", "closed")
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Impatient:
    """A listener that presses Ctrl-C when the second trial starts."""

    def handle(self, event):
        if event.name == "trial_started" and event.trial == 1:
            raise KeyboardInterrupt

    def close(self):
        pass


def test_a_view_ends_with_its_search_and_says_what_ctrl_c_does(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    before = {*threading.enumerate()}
    refused = Terminal()
    monkeypatch.setattr(sys, "stderr", refused)
    with pytest.raises(HpoError):
        api.search(data=tmp_path / "nowhere", out=tmp_path / "runs", executor="inprocess")
    stopped = Terminal()
    monkeypatch.setattr(sys, "stderr", stopped)
    with pytest.raises(KeyboardInterrupt):
        api.search(
            write_study(tmp_path, fault__sleep=0.1), budget=3, out=tmp_path / "runs",
            executor="inprocess", report=False, listeners=[lambda *_: Impatient()],
        )  # fmt: skip
    for thread in {*threading.enumerate()} - before:
        thread.join(timeout=10)  # it looks up four times a second
    assert {*threading.enumerate()} <= before  # those of earlier tests may end, too
    for stream in (refused, stopped):
        text = stream.getvalue()
        assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor
    assert "Ctrl-C: stop at once; running epochs are repeated." in stopped.getvalue()
    assert "finish the running epochs" not in stopped.getvalue()
    run = api.load(out=tmp_path / "runs").run_dir
    assert stopped.getvalue().rstrip().endswith(f"hpo resume {run} --in-process")


def test_a_run_can_be_looked_at_before_its_first_trial(study, tmp_path):
    fresh = tmp_path / "fresh"
    shutil.copytree(
        study.run_dir, fresh, ignore=shutil.ignore_patterns("best", "trials", "ledger*")
    )
    Ledger.create(fresh / "ledger.db", "maximize").close()
    empty = api.load(fresh)
    assert (empty.best, empty.best_params, empty.best_value) == ({}, {}, None)
    assert "0 trials" in empty._repr_html_()
    frame = empty.trials_dataframe()
    assert len(frame) == len(empty.epochs_dataframe()) == 0
    whole = study.trials_dataframe()
    assert list(frame.columns) == list(whole.columns)[: len(frame.columns)]
    assert frame.index.name == whole.index.name
    with pytest.raises(RunError, match="no trial has been started"):
        empty.plot_history()
    with pytest.raises(RunError, match="no trial has been started"):
        empty.report()


def test_warnings_of_libraries_end_no_call():
    @calls_stay_harmless
    class Library:
        def __init__(self):
            warnings.warn("made", stacklevel=1)

        def call(self, word):
            """Call it."""
            warnings.warn("called", stacklevel=1)
            return word

        @property
        def place(self):
            """Where it is."""
            warnings.warn("looked", stacklevel=1)
            return 7

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Library().call("a") == "a"
        assert Library().place == 7
        with pytest.raises(UserWarning):
            warnings.warn("the program's own", stacklevel=1)
    assert (Library.call.__doc__, Library.place.__doc__) == ("Call it.", "Where it is.")
    for kind in (api.Study, AutoML, AutoMLRunner):
        for name in ("resume", "plot_curves", "facts", "next_recommendation", "finish", "review"):
            value = vars(kind).get(name)
            function = value.fget if isinstance(value, property) else value
            assert function is None or hasattr(function, "__wrapped__"), (kind, name)
