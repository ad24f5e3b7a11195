"""A value with one choice reaches every trial, whoever decided it and whichever way the search is started.

Sources of such a value x ways to search; what is looked at is the same everywhere: spec.yaml of every trial, the
receipts, `best/spec.yaml` and `best/report.json`. No value is the default, so a lost one shows.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo import AutoML, AutoMLRunner, api
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import lookup
from hpo.core.yaml_io import read_yaml, to_yaml
from hpo.run.ledger import Ledger
from hpo.searching.engine import ReceiptError
from hpo.searching.session import resume_search, start_search
from hpo.study.sections import SearchOptions
from tests.hpo.automl.conftest import make_skill
from tests.quick_cli import STUDY
from tests.quick_runs import Ear, quick_study
from tests.quick_trainer import NAME

SOURCES = {
    "fixed": ({"fix": {"train.margin": 0.7}}, "train.margin", 0.7),
    "fixed list of one": ({"fix": {"train.width": 33}}, "train.width", 33),
    "one option": ({"options": {"train.margin": [0.7]}}, "train.margin", 0.7),
    "collapsed range": ({"ranges": {"train.width": [20.5, 21.5]}}, "train.width", 21),
    "published option": (
        {"custom_param_ranges": {"train.margin": {"valid_options": [0.7]}}}, "train.margin", 0.7,
    ),
    "published options as text": (
        {"custom_param_ranges": {"train.width": {"valid_options": "77"}}}, "train.width", 77,
    ),
    "collapsed published range": (
        {"custom_param_ranges": {"train.width": {"valid_min": 20.5, "valid_max": 21.5}}},
        "train.width", 21,
    ),
    "length, fixed": ({"fix": {"train.num_epochs": 4}}, "train.num_epochs", 4),
    "length, one option": ({"options": {"train.num_epochs": [4]}}, "train.num_epochs", 4),
}  # fmt: skip
FLAGS = {
    "fixed": ["--fix", "train.margin=0.7"],
    "one option": ["--options", "train.margin=0.7"],
    "collapsed range": ["--range", "train.width=20.5..21.5"],
    "length, fixed": ["--fix", "train.num_epochs=4"],
}
THREE = Budget(trials=3)
QUIET = {"executor": "inprocess", "quiet": True, "report": False}


def demand_arrived(folder, name, value):
    """Look at everything a finished run holds of its trials."""
    ledger = Ledger.open(folder / "ledger.db")
    trials = ledger.trials()
    ledger.close()
    assert trials
    for trial in trials:
        spec = read_yaml(folder / "trials" / f"{trial.number:04d}" / "spec.yaml")
        assert lookup(spec, name) == value, trial.number
        assert name not in trial.params
        assert trial.receipt["applied"].get(name, value) == value
        assert (name in trial.receipt["applied"]) != (name in trial.receipt["unseen"])
        if name == "train.num_epochs":
            assert trial.until_epoch <= value
    assert lookup(read_yaml(folder / "best" / "spec.yaml"), name) == value
    assert json.loads((folder / "best" / "report.json").read_text())["decided"][name] == value
    assert lookup(json.loads((folder / "plan.json").read_text())["base_spec"], name) == value


def study_of(source, **changes):
    return replace(quick_study(budget=THREE), search=SearchOptions(**source), **changes)


@pytest.mark.parametrize("source", SOURCES)
def test_search(tmp_path, source):
    wish, name, value = SOURCES[source]
    demand_arrived(start_search(study_of(wish), tmp_path, Ear().settings()).run.path, name, value)


@pytest.mark.parametrize("source", ["fixed", "one option", "collapsed range", "length, fixed"])
def test_resume(tmp_path, source):
    """A trial that was cut off goes on with the value, and so do those that come after it."""
    wish, name, value = SOURCES[source]
    run = start_search(study_of(wish), tmp_path, Ear(stop_after=(1, 1)).settings()).run
    resume_search(run, Ear().settings(), budget=Budget(trials=4))
    demand_arrived(run.path, name, value)


@pytest.mark.parametrize("source", ["fixed", "published option", "length, one option"])
def test_study_file(tmp_path, source):
    wish, name, value = SOURCES[source]
    (tmp_path / "study.yaml").write_text(STUDY + to_yaml({"search": wish, "budget": "3"}))
    study = api.search(tmp_path / "study.yaml", out=tmp_path / "runs", **QUIET)
    demand_arrived(study.run_dir, name, value)


@pytest.mark.parametrize("source", ["fixed", "one option", "collapsed published range"])
def test_python(tmp_path, source):
    wish, name, value = SOURCES[source]
    (tmp_path / "study.yaml").write_text(STUDY)
    study = api.search(
        tmp_path / "study.yaml", budget=3, options=wish, out=tmp_path / "runs", **QUIET
    )  # fmt: skip
    demand_arrived(study.run_dir, name, value)


@pytest.mark.parametrize("source", FLAGS)
def test_command_line(tmp_path, source, capsys, monkeypatch):
    from hpo.cli.main import main

    monkeypatch.setattr("hpo.tracking.mirror.CLOSE_ATTEMPTS", 1)
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    _, name, value = SOURCES[source]
    (tmp_path / "study.yaml").write_text(STUDY)
    place = ["--out", str(tmp_path / "runs"), "--in-process", "--yes", "--no-report"]
    words = [str(tmp_path / "study.yaml"), "--budget", "3", *FLAGS[source], *place]
    assert main(["search", *words]) == 0
    (folder,) = (tmp_path / "runs" / "quick").iterdir()
    demand_arrived(folder, name, value)


@pytest.fixture
def skill(tmp_path):
    return make_skill(tmp_path / "skill")


PUBLISHED = [name for name in SOURCES if "published" in name]
DATA = {"data.train": "/t", "data.reference": "/r", "data.query": "/q", "train.num_epochs": 3}


@pytest.mark.parametrize("source", PUBLISHED)
def test_automl(skill, tmp_path, source):
    wish, name, value = SOURCES[source]
    seen = []
    result = AutoMLRunner(skill_dir=skill, trainer=NAME).run(
        automl_settings={"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 3},
        spec_overrides=DATA,
        workspace_path=tmp_path / "ws",
        in_process=True,
        on_recommendation=lambda rec: seen.append(lookup(rec.full_spec, name)),
        **wish,
    )
    assert seen == [value] * 3
    assert lookup(result["best"]["full_spec"], name) == value
    demand_arrived(Path(result["workspace_path"]), name, value)


def test_automl_schema_with_one_legal_value(skill, tmp_path):
    """The schema's own bounds leave one value, and the template holds another."""
    file = skill / "schemas/train.schema.json"
    schema = json.loads(file.read_text())
    schema["properties"]["train"]["properties"]["width"] |= {"minimum": 48, "maximum": 48}
    file.write_text(json.dumps(schema))
    result = AutoMLRunner(skill_dir=skill, trainer=NAME).run(
        automl_settings={"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 2},
        spec_overrides=DATA,
        workspace_path=tmp_path / "ws",
        in_process=True,
    )
    demand_arrived(Path(result["workspace_path"]), "train.width", 48)


@pytest.mark.parametrize("source", PUBLISHED)
def test_configurations_that_a_caller_trains(skill, tmp_path, source):
    wish, name, value = SOURCES[source]
    with AutoML(
        workspace=tmp_path / "ws", network=str(skill), trainer=NAME, train_specs=DATA,
        settings={"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 2}, **wish,
    ) as automl:  # fmt: skip
        (rec,) = automl.next_recommendation()
        assert lookup(rec.full_spec, name) == value
        assert name not in rec.specs


# Any values ------------------------------------------------------------------------------------

VALUES = {
    "train.lr": st.floats(1e-6, 1.0, exclude_min=True),
    "train.margin": st.floats(0.0, 2.0),
    "train.width": st.integers(1, 1024),
    "train.num_epochs": st.integers(1, 5),
}


@st.composite
def pinned(draw):
    """Search options that leave at least one parameter to search, and the values that they pin."""
    wish = {"fix": {}, "options": {}, "custom_param_ranges": {}}
    values = {}
    searched = {"train.lr", "train.margin", "train.width"}
    names = draw(
        st.lists(st.sampled_from(sorted(VALUES)), unique=True, min_size=1, max_size=3).filter(
            lambda names: not searched <= set(names)
        )
    )
    for name in names:
        values[name] = draw(VALUES[name])
        how = draw(st.sampled_from(sorted(wish)))
        if name == "train.num_epochs" and how == "custom_param_ranges":
            how = "fix"  # the published form adds no name to the search
        wish[how][name] = {
            "fix": values[name],
            "options": [values[name]],
            "custom_param_ranges": {"valid_options": [values[name]]},
        }[how]
    return wish, values


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(pinned())
def test_any_pinned_values_reach_everything(tmp_path_factory, case):
    wish, values = case
    run = start_search(study_of(wish), tmp_path_factory.mktemp("runs"), Ear().settings()).run
    for name, value in values.items():
        demand_arrived(run.path, name, value)


# What is told where one does not arrive ----------------------------------------------------------


def test_a_trainer_that_loses_a_fixed_value_ends_the_search(tmp_path, monkeypatch):
    """As if the launcher's merge had lost it: the receipt is held against what was decided."""
    from hpo.run.trial_specs import TrialSpecs

    whole = TrialSpecs.spec_of

    def losing(self, record):
        spec = whole(self, record)
        spec["train"]["margin"] = 0.3
        return spec

    monkeypatch.setattr(TrialSpecs, "spec_of", losing)
    with pytest.raises(ReceiptError, match=r"train.margin: was decided to be 0.7, .* applied 0.3"):
        start_search(study_of(SOURCES["fixed"][0]), tmp_path, Ear().settings())


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"fix": {"train.lr": 1e30}}, "train.lr: fixed value must lie in (0, 1], got 1e+30"),
        ({"fix": {"train.lr": -1}}, "train.lr: fixed value must lie in (0, 1], got -1"),
        ({"fix": {"train.width": 0}}, "train.width: fixed value must lie in [1, 1024], got 0"),
        ({"fix": {"train.width": 3.5}}, "train.width: fixed value must be a whole number, got 3.5"),
        ({"fix": {"train.width": "wide"}}, "train.width: fixed value must be a whole number"),
        ({"fix": {"train.lr": True}}, "train.lr: fixed value must be a number, got True"),
        ({"fix": {"train.num_epochs": 0}}, "train.num_epochs: fixed value must lie in"),
        ({"options": {"train.lr": [1e30]}}, "train.lr: option 1e+30 must lie in (0, 1]"),
        ({"ranges": {"train.width": [5, 5]}}, "got 5 and 5; to keep one value, fix it"),
        (
            {"custom_param_ranges": {"train.margin": {"valid_options": [7.5]}}},
            "train.margin: option 7.5 must lie in [0, 2]",
        ),
    ],
)
def test_what_is_pinned_outside_its_bounds_is_refused_with_the_bound(tmp_path, wish, says):
    with pytest.raises(SpecError) as caught:
        start_search(study_of(wish), tmp_path, Ear().settings())
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


# Runs of releases that lost them ------------------------------------------------------------------


@pytest.fixture
def lost(tmp_path):
    """A run as earlier releases left it: the study fixes 0.7, plan and trials have the default."""
    run = start_search(study_of(SOURCES["fixed"][0]), tmp_path, Ear().settings()).run
    for file in [run.path / "plan.json", *run.path.glob("trials/*/spec.yaml")]:
        file.write_text(file.read_text().replace('"margin": 0.7', '"margin": 0.3').replace(
            "margin: 0.7", "margin: 0.3"))  # fmt: skip
    return run


def test_going_on_where_a_value_was_lost_is_refused_or_uses_it_from_now_on(lost):
    from hpo.core.errors import RunError

    with pytest.raises(RunError, match=r"train.margin: 0.7, not 0.3.*start a new search.*--force"):
        resume_search(lost, Ear().settings(), budget=Budget(trials=5))
    resume_search(lost, Ear().settings(force=True), budget=Budget(trials=5))
    margins = [
        read_yaml(p)["train"]["margin"] for p in sorted(lost.path.glob("trials/*/spec.yaml"))
    ]
    assert margins == [0.3, 0.3, 0.3, 0.7, 0.7]
    report = json.loads((lost.best_dir / "report.json").read_text())
    assert report["decided"]["train.margin"] == margins[report["trial"]]
    assert read_yaml(lost.best_dir / "spec.yaml")["train"]["margin"] == margins[report["trial"]]
    resume_search(
        lost, Ear().settings(), budget=Budget(trials=6)
    )  # settled: nothing is asked again


def test_status_tells_of_values_that_were_lost(lost, capsys):
    from hpo.cli.main import main

    assert main(["status", str(lost)]) == 0
    (line,) = [text for text in capsys.readouterr().out.splitlines() if text.startswith("warning")]
    assert "train.margin: the study fixes it to 0.7, and 3 of the trials were trained" in line
    assert "with 0.3" in line
    assert main(["status", str(lost), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["untrained"]
    assert told == {"train.margin": {"fixed": "0.7", "trained": 0.3, "trials": 3}}


def test_an_edited_study_file_is_no_longer_passed_over(tmp_path):
    from hpo.core.errors import RunError

    run = start_search(
        quick_study({"train.width": 99}, budget=THREE), tmp_path, Ear().settings()
    ).run
    run.study_file.write_text(run.study_file.read_text().replace("width: 99", "width: 98"))
    with pytest.raises(RunError, match=r"train.width: 98, not 99"):
        resume_search(run, Ear().settings(), budget=Budget(trials=5))
